"""Does for every approximate kind what none does by itself: subtrees, masks, exact similarities, and never fewer than k."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np

from similarity.arrays import BoolArray, FloatArray, IntArray, Ranked
from similarity.contract import Neighbours, checked_mask, checked_queries, stacked
from similarity.query_plan import APPROXIMATE, ENOUGH, EXACT_BELOW, QueryPlan, plan_query
from similarity.ranking import best_in_slice, best_of
from similarity.vectors import ProductVectors


class ApproximateIndex:
    """An index whose kind only names candidates. See `NeighbourIndex` for the methods.

    Args:
        products: what is searched.
        exact_below: products below which a subtree is searched exactly.
    """

    kind: str

    def __init__(self, products: ProductVectors, exact_below: int = EXACT_BELOW) -> None:
        self.products, self.exact_below = products, exact_below

    @abstractmethod
    def candidates(self, unit: FloatArray, count: int) -> IntArray:
        """Returns int64 `[num_queries, at most count]`, rows likely to be the most similar, in any order, -1 for none."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes what the kind needs beside the vectors."""

    def plan(self, k: int, subtree: range | None = None, allowed: BoolArray | None = None) -> QueryPlan:
        """Says how `search` answers, and why so."""
        rows = self.products.rows(subtree)
        return plan_query(len(self.products), rows.stop - rows.start, allowed, k, self.exact_below)

    def search(self, queries: FloatArray, k: int, subtree: range | None = None, allowed: BoolArray | None = None) -> Neighbours:
        """Returns the neighbours of each query: exactly where that is quick, else the best of the candidates."""
        unit = checked_queries(queries, k, self.products.dimension)
        rows = self.products.rows(subtree)
        checked_mask(allowed, rows)
        plan = self.plan(k, subtree, allowed)
        width = min(k, plan.num_allowed)
        if plan.method != APPROXIMATE or not len(unit):
            return stacked(self.products, best_in_slice(self.products, unit, rows, width, allowed), width)
        found = self.candidates(unit, plan.fetch)
        ranked = [self._best(query, row, rows, width, allowed) for query, row in zip(unit, found, strict=True)]
        return stacked(self.products, ranked, width)

    def _best(self, query: FloatArray, found: IntArray, rows: slice, k: int, allowed: BoolArray | None) -> Ranked:
        """Returns the best of the candidates that may be found; of all that may be where few of them are left.

        Of `fetch` candidates, several for each one wanted are expected to be left. Far fewer are left of a query that is far from the
        subtree, such as one for bags like this shoe, and then the best of these few needn't be the best there are.
        """
        inside = np.sort(found[(found >= rows.start) & (found < rows.stop)])
        if allowed is not None:
            inside = inside[allowed[inside - rows.start]]
        if len(inside) < ENOUGH * k:
            return best_in_slice(self.products, query[None], rows, k, allowed)[0]
        return best_of(self.products, query, inside, k)
