"""Encodes many texts or images: each different one once, in batches of like length, through a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from encoders.contract import Encoder
from encoders.vector_cache import VectorCache, content_key

TEXTS_AT_ONCE = 256
_BATCHES_A_WRITE = 16  # What a killed run has to encode again, at most.


class Encoded(NamedTuple):
    """What encoding gave, and what it had to do.

    Attributes:
        vectors: float32 `[n, size]`, in the order of the values; equal values have equal rows, bit by bit.
        num_unique: different values that say something.
        num_cached: those of them whose vectors were there already.
    """

    vectors: np.ndarray
    num_unique: int
    num_cached: int


class BatchEncoder:
    """An encoder with what makes many calls cheap; one thread may use it at a time.

    Args:
        encoder: what encodes.
        cache: where vectors are kept; None for nowhere.
        at_once: values in one call of the encoder.
    """

    def __init__(self, encoder: Encoder, cache: VectorCache | None = None, at_once: int = TEXTS_AT_ONCE) -> None:
        self.encoder, self._cache, self._at_once = encoder, cache, at_once
        self._call = tf.function(encoder.__call__, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)

    def __call__(self, values: Sequence[bytes]) -> Encoded:
        """Returns a vector for each value; an empty value has zeros."""
        places: dict[bytes, int] = {}
        rows = [places.setdefault(value, len(places)) for value in values]
        unique = [value for value in places if value]
        found = self._cached(unique)
        num_cached = len(found)
        for part in self._parts([value for value in unique if value not in found]):
            found |= self._encoded(part)
        size = self.encoder.description.size
        vectors = (
            np.stack([found.get(value, np.zeros(size, np.float32)) for value in places]) if places else np.zeros((0, size), np.float32)
        )
        return Encoded(vectors[np.array(rows, np.int64)], len(unique), num_cached)

    def _cached(self, values: list[bytes]) -> dict[bytes, np.ndarray]:
        if self._cache is None:
            return {}
        keys = {content_key(value): value for value in values}
        known = self._cache.get(self.encoder.description.digest, list(keys), self.encoder.description.size)
        return {keys[key]: vector for key, vector in known.items()}

    def _parts(self, values: list[bytes]) -> Iterator[list[bytes]]:
        """Yields the values by falling length, as many as are written at once: what needs most memory comes first."""
        values = sorted(values, key=lambda value: (-len(value), value))
        step = self._at_once * _BATCHES_A_WRITE
        return (values[start : start + step] for start in range(0, len(values), step))

    def _encoded(self, values: list[bytes]) -> dict[bytes, np.ndarray]:
        batches = [values[start : start + self._at_once] for start in range(0, len(values), self._at_once)]
        vectors = np.concatenate([self._call(tf.constant(batch)).numpy() for batch in batches])
        if self._cache is not None:
            self._cache.put(self.encoder.description.digest, {content_key(v): row for v, row in zip(values, vectors, strict=True)})
        return dict(zip(values, vectors, strict=True))


def encode_texts(encoder: Encoder, texts: Sequence[str], cache: VectorCache | None = None) -> np.ndarray:
    """Returns a vector for each text, float32 `[n, size]`; zeros for an empty one.

    Args:
        encoder: one that reads texts.
        texts: any number of them, in any order; each different one is encoded once.
        cache: where vectors are kept between calls and runs; None for nowhere.
    """
    return BatchEncoder(encoder, cache)([text.encode("utf-8", "replace") for text in texts]).vectors
