"""Asks about undecided products that are like many others: information density."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.sampling.contract import FloatArray, IntArray, PathOf, RankedStrategy, register
from components.sampling.uncertainty import margin_scores
from components.sampling.wording import guess
from components.scored_pool import EMBEDDING, EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, Embeddings, ScoredPool, embedding_blocks

_DIGITS = 6  # Below what the order of a sum changes.


def mean_cosines(vectors: npt.NDArray[np.floating], sample: npt.NDArray[np.floating]) -> FloatArray:
    """Returns the mean cosine of each vector with the sample: the cosine is linear, so a mean vector says it in one product.

    >>> mean_cosines(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]])).round(3)
    array([0.667, 0.333])

    Args:
        vectors: float `[num_vectors, d]`.
        sample: float `[num_sample, d]`, at least one.

    Returns:
        float64 `[num_vectors]`, -1 to 1; 0 for a vector of zeros.
    """
    found: FloatArray = _unit(vectors) @ _unit(sample).mean(axis=0)
    return found


def _unit(vectors: npt.NDArray[np.floating]) -> FloatArray:
    wide = np.asarray(vectors, np.float64)
    lengths = np.sqrt((wide**2).sum(axis=1, keepdims=True))
    unit: FloatArray = wide / np.where(lengths > 0, lengths, 1.0)
    return unit


def density_scores(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator, sample_size: int = 20_000) -> FloatArray:
    """Returns the margin score times the mean cosine with `sample_size` of the candidates, drawn at random: 0 to 1.

    A product that is like none, or unlike most, has 0. Linear in the number of products.

    Source:
        Settles and Craven 2008, EMNLP, "An analysis of active learning strategies for sequence labeling tasks", section 3.4,
        with margin in the place of entropy and beta 1.
    """
    margins = margin_scores(pool.need("exclusive_probabilities")[candidates, :3])
    embeddings = pool.need("embeddings")
    if not len(candidates):
        return margins
    all_seen = len(candidates) <= sample_size
    sample = _unit(embeddings[candidates if all_seen else rng.choice(candidates, sample_size, replace=False)])
    mean = sample[np.isfinite(sample).all(axis=1)].sum(axis=0) / len(sample)
    cosines = sample @ mean if all_seen else _cosines(embeddings, mean)[candidates]
    found: FloatArray = margins * np.maximum(cosines, 0.0).round(_DIGITS)
    return found


def _cosines(embeddings: Embeddings, mean: FloatArray) -> FloatArray:
    found = np.zeros(len(embeddings))
    for start, block in embedding_blocks(embeddings):
        found[start : start + len(block)] = _unit(block) @ mean
    return found


def _explain(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    return f"like many others, and torn between {guess(pool, row, 0, path_of)} and {guess(pool, row, 1, path_of)}"


register(
    [RankedStrategy("information_density", density_scores, _explain, (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EMBEDDING))]
)  # fmt: skip
