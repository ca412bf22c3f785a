"""Writes vectors as words, so that a full-text engine can name candidates without knowing what a vector is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.errors import NeighbourIndexError
from similarity.arrays import FloatArray, IntArray

ROUNDING, PERCENTILE = "rounding", "percentile"
_MOST_LEVELS = 1_000


@dataclass(frozen=True)
class VectorTokens:
    """How numbers become words: each of a vector's largest numbers becomes `f<place>_<level>`.

    Rounding takes a number to some decimals; percentiles give each place of the vector levels that equally many products share,
    so no word is common. Two vectors that are alike share many words; the engine counts them.

    Attributes:
        encoding: `rounding` or `percentile`.
        bounds: float32 `[dimension, levels - 1]`, where a place's levels meet; `[0, 0]` for rounding.
        decimals: kept by rounding.
        words: written for each vector, those of its largest numbers by size; 0 for all.

    Source:
        Rygl et al. 2017, RepL4NLP, "Semantic vector encoding and similarity search using fulltext search engines".
    """

    encoding: str
    bounds: FloatArray
    decimals: int
    words: int

    def numbers(self, unit: FloatArray) -> tuple[IntArray, IntArray]:
        """Returns places and levels, int64 `[num_vectors, words]` each, of unit vectors `[num_vectors, dimension]`."""
        kept = min(self.words or unit.shape[1], unit.shape[1])
        places = np.sort(np.argsort(-np.abs(unit), axis=1, kind="stable")[:, :kept], axis=1)
        return places, np.take_along_axis(self._levels(unit), places, axis=1)

    def texts(self, unit: FloatArray) -> list[str]:
        """Returns the words of each vector, joined by spaces.

        >>> rounding(1, words=2).texts(np.array([[0.6, -0.79, 0.01]], np.float32))
        ['f0_6 f1_m8']
        """
        places, levels = self.numbers(unit)
        return [
            " ".join(f"f{place}_{level if level >= 0 else f'm{-level}'}" for place, level in zip(row, found, strict=True))
            for row, found in zip(places.tolist(), levels.tolist(), strict=True)
        ]

    def _levels(self, unit: FloatArray) -> IntArray:
        if self.encoding == ROUNDING:
            return np.asarray(np.rint(unit * 10**self.decimals), np.int64)
        return np.stack([np.searchsorted(self.bounds[place], unit[:, place]) for place in range(unit.shape[1])], axis=1).astype(np.int64)


def rounding(decimals: int, words: int = 0) -> VectorTokens:
    """Returns an encoding that needs to know nothing about the vectors.

    Raises:
        NeighbourIndexError: decimals outside of 0 to 6, or fewer than 0 words.
    """
    if not 0 <= decimals <= 6 or words < 0:
        raise NeighbourIndexError(f"rounding to {decimals} decimals and {words} words isn't possible; expected 0 to 6, and 0 or more.")
    return VectorTokens(ROUNDING, np.zeros((0, 0), np.float32), decimals, words)


def percentile(vectors: FloatArray, levels: int, words: int = 0) -> VectorTokens:
    """Returns an encoding whose levels hold equally many of some unit vectors `[num_vectors, dimension]` each.

    Raises:
        NeighbourIndexError: no vectors, levels outside of 2 to 1,000, or fewer than 0 words.
    """
    if not len(vectors) or not 2 <= levels <= _MOST_LEVELS or words < 0:
        raise NeighbourIndexError(
            f"{levels} levels of {len(vectors)} vectors and {words} words aren't possible; expected 2 to {_MOST_LEVELS:,} of at least "
            "one vector, and 0 words or more."
        )
    bounds = np.quantile(vectors, np.arange(1, levels) / levels, axis=0).T  # [dimension, levels - 1]
    return VectorTokens(PERCENTILE, np.ascontiguousarray(bounds, np.float32), 0, words)
