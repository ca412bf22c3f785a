"""Draws unanswered products once a fit, and makes rows to learn from of them, whichever answers a fold may see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from few_shot.evidence import NodeTexts, Products
from few_shot.propagation import WeakRows, neighbour_graph, propagated, soft_targets

_NEIGHBOURS, _REACH = 10, 0.8


@dataclass(frozen=True)
class Unanswered:
    """Products that nobody answered, beside those somebody did.

    Attributes:
        vectors: float32 `[m, d]`, of the unanswered ones.
        answered: int64 `[n]`, numbers of the answered ones, ascending.
        graph: of the answered products, the nodes' paths, the nodes' names and the unanswered ones, in this order; None without
            propagation.
        propagation: weight of all targets together beside that of all answers.
        entropy_weight: weight of the mean entropy beside the mean loss of an answer.
        node_text_weight: of a node's path and name as seeds, where an answer weighs 1.
    """

    vectors: np.ndarray
    answered: np.ndarray
    graph: sp.csr_matrix | None
    propagation: float
    entropy_weight: float
    node_text_weight: float

    def weak_rows(self, rows: np.ndarray, classes: np.ndarray, num_classes: int) -> WeakRows | None:
        """Returns what the unanswered products say to a fit that sees only these answers; None where there is nothing to say.

        Args:
            rows: int64 `[k]`, some of `answered`.
            classes: int64 `[k]`, their answers.
            num_classes: C.
        """
        count = len(self.vectors)
        if not count or not len(rows):
            return None
        share = len(rows) / count
        targets, sure = np.zeros((count, num_classes), np.float32), np.zeros(count)
        if self.graph is not None:
            targets, sure = soft_targets(propagated(self.graph, self._seeds(rows, classes, num_classes), _REACH)[-count:])
        weights = (self.propagation * share * sure).astype(np.float32)
        return WeakRows(self.vectors, targets.astype(np.float32), weights, self.entropy_weight * share)

    def _seeds(self, rows: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
        first_text = len(self.answered)
        seeds = np.zeros((first_text + 2 * num_classes + len(self.vectors), num_classes), np.float32)
        seeds[np.searchsorted(self.answered, rows), classes] = 1.0
        every = np.arange(num_classes)
        seeds[first_text + every, every] = self.node_text_weight
        seeds[first_text + num_classes + every, every] = self.node_text_weight
        return seeds


def draw_unanswered(
    products: Products,
    texts: NodeTexts,
    answered: np.ndarray,
    candidates: np.ndarray,
    count: int,
    seed: int,
    propagation: float,
    entropy_weight: float,
    node_text_weight: float,
) -> Unanswered:
    """Draws one product of each near-duplicate group that has no answer.

    Args:
        products: all products.
        texts: the nodes as if they were products.
        answered: int64 `[n]`, numbers of answered products, ascending.
        candidates: int64, numbers of products that may be learnt from without an answer.
        count: how many are drawn at most.
        seed: of the draw.
        propagation: see `Unanswered`; 0 makes no graph.
        entropy_weight: see `Unanswered`.
        node_text_weight: see `Unanswered`.
    """
    groups = products.groups[candidates]
    first = np.sort(np.unique(groups, return_index=True)[1])
    drawn = candidates[first[~np.isin(groups[first], products.groups[answered])]]
    if len(drawn) > count:
        drawn = np.sort(np.random.default_rng(seed).choice(drawn, count, replace=False))
    vectors = products.latent[drawn].astype(np.float32)
    graph = None
    if propagation:
        graph = neighbour_graph(np.vstack([products.latent[answered], texts.paths, texts.names, vectors]), _NEIGHBOURS)
    return Unanswered(vectors, answered, graph, propagation, entropy_weight, node_text_weight)
