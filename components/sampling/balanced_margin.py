"""Asks about products between two categories, first where few answers are: margin, spread over the nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.sampling.contract import IntArray, PathOf, Selection, rankable, register
from components.sampling.nodes import answers_by_node, node_codes, take_by_node
from components.sampling.uncertainty import margin_scores
from components.sampling.wording import guess
from components.scored_pool import EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool
from schemas.product import ANSWER_NODE


class BalancedMargin:
    """Divides a product's margin score by the root of one plus the answers its best guess has, those of this batch included.

    Margin alone asks the same question about look-alikes until the next round; here every question about a node makes the
    next one about it less urgent.

    Source:
        Margin as in `margin_scores`; a reward for classes with few samples as in Aggarwal et al. 2020, WACV, "Active learning
        for imbalanced datasets". The root and the update inside the batch are ours.
    """

    name = "balanced_margin"
    columns = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ANSWER_NODE)

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group; see `Strategy`."""
        margins = rankable(self.name, margin_scores(pool.need("exclusive_probabilities")[candidates, :3]), candidates)
        names, guesses = node_codes(pool.need("exclusive_nodes")[candidates, 0])
        taken = take_by_node(
            np.arange(len(candidates)), guesses, margins, answers_by_node(pool, names), _urgency, groups, count, rng
        )  # fmt: skip
        return Selection(candidates[taken.places], taken.scores)

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns why this product was chosen."""
        return f"torn between {guess(pool, row, 0, path_of)} and {guess(pool, row, 1, path_of)}, and few answers there"


def _urgency(node: int, margin: float, asked: float) -> float:
    return margin / float(np.sqrt(1 + asked))


register([BalancedMargin()])
