"""Asks about typical products first, and once there are some answers about products between two categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.sampling.balanced_margin import BalancedMargin
from components.sampling.contract import IntArray, PathOf, Selection, rankable, register
from components.sampling.typical_points import TypicalPoints
from components.scored_pool import EMBEDDING, EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool
from schemas.product import ANSWER_NODE


@dataclass(frozen=True)
class TypicalThenMargin:
    """`TypicalPoints` up to a number of answers, then `BalancedMargin`; a batch may hold both.

    The first answers teach the model how far to trust names and rules. Products it is torn about show these at their worst;
    typical ones show what they are worth in most of the catalogue.

    Args:
        typical_answers: answers, near-duplicates counted once, from which margins decide.

    Source:
        Hacohen et al. 2022, ICML, "Active learning on a budget: opposite strategies suit high and low budgets".
    """

    typical_answers: int = 25
    name: str = "typical_then_margin"
    columns: tuple[str, ...] = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EMBEDDING, ANSWER_NODE)

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group; see `Strategy`."""
        rankable(self.name, pool.need("exclusive_probabilities")[candidates].sum(axis=1, dtype=np.float64), candidates)
        first = min(count, max(0, self.typical_answers - _num_answers(pool)))
        if not first:
            return BalancedMargin().select(pool, candidates, groups, count, rng)
        typical = TypicalPoints(name=self.name).select(pool, candidates, groups, first, rng)
        others = ~np.isin(groups, groups[np.isin(candidates, typical.rows)])
        rest = BalancedMargin().select(pool, candidates[others], groups[others], count - len(typical.rows), rng)
        above = rest.scores.max(initial=0.0) - typical.scores.min(initial=0.0)  # So that scores never rise.
        return Selection(
            np.concatenate([typical.rows, rest.rows]),
            np.concatenate([typical.scores + above, rest.scores]),
            (*typical.notes, *(None for _ in rest.rows)),
        )

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns why this product was chosen; `note` is what `TypicalPoints` knows, None where the margin chose."""
        return BalancedMargin().reason(pool, row, path_of) if note is None else TypicalPoints().reason(pool, row, path_of, note)


def _num_answers(pool: ScoredPool) -> int:
    rows = np.flatnonzero(np.asarray(pool.need("answered"), bool))
    groups = [None] * len(rows) if pool.groups is None else pool.groups[rows].tolist()
    return len({group or int(row) for group, row in zip(groups, rows, strict=True)})


register([TypicalThenMargin()])
