"""Says what an encoder is: texts, or the bytes of pictures, in; a vector of unit length each out."""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf

from encoders.descriptions import Description


class Encoder(Protocol):
    """A frozen network with all it needs to read raw strings. A `tf.Module`, so that a model that holds one exports it.

    Every kind passes `tests/encoders/test_encoder_contract.py`.

    Attributes:
        description: the kind, what it reads, the size of its vectors, and a digest that changes when a vector would.
    """

    description: Description

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Returns a vector for each value; runs in a graph or eagerly, and a value's neighbours change it by rounding alone.

        Args:
            values: string `[n]`, texts in UTF-8 or whole image files; n may be 0. No value makes it fail.

        Returns:
            float32 `[n, size]`: rows of length 1, or zeros where there was nothing to encode, such as an empty text or a file
            that is no picture.
        """
        ...


def num_empty(vectors: tf.Tensor) -> tf.Tensor:
    """Returns how many rows of `[n, size]` say nothing, an int64 scalar.

    >>> int(num_empty(tf.constant([[0.0, 0.0], [0.6, 0.8]])))
    1
    """
    return tf.math.count_nonzero(tf.logical_not(says_something(vectors)))


def says_something(vectors: tf.Tensor) -> tf.Tensor:
    """Returns which rows of `[n, size]` aren't all zero, bool `[n]`."""
    return tf.reduce_any(vectors != 0.0, axis=1)
