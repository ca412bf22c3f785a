"""Holds product vectors in the taxonomy's tree order, so that every subtree is a contiguous slice of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import NeighbourIndexError
from similarity.product_columns import ProductColumns, ProductFilter
from similarity.product_ids import ProductIds, load_mapped
from similarity.vector_codes import VectorCodes, VectorsOnDisk, coded

VECTORS, STARTS, TREE = "vectors.npy", "node_starts.npy", "tree.json"
PRODUCTS_V1 = "product_ids.json"  # Format 1 kept ids as a list of texts.
FLOAT32, INT8 = "float32", "int8"
STORAGES = (FLOAT32, INT8)
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class ProductVectors:
    """Unit vectors of products, ordered by the number of the node each product is predicted to be at.

    Attributes:
        vectors: float32 `[num_products, dimension]`, unit length, in tree order.
        product_ids: one id a row; a plain sequence of texts is taken as `ProductIds`.
        node_ids: every node id of the taxonomy, in tree order.
        subtree_ends: for node number i, one past the last number of its subtree.
        columns: what products can be filtered by; None where nothing is known.
        codes: the vectors in int8, which then are what a search scores; None with float32 storage.
        on_disk: where `vectors` is a mapped file whose rows mustn't stay in memory.
        node_starts: int64 `[num_nodes + 1]`; the products at node number i are the rows `node_starts[i]` up to
            `node_starts[i + 1]`. Rows from `node_starts[-1]` on are at no node of the taxonomy: found by searches of the
            whole index only.
    """

    vectors: npt.NDArray[np.float32]
    product_ids: ProductIds
    node_ids: tuple[str, ...]
    subtree_ends: tuple[int, ...]
    node_starts: npt.NDArray[np.int64]
    columns: ProductColumns | None = None
    codes: VectorCodes | None = None
    on_disk: VectorsOnDisk | None = None

    def __post_init__(self) -> None:
        """Refuses parts that don't fit each other.

        Raises:
            NeighbourIndexError: no vectors, or counts that disagree.
        """
        if self.vectors.ndim != 2 or not self.vectors.shape[0] or not self.vectors.shape[1]:
            raise NeighbourIndexError(f"the index is empty: vectors of shape {list(self.vectors.shape)}. Score a pool with products first.")
        if len(self.product_ids) != len(self.vectors):
            raise NeighbourIndexError(f"{len(self.product_ids)} product ids for {len(self.vectors)} vectors. Build the index again.")
        starts, nodes = self.node_starts, len(self.node_ids)
        ordered = starts.shape == (nodes + 1,) and (np.diff(starts) >= 0).all() and starts[0] == 0 and starts[-1] <= len(self.vectors)
        if not ordered or len(self.subtree_ends) != nodes:
            raise NeighbourIndexError(f"node starts don't fit {nodes} nodes and {len(self.vectors)} vectors. Build the index again.")
        for name, part in (("filter columns", self.columns), ("codes", self.codes)):
            if part is not None and len(part) != len(self.vectors):
                raise NeighbourIndexError(f"{name} of {len(part)} products for {len(self.vectors)} vectors. Build the index again.")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return int(self.vectors.shape[1])

    @property
    def storage(self) -> str:
        """What a search scores: `float32`, or `int8` with exact similarities of the best."""
        return FLOAT32 if self.codes is None else INT8

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns float32 `[num_positions, dimension]`, the vectors at rows, from disk where they are kept there."""
        if self.on_disk is not None:
            return self.on_disk.take(positions)
        return np.asarray(self.vectors[positions])

    def vector(self, position: int) -> npt.NDArray[np.float32]:
        """Returns float32 `[dimension]`, the vector at a row."""
        return np.asarray(self.vectors[position] if self.on_disk is None else self.on_disk.take(np.array([position]))[0])

    def stored_as(self, storage: str) -> ProductVectors:
        """Returns the same products with `float32` or `int8` storage."""
        return replace(self, codes=coded(self.vectors) if storage == INT8 else None)

    def node_id(self, position: int) -> str:
        """Returns the node of the product at a row; empty where it is at none."""
        return str(self.nodes_of(np.array([position]))[0])

    def nodes_of(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Returns the nodes of the products at rows as objects (str), in the shape of `positions`; empty for no node."""
        names: npt.NDArray[Any] = self.node_names[np.searchsorted(self.node_starts, positions, side="right") - 1]
        return names

    @cached_property
    def node_names(self) -> npt.NDArray[Any]:
        """Object (str) `[num_nodes + 1]`, every node id in tree order, and an empty one for no node."""
        return np.array([*self.node_ids, ""], dtype=object)

    def mask(self, wanted: ProductFilter, rows: slice) -> npt.NDArray[np.bool_]:
        """Returns bool `[rows]`, True for the products that a filter allows.

        Raises:
            NeighbourIndexError: the index was built without columns.
        """
        if self.columns is None:
            raise NeighbourIndexError(
                "the index has no shop, brand, gender or price to filter by. Build it again, or ask without a filter."
            )
        return self.columns.mask(wanted, rows)

    @cached_property
    def _node_numbers(self) -> dict[str, int]:
        return {node_id: i for i, node_id in enumerate(self.node_ids)}

    def subtree(self, node_id: str) -> range:
        """Returns the numbers of a node and all its descendants.

        Raises:
            NeighbourIndexError: no node has this id.
        """
        number = self._node_numbers.get(node_id)
        if number is None:
            raise NeighbourIndexError(f"node {node_id!r} isn't in the index's taxonomy of {len(self.node_ids)} nodes. Use one of its ids.")
        return range(number, self.subtree_ends[number])

    def rows(self, subtree: range | None) -> slice:
        """Returns the rows of the products in a range of node numbers; all rows for None.

        Raises:
            NeighbourIndexError: a range outside the tree, or with a step.
        """
        if subtree is None:
            return slice(0, len(self))
        if subtree.step != 1 or not 0 <= subtree.start <= subtree.stop <= len(self.node_ids):
            raise NeighbourIndexError(f"subtree {subtree} isn't a range of the {len(self.node_ids)} node numbers. Take it from subtree().")
        return slice(int(self.node_starts[subtree.start]), int(self.node_starts[subtree.stop]))


def in_tree_order(
    vectors: npt.NDArray[np.float32],
    product_ids: Sequence[str],
    node_numbers: npt.NDArray[np.int64],
    node_ids: Sequence[str],
    subtree_ends: Sequence[int],
    columns: ProductColumns | None = None,
) -> ProductVectors:
    """Returns the vectors ordered by node number, and within a node as given.

    Args:
        vectors: float `[num_products, dimension]`, any length but zero; brought to unit length.
        product_ids: one id a row.
        node_numbers: int `[num_products]`, in tree order; -1 for a product at no node of the taxonomy.
        node_ids: every node id, in tree order.
        subtree_ends: as `Taxonomy.subtree_ends`.
        columns: fields of the products, in the order given.

    Raises:
        NeighbourIndexError: no products, an id used twice, or a vector that is zero or not finite. Names the product.
    """
    numbers = np.where(node_numbers < 0, len(node_ids), node_numbers)
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(node_ids) + 1)).astype(np.int64)
    ids = ProductIds.of(product_ids[i] for i in order.tolist())
    ordered = None if columns is None else columns.take(order)
    return ProductVectors(_unit(vectors[order], ids), ids, tuple(node_ids), tuple(subtree_ends), starts, ordered)


def _unit(vectors: npt.NDArray[np.float32], ids: ProductIds) -> npt.NDArray[np.float32]:
    """Returns vectors at unit length, written over those given: a second array of millions might not fit."""
    found = np.ascontiguousarray(vectors, np.float32)
    if found.ndim != 2:
        raise NeighbourIndexError(f"vectors have the shape {list(found.shape)}, expected [num_products, dimension].")
    for start in range(0, len(found), _BLOCK_ROWS):
        block = found[start : start + _BLOCK_ROWS]
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        bad = ~((norms[:, 0] > 0) & np.isfinite(norms[:, 0]))
        if bad.any():
            row = int(np.argmax(bad))
            raise NeighbourIndexError(
                f"product {ids[start + row]!r} has a vector of length {norms[row, 0]}, expected 1. Leave it out or train again."
            )
        block /= norms
    return found


def save_vectors(folder: Path, products: ProductVectors) -> None:
    """Writes arrays as npy, and the tree as JSON; nothing in them is ever executed."""
    np.save(folder / VECTORS, np.ascontiguousarray(products.vectors), allow_pickle=False)
    np.save(folder / STARTS, products.node_starts, allow_pickle=False)
    products.product_ids.save(folder)
    tree = {"node_ids": products.node_ids, "subtree_ends": products.subtree_ends}
    (folder / TREE).write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
    if products.columns is not None:
        products.columns.save(folder)
    if products.codes is not None:
        products.codes.save(folder)


def load_vectors(folder: Path) -> ProductVectors:
    """Reads what `save_vectors` wrote, now or in format 1; arrays stay on disk until they are touched.

    Raises:
        NeighbourIndexError: a file is missing, damaged or doesn't fit the others.
    """
    try:
        vectors = load_mapped(folder / VECTORS)
        starts = np.load(folder / STARTS, allow_pickle=False)
        tree = json.loads((folder / TREE).read_text(encoding="utf-8"))
        codes = VectorCodes.load(folder)
        return ProductVectors(
            vectors,
            _load_ids(folder),
            tuple(tree["node_ids"]),
            tuple(tree["subtree_ends"]),
            starts,
            ProductColumns.load(folder),
            codes,
            VectorsOnDisk(folder / VECTORS, *vectors.shape[::-1]) if codes else None,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise NeighbourIndexError(f"{folder}: the index is damaged: {error}. Build it again, or copy it again.") from None


def _load_ids(folder: Path) -> ProductIds:
    if (folder / PRODUCTS_V1).exists():
        return ProductIds.of(json.loads((folder / PRODUCTS_V1).read_text(encoding="utf-8")))
    return ProductIds.load(folder)
