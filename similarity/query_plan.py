"""Decides for one query between exact and approximate search, and says why."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EXACT, APPROXIMATE = "exact", "approximate"
# Measured (benchmarks/results/similarity.md): a contiguous slice of this many is scored in about 5 ms on one core.
EXACT_BELOW = 200_000
_GATHER_BELOW = 20_000  # Products taken from here and there, a few ms as well.
_SPARE = 4  # Candidates that may be found, expected for each one that is wanted: the approximate order isn't the true one.
ENOUGH = 2  # Fewer than this left, and the query isn't one the expectation holds for.
_MIN_FETCH, _MAX_FETCH = 200, 40_000


@dataclass(frozen=True)
class QueryPlan:
    """How a query is answered.

    Attributes:
        method: `exact` or `approximate`.
        reason: in words.
        num_products: products in the subtree.
        num_allowed: those of them that filters and deletions leave.
        fetch: candidates an approximate index is asked for; 0 with exact search.
    """

    method: str
    reason: str
    num_products: int
    num_allowed: int
    fetch: int = 0


def exact_plan(num_products: int, allowed: npt.NDArray[np.bool_] | None, reason: str) -> QueryPlan:
    """Returns the plan of an exact search."""
    left = num_products if allowed is None else int(np.count_nonzero(allowed))
    return QueryPlan(EXACT, reason, num_products, left)


def plan_query(num_indexed: int, num_products: int, allowed: npt.NDArray[np.bool_] | None, k: int, exact_below: int) -> QueryPlan:
    """Returns the plan of a query where an approximate index of everything stands beside the vectors.

    >>> plan_query(1_000_000, 150_000, None, 100, 200_000).reason
    '150,000 products in the subtree, fewer than 200,000: exact search is quick enough'
    >>> plan_query(1_000_000, 400_000, None, 100, 200_000).reason
    '400,000 products may be found: too many to compare all, so 1,000 candidates are compared'

    Args:
        num_indexed: products in the whole index.
        num_products: products in the subtree.
        allowed: bool `[num_products]`; None allows all.
        k: neighbours wanted.
        exact_below: products below which a subtree is searched exactly.
    """
    left = num_products if allowed is None else int(np.count_nonzero(allowed))
    if num_products < exact_below:
        reason = f"{num_products:,} products in the subtree, fewer than {exact_below:,}: exact search is quick enough"
        return QueryPlan(EXACT, reason, num_products, left)
    if left < min(_GATHER_BELOW, exact_below):
        return QueryPlan(EXACT, f"the filter leaves {left:,} of {num_products:,} products: comparing them all is quick", num_products, left)
    fetch = max(_MIN_FETCH, math.ceil(_SPARE * k * num_indexed / max(1, left)))
    if fetch > min(_MAX_FETCH, left):
        reason = f"{left:,} of {num_indexed:,} products may be found: {fetch:,} candidates would be needed to be sure of {k:,}"
        return QueryPlan(EXACT, reason, num_products, left)
    reason = f"{left:,} products may be found: too many to compare all, so {fetch:,} candidates are compared"
    return QueryPlan(APPROXIMATE, reason, num_products, left, fetch)
