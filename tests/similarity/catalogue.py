"""Makes small catalogues, built indexes and changes for tests of search."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from similarity.changes import Upsert
from similarity.planner import build_index, save_index
from similarity.product_columns import columns_from_values
from similarity.vectors import ProductVectors, in_tree_order

DIMENSION = 16
# 0 and 4 are roots; 1 and 3 are children of 0, 2 of 1, 5 and 6 of 4.
SUBTREE_ENDS = (4, 3, 3, 4, 7, 6, 7)
NODES = [f"n{number}" for number in range(len(SUBTREE_ENDS))]


def small_catalogue(num_products: int, seed: int = 0) -> ProductVectors:
    """Returns products p0, p1, ... of which none is at the last node and some are at none, with fields to filter by."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-1, len(NODES) - 1, num_products)
    centres = rng.normal(size=(len(NODES), DIMENSION))  # Products of one node are alike, as a model makes them.
    vectors = (centres[numbers] + 0.6 * rng.normal(size=(num_products, DIMENSION))).astype(np.float32)
    texts = {
        "shop": [f"shop-{number}" for number in rng.integers(0, 5, num_products)],
        "brand": [f"brand-{number}" if number else None for number in rng.integers(0, 50, num_products)],
        "gender": [("female", "male", None)[number] for number in rng.integers(0, 3, num_products)],
    }
    prices = np.where(rng.random(num_products) < 0.1, np.nan, rng.uniform(1, 100, num_products)).astype(np.float32)
    columns = columns_from_values(texts, prices)
    return in_tree_order(vectors, [f"p{number}" for number in range(num_products)], numbers, NODES, SUBTREE_ENDS, columns)


def write_built(folder: Path, num_products: int = 300, seed: int = 0, model_sha256: str = "model", version: int = 7) -> Path:
    """Writes an exact int8 index of a small catalogue, and returns its folder."""
    built = build_index(small_catalogue(num_products, seed), 10**6, 10, 0.9, 0, "int8")
    save_index(folder, built, model_sha256, "tree", version)
    return folder


def upsert(product_id: str, seed: int, node_id: str = "n1", **fields: object) -> Upsert:
    """Returns a new product with a vector of its own."""
    return Upsert(product_id, node_id, np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32), fields)
