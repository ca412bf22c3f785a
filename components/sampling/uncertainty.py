"""Asks about products that the exclusive head is least sure of, by three measures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.sampling.contract import FloatArray, IntArray, PathOf, RankedStrategy, register
from components.sampling.wording import guess
from components.scored_pool import EXCLUSIVE_ENTROPY, EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool
from schemas.errors import SamplingError

_TOLERANCE = 1e-3
_COLUMNS = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES)


def least_confidence_scores(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """Returns how little the head trusts its best guess: 0 (certain) to almost 1.

    >>> least_confidence_scores(np.array([[0.5, 0.3], [0.9, 0.1]])).round(2)
    array([0.5, 0.1])

    Args:
        probabilities: float `[num_products, k]`, the k most probable nodes, largest first.

    Returns:
        float64 `[num_products]`, relative to certainty.

    Raises:
        SamplingError: a probability outside [0, 1], or rows that aren't in falling order.

    Source:
        Culotta and McCallum 2005, AAAI, "Reducing labeling effort for structured prediction tasks";
        Lewis and Gale 1994, SIGIR, for two classes.
    """
    return 1.0 - _checked(probabilities, 1)[:, 0]


def margin_scores(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """Returns how undecided the head is between its two best guesses: 0 (sure) to 1 (torn).

    >>> margin_scores(np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]])).round(2)
    array([1. , 0.2])

    Args:
        probabilities: float `[num_products, k]`, the k >= 2 most probable nodes, largest first.

    Returns:
        float64 `[num_products]`, relative to the two best nodes only.

    Raises:
        SamplingError: fewer than two nodes, a probability outside [0, 1], or rows that aren't in falling order.

    Source:
        Scheffer et al. 2001, IDA, "Active hidden Markov models for information extraction";
        Luo et al. 2005, JMLR 6 (there called breaking ties).
    """
    found = _checked(probabilities, 2)
    return 1.0 - (found[:, 0] - found[:, 1])


def entropy_scores(entropies: npt.NDArray[np.floating]) -> FloatArray:
    """Returns how widely the head spreads its guesses, in nats: 0 (certain) to the logarithm of the number of nodes.

    >>> entropy_scores(np.array([0.0, 1.5]))
    array([0. , 1.5])

    Args:
        entropies: float `[num_products]`, over all exclusive nodes, as the model computed them.

    Returns:
        float64 `[num_products]`.

    Raises:
        SamplingError: an entropy below 0.

    Source:
        Shannon 1948; Settles 2009, "Active learning literature survey", section 3.1, for its use here.
    """
    found = np.asarray(entropies, np.float64)
    if (found < -_TOLERANCE).any():
        raise SamplingError(f"an entropy is {found.min():.4f}, expected 0 or more. Score the pool again.")
    return np.maximum(found, 0.0)


def _checked(probabilities: npt.NDArray[np.floating], needed: int) -> FloatArray:
    found = np.asarray(probabilities, np.float64)
    if found.ndim != 2 or found.shape[1] < needed:
        raise SamplingError(
            f"probabilities have the shape {list(found.shape)}, expected {needed} nodes or more. Set scoring.top_k to {needed}."
        )
    best = found[:, : needed + 1]
    if ((best < -_TOLERANCE) | (best > 1 + _TOLERANCE)).any():
        raise SamplingError(f"probabilities run from {best.min():.4f} to {best.max():.4f}, expected 0 to 1. Score the pool again.")
    if (np.diff(best, axis=1) > _TOLERANCE).any():
        raise SamplingError("probabilities aren't in falling order. Score the pool again.")
    return found


def _explain_least_confidence(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    return f"unsure: the best guess is {guess(pool, row, 0, path_of)}"


def _explain_margin(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    return f"torn between {guess(pool, row, 0, path_of)} and {guess(pool, row, 1, path_of)}"


def _explain_entropy(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    spread = float(np.exp(pool.need("exclusive_entropy")[row]))
    return f"spread over about {spread:.0f} categories: the best guess is {guess(pool, row, 0, path_of)}"


def _least_confidence(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator) -> FloatArray:
    del rng
    return least_confidence_scores(pool.need("exclusive_probabilities")[candidates])


def _margin(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator) -> FloatArray:
    del rng
    return margin_scores(pool.need("exclusive_probabilities")[candidates])


def _entropy(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator) -> FloatArray:
    del rng
    return entropy_scores(pool.need("exclusive_entropy")[candidates])


register(
    [
        RankedStrategy("least_confidence", _least_confidence, _explain_least_confidence, _COLUMNS),
        RankedStrategy("margin", _margin, _explain_margin, _COLUMNS),
        RankedStrategy("entropy", _entropy, _explain_entropy, (*_COLUMNS, EXCLUSIVE_ENTROPY)),
    ]
)
