"""Hunts for categories that have no answer yet: each asks about the product most likely to be its first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.sampling.balanced_margin import BalancedMargin
from components.sampling.contract import FloatArray, IntArray, PathOf, Selection, rankable, register
from components.sampling.nodes import Taken, answers_by_node, node_codes, take_by_node
from components.sampling.wording import guess, named
from components.scored_pool import EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool
from schemas.product import ANSWER_NODE


@dataclass(frozen=True)
class RareNodes:
    """Lets every node without an answer ask once, about the product it is likeliest for; the likelier goes first.

    A node asks about the products that hold it among their k best, so a node that is never among them can't ask. One answer
    a node misleads a model about how common nodes are, so the hunt has a share of the batch only; the rest, and what the hunt
    leaves over, is `BalancedMargin`'s. The score of a product hunted for is one plus the probability of the node.

    Args:
        share: of the batch, for the hunt at most; rounded up.

    Source:
        Attenberg and Provost 2010, KDD, "Why label when you can search?"; He and Carbonell 2007, NIPS, "Nearest-neighbor-based
        active learning for rare category detection", for the aim.
    """

    share: float = 0.5
    name: str = "rare_nodes"
    columns: tuple[str, ...] = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ANSWER_NODE)

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group; see `Strategy`."""
        likely = pool.need("exclusive_probabilities")[candidates]
        rankable(self.name, likely.sum(axis=1, dtype=np.float64), candidates)
        names, codes = node_codes(pool.need("exclusive_nodes")[candidates])
        unanswered = answers_by_node(pool, names) == 0
        hunted = _hunt(codes, likely, unanswered, groups, int(np.ceil(self.share * count)), rng)
        others = np.flatnonzero(~np.isin(groups, groups[hunted.places]))
        rest = BalancedMargin().select(pool, candidates[others], groups[others], count - len(hunted.places), rng)
        return Selection(
            np.concatenate([candidates[hunted.places], rest.rows]),
            np.concatenate([1 + hunted.scores, rest.scores]),
            (*(names[node] for node in hunted.nodes), *(None for _ in rest.rows)),
        )

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns why this product was chosen; `note` is the node that asked, None where balanced margin chose."""
        if note is None:
            return BalancedMargin().reason(pool, row, path_of)
        ranks = np.flatnonzero(pool.need("exclusive_nodes")[row] == note)
        wanted = f"may be {named(path_of(note), float(pool.need('exclusive_probabilities')[row, ranks[0]]))}, which has no answer yet"
        return wanted if ranks[0] == 0 else f"{wanted}; the best guess is {guess(pool, row, 0, path_of)}"


def _hunt(codes: np.ndarray, likely: np.ndarray, unanswered: np.ndarray, groups: IntArray, count: int, rng: np.random.Generator) -> Taken:
    """Takes a product for each unanswered node, at most `count`; scores are the probabilities of the nodes."""
    asking = np.flatnonzero(unanswered[codes.reshape(-1)])
    values: FloatArray = likely.reshape(-1)[asking].astype(np.float64)
    taken = take_by_node(
        asking // max(1, codes.shape[1]), codes.reshape(-1)[asking], values, np.zeros(len(unanswered)), _urgency, groups, count, rng
    )  # fmt: skip
    once = taken.scores >= 0
    return Taken(taken.places[once], taken.scores[once], taken.nodes[once])


def _urgency(node: int, probability: float, asked: float) -> float:
    return probability - 2 * asked  # Below 0 for a second question.


register([RareNodes()])
