"""Asks about products whose answer is expected to change the exclusive head most: expected gradient length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.sampling.contract import FloatArray, IntArray, PathOf, RankedStrategy, register
from components.sampling.wording import guess
from components.scored_pool import EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool


def expected_gradient_lengths(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """Returns how long the gradient of a softmax layer on the embedding is expected to be: 0 (certain) to almost root 2.

    The gradient for the answer y is the outer product of p - e_y and the embedding, so its length is theirs multiplied. The
    embedding of a scored pool has unit length, which leaves the sum over y of p_y |p - e_y|. Of the nodes beyond the k best,
    each is taken for so improbable that it adds nothing to |p|.

    >>> expected_gradient_lengths(np.array([[1.0, 0.0], [0.5, 0.5]])).round(3) + 0.0
    array([0.   , 0.707])

    Args:
        probabilities: float `[num_products, k]`, the k most probable nodes.

    Returns:
        float64 `[num_products]`, relative to an embedding of length 1.

    Source:
        Settles and Craven 2008, EMNLP, "An analysis of active learning strategies for sequence labeling tasks".
    """
    likely = np.asarray(probabilities, np.float64)
    squared = (likely**2).sum(axis=1, keepdims=True)
    lengths = np.sqrt(np.maximum(squared - 2 * likely + 1, 0))
    rest = np.maximum(1 - likely.sum(axis=1), 0)
    expected: FloatArray = (likely * lengths).sum(axis=1) + rest * np.sqrt(squared[:, 0] + 1)
    return expected


def _scores(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator) -> FloatArray:
    del rng
    likely = pool.need("exclusive_probabilities")
    blocks = [expected_gradient_lengths(likely[candidates[start : start + 65_536]]) for start in range(0, len(candidates), 65_536)]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _explain(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    return f"the answer would teach the model much, whichever it is: the best guess is {guess(pool, row, 0, path_of)}"


register([RankedStrategy("gradient_length", _scores, _explain, (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES))])
