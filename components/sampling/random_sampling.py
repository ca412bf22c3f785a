"""Asks about products at random: the yardstick that every other strategy must beat."""

from __future__ import annotations

import numpy as np

from components.sampling.contract import FloatArray, IntArray, PathOf, RankedStrategy, register
from components.scored_pool import ScoredPool


def random_scores(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator) -> FloatArray:
    """Returns float64 `[num_candidates]`, uniform in [0, 1) whatever the pool says.

    Source:
        Lewis and Gale 1994, SIGIR, "A sequential algorithm for training text classifiers", which measures against a random sample.
    """
    del pool
    return rng.random(len(candidates))


def random_reason(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    """Returns that chance chose."""
    del pool, row, path_of
    return "drawn at random"


RANDOM = RankedStrategy("random", random_scores, random_reason, columns=())
register([RANDOM])
