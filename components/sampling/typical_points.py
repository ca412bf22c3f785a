"""Asks about products typical of many others, for a start without answers: one of each cluster, the largest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.sampling.clustering import clusters_of
from components.sampling.contract import FloatArray, IntArray, PathOf, Selection, rankable, register
from components.sampling.narrowing import drawn_places, filled_up, numbers_of
from components.sampling.nodes import take_by_node
from components.sampling.wording import guess
from components.scored_pool import EMBEDDING, EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool

_NEIGHBOURS, _MOST_COMPARED = 20, 1_000


@dataclass(frozen=True)
class TypicalPoints:
    """Clusters embeddings, answered ones too, and asks in the cluster with the fewest answers, the largest of those first.

    Within a cluster the most typical product comes first: the one nearest to its 20 nearest neighbours there. The score is
    the cluster's share of the products looked at, less the answers and questions in it. Clustering costs products times
    clusters, so it looks at a random sample, and fills a larger batch up at random; in a cluster of more than 1,000
    neighbours are sought among 1,000.

    Args:
        sample: candidates looked at.
        answered_sample: answered products looked at.
        most_clusters: of both; beyond them clusters ask again.

    Source:
        Hacohen et al. 2022, ICML, "Active learning on a budget: opposite strategies suit high and low budgets" (TypiClust).
    """

    sample: int = 20_000
    answered_sample: int = 2_000
    most_clusters: int = 500
    name: str = "typical_points"
    columns: tuple[str, ...] = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EMBEDDING)

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group; see `Strategy`."""
        embeddings = pool.need("embeddings")
        places = drawn_places(groups, self.sample, rng)
        if not count or not len(places):
            return Selection(np.empty(0, np.int64), np.empty(0))
        answered = self._answered(pool, rng)
        rows = np.concatenate([candidates[places], answered])
        vectors = np.asarray(embeddings[rows], np.float32)
        rankable(self.name, vectors.sum(axis=1, dtype=np.float64), rows)
        clusters = clusters_of(vectors, min(count + len(answered), self.most_clusters, len(rows)), rng)
        typical = typicalities(vectors, clusters, rng)[: len(places)]
        shares = np.bincount(clusters) / len(rows)
        asked = np.bincount(clusters[len(places) :], minlength=len(shares)).astype(np.float64)
        taken = take_by_node(
            np.arange(len(places)), clusters[: len(places)], typical, asked, lambda node, _, done: float(shares[node]) - done,
            groups[places], count, rng,
        )  # fmt: skip
        scores = np.full(len(candidates), taken.scores.min() - 1)
        scores[places[taken.places]] = taken.scores
        alike = np.zeros(len(candidates), np.int64)
        alike[places[taken.places]] = np.round(shares[taken.nodes] * len(rows))
        chosen = filled_up(places[taken.places], scores, groups, count, rng)
        return Selection(candidates[chosen], scores[chosen], tuple(alike[chosen].tolist()))

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns why this product was chosen; `note` is how many of the sample are like it."""
        like = (
            "like no other of a sample" if note == 1 else f"typical of about {note} products of a sample" if note else "typical of others"
        )
        return f"{like}; the best guess is {guess(pool, row, 0, path_of)}"

    def _answered(self, pool: ScoredPool, rng: np.random.Generator) -> IntArray:
        """Returns answered rows, one of each group, in the order of chance and nothing else."""
        rows = np.flatnonzero(np.asarray(pool.need("answered"), bool))
        if pool.product_ids is not None:
            rows = rows[np.argsort(pool.product_ids[rows].astype(str), kind="stable")]
        groups = rows if pool.groups is None else numbers_of(pool.groups[rows])
        return rows[drawn_places(groups, self.answered_sample, rng)]


def typicalities(vectors: npt.NDArray[np.float32], clusters: IntArray, rng: np.random.Generator) -> FloatArray:
    """Returns one over the mean distance to the 20 nearest in the same cluster, float64 `[n]`; alone in a cluster: 0.

    Args:
        vectors: float32 `[n, d]`.
        clusters: int `[n]`.
        rng: draws what the products of a large cluster are compared with.
    """
    found = np.zeros(len(vectors))
    order = np.argsort(clusters, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
        if len(members) < 2:
            continue
        compared = members if len(members) <= _MOST_COMPARED else rng.choice(members, _MOST_COMPARED, replace=False)
        for start in range(0, len(members), _MOST_COMPARED):
            block = members[start : start + _MOST_COMPARED]
            found[block] = 1 / (_mean_distances(vectors[block], vectors[compared]) + 1e-9)
    return found


def _mean_distances(vectors: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> FloatArray:
    """Returns the mean distance of each vector to its nearest among the others; the nearest of all, mostly itself, aside."""
    squared = (vectors**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * (vectors @ others.T)
    nearest = min(_NEIGHBOURS + 1, len(others))
    distances = np.sqrt(np.maximum(np.partition(squared, nearest - 1, axis=1)[:, :nearest], 0))
    found: FloatArray = (distances.sum(axis=1) - distances.min(axis=1)).astype(np.float64) / max(1, nearest - 1)
    return found


register([TypicalPoints()])
