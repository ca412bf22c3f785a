"""Asks about products between two categories, first where few answers are: margin, spread over the nodes."""

from __future__ import annotations

import heapq

import numpy as np

from components.sampling.contract import IntArray, PathOf, Selection, fair_order, rankable, register
from components.sampling.uncertainty import margin_scores
from components.scored_pool import EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool


class BalancedMargin:
    """Divides a product's margin score by the root of one plus the answers its best guess has, those of this batch included.

    Margin alone asks the same question about look-alikes until the next round; here every question about a node makes the
    next one about it less urgent. What answers a node has is counted by the best guesses for answered products.
    """

    name = "balanced_margin"
    columns = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES)

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group; see `Strategy`."""
        margins = rankable(self.name, margin_scores(pool.need("exclusive_probabilities")[candidates]), candidates)
        best = pool.need("exclusive_nodes")[:, 0]
        nodes, guesses = np.unique(best[candidates], return_inverse=True)
        asked = self._answers(best[np.asarray(pool.need("answered"), bool)], nodes)
        order = fair_order(margins, rng)
        queues = [order[guesses[order] == node][::-1].tolist() for node in range(len(nodes))]  # The most wanted last.
        heap = [(-margins[queue[-1]] / np.sqrt(1 + asked[node]), node) for node, queue in enumerate(queues) if queue]
        heapq.heapify(heap)
        rows: list[int] = []
        scores: list[float] = []
        taken: set[int] = set()
        while heap and len(rows) < count:
            negative, node = heapq.heappop(heap)
            at = queues[node].pop()
            if int(groups[at]) not in taken:
                taken.add(int(groups[at]))
                rows.append(int(candidates[at]))
                scores.append(-float(negative))
                asked[node] += 1
            if queues[node]:
                heapq.heappush(heap, (-margins[queues[node][-1]] / np.sqrt(1 + asked[node]), node))
        return Selection(np.array(rows, np.int64), np.array(scores, np.float64))

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf) -> str:
        """Returns why this product was chosen."""
        first, second = (path_of(str(node)) for node in pool.need("exclusive_nodes")[row, :2])
        likely = pool.need("exclusive_probabilities")[row, :2]
        return f"torn between {first} ({100 * likely[0]:.0f} %) and {second} ({100 * likely[1]:.0f} %), and few answers there"

    def _answers(self, answered: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        """Returns float64 `[num_nodes]`, the answered products whose best guess is the node."""
        known, counts = np.unique(answered, return_counts=True)
        of = dict(zip(known.tolist(), counts.tolist(), strict=True))
        return np.array([of.get(node, 0) for node in nodes.tolist()], np.float64)


register([BalancedMargin()])
