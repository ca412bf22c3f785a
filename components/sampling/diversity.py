"""Asks about undecided products that differ from each other: BADGE, and weighted k-means on the same gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from components.sampling.clustering import kernel_clusters, spread_points
from components.sampling.contract import FloatArray, IntArray, PathOf, Selection, fair_order, rankable, register
from components.sampling.gradient_embeddings import GradientEmbeddings, gradient_embeddings, gradient_lengths
from components.sampling.narrowing import best_places, drawn_places, filled_up
from components.sampling.uncertainty import margin_scores
from components.sampling.wording import guess
from components.scored_pool import EMBEDDING, EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool
from schemas.errors import SamplingError

_COLUMNS = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EMBEDDING)
_LEAST_WEIGHT = 1e-6


def _gradients(name: str, pool: ScoredPool, rows: IntArray) -> GradientEmbeddings:
    vectors = np.asarray(pool.need("embeddings")[rows], np.float32)
    if not np.isfinite(vectors).all():
        at = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise SamplingError(f"strategy {name!r} gave scores that can't be ranked: nan for row {rows[at]}. Score the pool again.")
    return gradient_embeddings(pool.need("exclusive_nodes")[rows], pool.need("exclusive_probabilities")[rows], vectors)


@dataclass(frozen=True)
class Badge:
    """Draws products by k-means++ on the gradients of their best guesses: long gradients, far from each other.

    The score is the length of the gradient; the products come in its order. Work grows with candidates times batch, so
    beyond `sample` candidates it draws from a random sample of them, and beyond `most_drawn` products it fills up by length.

    Args:
        sample: candidates looked at.
        most_drawn: products drawn for their distance.

    Source:
        Ash et al. 2020, ICLR, "Deep batch active learning by diverse, uncertain gradient lower bounds".
    """

    sample: int = 20_000
    most_drawn: int = 2_000
    name: str = "badge"
    columns: tuple[str, ...] = _COLUMNS

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group; see `Strategy`."""
        lengths = rankable(self.name, _lengths(pool, candidates), candidates)
        places = drawn_places(groups, self.sample, rng)
        wanted = min(count, len(places), self.most_drawn)
        if wanted:
            gradients = _gradients(self.name, pool, candidates[places])
            first = int(fair_order(gradients.squared_lengths, rng)[0])
            places = places[spread_points(gradients.squared_lengths, gradients.inner_products, first, wanted, rng)]
        places = filled_up(places[:wanted], lengths, groups, count, rng)
        return Selection(candidates[places], lengths[places])

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns why this product was chosen."""
        return f"unlike the others of this batch, and unsure: the best guess is {guess(pool, row, 0, path_of)}"


@dataclass(frozen=True)
class GradientKMeans:
    """Clusters the gradients of the most undecided products, weighted by margin, and asks about the middle of each cluster.

    The score is the margin score; the products come in its order. Clusters are made of the `share` times `count` highest
    margins, `most_clustered` at most: work grows with their square. A batch of more than that is filled up by margin.

    Args:
        share: products looked at for each one wanted.
        most_clustered: of them, at most.

    Source:
        Zhdanov 2019, arXiv:1901.05954, "Diverse mini-batch active learning"; on gradients in the place of embeddings.
    """

    share: int = 10
    most_clustered: int = 4_000
    name: str = "gradient_kmeans"
    columns: tuple[str, ...] = _COLUMNS

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group; see `Strategy`."""
        margins = rankable(self.name, margin_scores(pool.need("exclusive_probabilities")[candidates, :3]), candidates)
        places = best_places(margins, groups, min(self.share * count, self.most_clustered), rng)
        if len(places) > count:
            gradients = _gradients(self.name, pool, candidates[places])
            places = places[_middles(gradients, np.maximum(margins[places], _LEAST_WEIGHT), count, rng)]
        places = filled_up(places, margins, groups, count, rng)
        return Selection(candidates[places], margins[places])

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns why this product was chosen."""
        return f"stands for others like it, torn between {guess(pool, row, 0, path_of)} and {guess(pool, row, 1, path_of)}"


def _lengths(pool: ScoredPool, candidates: IntArray) -> FloatArray:
    likely = pool.need("exclusive_probabilities")
    blocks = [gradient_lengths(likely[candidates[start : start + 65_536]]) for start in range(0, len(candidates), 65_536)]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _middles(gradients: GradientEmbeddings, weights: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """Returns the point nearest to the mean of each cluster that isn't empty."""
    if not count:
        return np.empty(0, np.int64)
    gram = gradients.gram()
    starts = spread_points(gradients.squared_lengths, lambda at: gram[at].astype(np.float64), 0, count, rng)
    clusters, distances = kernel_clusters(gram, weights, starts)
    order = np.lexsort((distances, clusters))
    middles: IntArray = order[np.unique(clusters[order], return_index=True)[1]]
    return middles


register([Badge(), GradientKMeans()])
