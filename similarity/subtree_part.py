"""Makes an index of some subtrees out of an index of everything, in a process of its own so that queries never wait for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schemas.errors import NeighbourIndexError
from similarity.child_process import child_main
from similarity.contract import MIN_SCANN_PRODUCTS
from similarity.manifest import IndexManifest
from similarity.planner import build_index, load_index, save_index
from similarity.product_ids import ProductIds
from similarity.vectors import ProductVectors


def part_of(products: ProductVectors, node_ids: Sequence[str], with_rest: bool) -> ProductVectors:
    """Returns the products in the subtrees of some nodes, over the same tree.

    Args:
        products: of everything.
        node_ids: what each subtree begins with.
        with_rest: whether products that are at no node belong to it, too.

    Raises:
        NeighbourIndexError: an unknown node, or no product is in these subtrees.
    """
    starts, kept = products.node_starts, np.zeros(len(products.node_ids), np.bool_)
    for node_id in node_ids:
        subtree = products.subtree(node_id)
        kept[subtree.start : subtree.stop] = True
    counts = np.diff(starts) * kept
    rows = np.flatnonzero(np.repeat(kept, np.diff(starts)))
    if with_rest:
        rows = np.concatenate([rows, np.arange(starts[-1], len(products))])
    if not len(rows):
        raise NeighbourIndexError(f"no product is in the shard of {', '.join(node_ids)}. Give these nodes to another shard.")
    return ProductVectors(
        np.asarray(products.vectors[rows]),
        ProductIds.of(products.product_ids.take(rows).tolist()),
        products.node_ids,
        products.subtree_ends,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        None if products.columns is None else products.columns.take(rows),
    )


def write_part(built: Path, target: Path, node_ids: Sequence[str], with_rest: bool) -> IndexManifest:
    """Writes the index of some subtrees, of the same version and storage, and of the same kind where it is large enough for that.

    Raises:
        NeighbourIndexError: the index is damaged, or as `part_of`.
    """
    index, manifest = load_index(built)
    products = part_of(index.products, node_ids, with_rest)
    kind = manifest.kind if len(products) >= max(manifest.exact_below, MIN_SCANN_PRODUCTS) else "exact"
    again = build_index(products, manifest.exact_below, manifest.neighbours, 0.0, 0, manifest.storage, kind)
    return save_index(target, again, manifest.model_sha256, manifest.taxonomy_sha256, manifest.version)


def main(arguments: Sequence[str]) -> int:
    """Runs `write_part` and says on standard output how many products there are, or on standard error what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("built", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--nodes", nargs="*", default=[])
    parser.add_argument("--rest", action="store_true")
    return child_main(parser.parse_args(arguments), lambda told: write_part(told.built, told.target, told.nodes, told.rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
