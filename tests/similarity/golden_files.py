"""Makes the golden files: one small index, or live folder, of each format that this release writes.

.venv/bin/python -m tests.similarity.golden_files tests/similarity/golden

A folder that is there stays as it is: it was written by the release that first had the format, which is what it is for. So a new format
version means a new folder here, and the old one goes on being read.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from similarity.changes import Delete, Move, Upsert
from similarity.live_index import LiveIndex
from similarity.planner import build_index, save_index
from similarity.product_columns import columns_from_values
from similarity.vectors import ProductVectors, in_tree_order

VERSION = 1234567890
NODES, SUBTREE_ENDS = ("all", "first", "second", "third", "fourth"), (5, 2, 3, 4, 5)
NUM_RING = {"exact": 12, "scann": 1_000, "hnsw": 240}  # ScaNN fits no fewer; fewer than 200 are compared exactly.


def ring_vector(place: float, num_products: int) -> np.ndarray:
    """Returns float32 `[4]` at a place of a ring of products, on which the nearest place is the most similar vector.

    >>> ring_vector(0, 12).round(2).tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    angle = 2 * np.pi * place / num_products
    return np.array([np.cos(angle), np.sin(angle), np.cos(3 * angle), np.sin(3 * angle)], np.float32)


def ring(num_products: int) -> ProductVectors:
    """Returns products p0, p1, ... on a ring, a quarter of it at each of four nodes, every other one of the shop `even`."""
    places = range(num_products)
    vectors = np.stack([ring_vector(place, num_products) for place in places])
    numbers = np.array([1 + 4 * place // num_products for place in places])
    empty = [None] * num_products
    texts = {"shop": [("even", "odd")[place % 2] for place in places], "brand": empty, "gender": empty}
    columns = columns_from_values(texts, np.full(num_products, np.nan, np.float32))
    return in_tree_order(vectors, [f"p{place}" for place in places], numbers, NODES, SUBTREE_ENDS, columns)


def write_index(folder: Path, kind: str) -> None:
    """Writes an index of one kind that searches everything its own way, and subtrees exactly."""
    products = ring(NUM_RING[kind])
    built = build_index(products, len(products), 10, 0.9, 0, kind=kind)
    save_index(folder, built, "model", "tree", VERSION)


def write_live(folder: Path) -> None:
    """Writes a live folder: changes that were folded into a new index, which a history still knows, and changes in a log since."""
    write_index(folder / "built", "exact")
    with LiveIndex.create(folder, folder / "built", compact_above=0) as live:
        live.apply([Upsert("new-1", "second", ring_vector(4.4, 12), {"shop": "odd", "price": 5.5}), Delete("p3")])
        live.apply([Move("p7", "first")])
        live.compact()
        live.apply([Upsert("new-2", "", ring_vector(4.8, 12), {"brand": "ü"}), Delete("p8")])
        live.apply([Move("new-1", "fourth")])
    shutil.rmtree(folder / "built")
    (folder / ".lock").unlink()


def write_live_to_embed(folder: Path) -> None:
    """Writes a live folder in which another model's index took over: two products are to be embedded again, and a third was already."""
    for version, model in ((VERSION - 1, "earlier"), (VERSION, "model")):
        built = build_index(ring(12), 12, 10, 0.9, 0)
        save_index(folder / model, built, model, "tree", version)
    with LiveIndex.create(folder, folder / "earlier", compact_above=0) as live:
        live.apply([Upsert(product_id, "second", ring_vector(4.4, 12)) for product_id in ("new-1", "new-2", "ü")])
        live.install(folder / "model")
        live.apply([Upsert("new-2", "first", ring_vector(1.4, 12))])
    for model in ("earlier", "model"):
        shutil.rmtree(folder / model)
    (folder / ".lock").unlink()


GOLDEN: dict[str, Callable[[Path], None]] = {
    "scann-v2": lambda folder: write_index(folder, "scann"),
    "hnsw-v2": lambda folder: write_index(folder, "hnsw"),
    "live-v1": write_live,
    "live_to_embed-v1": write_live_to_embed,
}


def main(target: Path) -> None:
    """Writes what isn't there yet."""
    for name, write in GOLDEN.items():
        if not (target / name).exists():
            write(target / name)
            sys.stderr.write(f"written: {target / name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
