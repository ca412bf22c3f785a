"""Finds the neighbours of every product within its category, exactly, a block of products at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from similarity.arrays import FloatArray, IntArray
from similarity.ranking import top
from similarity.vectors import ProductVectors

_SCORES_HELD = 1 << 24  # 64 MB of float32.


@dataclass(frozen=True)
class CategoryRows:
    """Products that are compared with each other, all in one slice of the vectors.

    Attributes:
        node_id: the category; empty for products at no node.
        start, stop: its rows.
    """

    node_id: str
    start: int
    stop: int


def categories_at_depth(products: ProductVectors, depths: Sequence[int], depth: int) -> list[CategoryRows]:
    """Returns the categories of one depth that hold products, and every product in exactly one of them.

    Products higher up the tree, at a node that isn't as deep, are compared with those at the same node; products at no node with
    each other.

    Args:
        products: in tree order.
        depths: of each node, 1 at a root, as `Taxonomy.depths`.
        depth: 1 for whole roots, 2 for second-level categories.
    """
    found = []
    for number, node_id in enumerate(products.node_ids):
        if depths[number] > depth:
            continue
        end = products.subtree_ends[number] if depths[number] == depth else number + 1
        found.append(CategoryRows(node_id, int(products.node_starts[number]), int(products.node_starts[end])))
    found.append(CategoryRows("", int(products.node_starts[-1]), len(products)))
    return [category for category in found if category.stop > category.start]


@dataclass(frozen=True)
class NeighbourBlock:
    """The neighbours of some products, the products themselves left out.

    Attributes:
        positions: int64 `[num_products]`, rows of the products.
        neighbours: int64 `[num_products, k]`, rows of the most similar of their category, best first, equal ones by row.
        similarities: float32 `[num_products, k]`.
    """

    positions: IntArray
    neighbours: IntArray
    similarities: FloatArray


def neighbours_of(products: ProductVectors, category: CategoryRows, first: int, last: int, k: int) -> Iterator[NeighbourBlock]:
    """Yields the neighbours of the products at rows `first` up to `last`, in blocks.

    A category of fewer than `k + 1` products gives all its others.

    Args:
        products: with float32 storage.
        category: whose products are compared.
        first: row of the first product whose neighbours are wanted, inside the category.
        last: one past the last.
        k: how many neighbours, at least 1.
    """
    inside = products.vectors[category.start : category.stop]
    width = min(k, len(inside) - 1)
    block = max(1, _SCORES_HELD // len(inside))
    for start in range(first, last, block):
        positions = np.arange(start, min(start + block, last))
        scores = np.asarray(products.vectors[positions] @ inside.T)  # [block, category]
        scores[np.arange(len(positions)), positions - category.start] = -np.inf
        columns = np.array([top(row, width) for row in scores], np.int64).reshape(len(positions), width)
        found = np.clip(np.take_along_axis(scores, columns, axis=1), -1, 1)
        yield NeighbourBlock(positions, columns + category.start, found)
