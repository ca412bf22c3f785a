"""Searches product vectors exactly: every product of a subtree is compared."""

from __future__ import annotations

from pathlib import Path

from similarity.arrays import BoolArray, FloatArray
from similarity.contract import Neighbours, checked_mask, checked_queries, stacked
from similarity.query_plan import QueryPlan, exact_plan
from similarity.ranking import best_in_slice
from similarity.vectors import ProductVectors, load_vectors


class ExactIndex:
    """The truth: slow on millions, never wrong. See `NeighbourIndex` for the methods."""

    kind = "exact"

    def __init__(self, products: ProductVectors) -> None:
        self.products = products

    @classmethod
    def build(cls, products: ProductVectors, seed: int = 0) -> ExactIndex:
        """Makes an index; nothing is fitted, so `seed` changes nothing."""
        del seed
        return cls(products)

    def save(self, folder: Path) -> None:
        """Writes nothing: the vectors are all there is."""

    @classmethod
    def load(cls, folder: Path, products: ProductVectors | None = None) -> ExactIndex:
        """Reads the vectors of a folder."""
        return cls(products or load_vectors(folder))

    def with_more_effort(self) -> None:
        """Returns None: it finds everything already."""

    def plan(self, k: int, subtree: range | None = None, allowed: BoolArray | None = None) -> QueryPlan:
        """Says how `search` answers."""
        rows = self.products.rows(subtree)
        return exact_plan(rows.stop - rows.start, allowed, "the index is exact")

    def search(self, queries: FloatArray, k: int, subtree: range | None = None, allowed: BoolArray | None = None) -> Neighbours:
        """Returns the neighbours of each query; the same search gives the same answer."""
        unit = checked_queries(queries, k, self.products.dimension)
        rows = self.products.rows(subtree)
        checked_mask(allowed, rows)
        width = min(k, self.plan(k, subtree, allowed).num_allowed)
        return stacked(self.products, best_in_slice(self.products, unit, rows, width, allowed), width)
