"""Says what every neighbour index can do; exact_index.py is the truth that the others are tested against."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from schemas.errors import NeighbourIndexError
from similarity.arrays import BoolArray, FloatArray, IntArray, Ranked
from similarity.query_plan import QueryPlan
from similarity.vectors import ProductVectors


@dataclass(frozen=True)
class Neighbours:
    """The most similar products of each query, best first.

    Attributes:
        ids: object (str) `[num_queries, k]`, product ids.
        similarities: float32 `[num_queries, k]`, cosine similarity in [-1, 1].
        positions: int64 `[num_queries, k]`, rows of `ProductVectors.vectors`.
    """

    ids: npt.NDArray[Any]
    similarities: FloatArray
    positions: IntArray


class NeighbourIndex(Protocol):
    """Finds the most similar products among all, or among one subtree of the taxonomy."""

    kind: str
    products: ProductVectors

    @classmethod
    def build(cls, products: ProductVectors, seed: int) -> NeighbourIndex:
        """Makes an index; the same products and seed give the same index."""

    def save(self, folder: Path) -> None:
        """Writes what `load` needs beside the files of `ProductVectors`. Writes no manifest."""

    @classmethod
    def load(cls, folder: Path, products: ProductVectors | None = None) -> NeighbourIndex:
        """Reads what `build` and `save` wrote, from wherever the folder is now; `products` where they are read already."""

    def with_more_effort(self) -> NeighbourIndex | None:
        """Returns the same index searched harder, for more recall; None where it can't be."""

    def plan(self, k: int, subtree: range | None = None, allowed: BoolArray | None = None) -> QueryPlan:
        """Says how `search` answers, and why so."""

    def search(self, queries: FloatArray, k: int, subtree: range | None = None, allowed: BoolArray | None = None) -> Neighbours:
        """Returns the `min(k, num_allowed)` products most similar to each query.

        Args:
            queries: float `[num_queries, dimension]`; brought to unit length, and a row of zeros is similar to nothing (0).
            k: how many, at least 1.
            subtree: node numbers in tree order, as `Taxonomy.subtree` gives; None for the whole index. A subtree that
                holds fewer than `k` products gives all it holds, none of them gives width 0.
            allowed: bool, one for each of the subtree's rows in `products`; False for a product that mustn't be found.

        Raises:
            NeighbourIndexError: another dimension, a number that isn't finite, `k` below 1, a range outside the tree, or a
                mask of another length.
        """


MIN_SCANN_PRODUCTS = 1000  # Below, ScaNN's k-means has too little to fit.
# A kind is imported when an index of it is built or loaded: importing ScaNN costs seconds that exact search never needs, and
# a library that isn't there is missed only by the kind that needs it.
_KINDS = {
    "exact": "similarity.exact_index:ExactIndex",
    "scann": "similarity.scann_index:ScannIndex",
    "hnsw": "similarity.hnsw_index:HnswIndex",
}
KINDS = tuple(_KINDS)


def index_kind(kind: str) -> type[NeighbourIndex]:
    """Returns the implementation of a kind.

    >>> index_kind("exact").__name__
    'ExactIndex'

    Raises:
        NeighbourIndexError: an unknown kind, or one whose library isn't installed.
    """
    if kind not in _KINDS:
        raise NeighbourIndexError(f"index kind {kind!r} is unknown. Known: {', '.join(KINDS)}.")
    module, _, name = _KINDS[kind].partition(":")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        raise NeighbourIndexError(
            f"index kind {kind!r} needs the package {error.name!r}, which isn't installed here. Install it, or build another kind."
        ) from None


def checked_queries(queries: FloatArray, k: int, dimension: int) -> FloatArray:
    """Returns the queries as float32 of unit length, rows of zeros left as they are.

    Raises:
        NeighbourIndexError: another dimension, a number that isn't finite, or `k` below 1.
    """
    found = np.asarray(queries, np.float32)
    if found.ndim != 2 or found.shape[1] != dimension:
        raise NeighbourIndexError(
            f"queries have the shape {list(found.shape)}, the index has dimension {dimension}: expected [num_queries, {dimension}]. "
            "Embed them with the model that the index was built for."
        )
    if k < 1:
        raise NeighbourIndexError(f"k is {k}; ask for at least 1 neighbour.")
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).all(axis=1)))
        raise NeighbourIndexError(f"query {row} holds a number that isn't finite. Leave that product out.")
    # First to a largest number of 1: squares of large ones are no float32, and those of small ones are zero.
    largest = np.abs(found).max(axis=1, keepdims=True, initial=0.0)
    found = found / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return np.ascontiguousarray(found / np.where(norms > 0, norms, 1), np.float32)


def checked_mask(allowed: BoolArray | None, rows: slice) -> None:
    """Refuses a mask that isn't one bool for each row.

    Raises:
        NeighbourIndexError: another type or length.
    """
    count = rows.stop - rows.start
    if allowed is not None and (allowed.dtype != np.bool_ or allowed.shape != (count,)):
        raise NeighbourIndexError(
            f"the mask is {allowed.dtype} {list(allowed.shape)}, expected bool [{count}]: one for each row of the subtree."
        )


def stacked(products: ProductVectors, ranked: Sequence[Ranked], width: int) -> Neighbours:
    """Returns the answers of several queries, each `width` long, as one."""
    positions = np.array([positions for positions, _ in ranked], np.int64).reshape(len(ranked), width)
    similarities = np.array([found for _, found in ranked], np.float32).reshape(len(ranked), width)
    return Neighbours(products.product_ids.take(positions), np.clip(similarities, -1, 1), positions)
