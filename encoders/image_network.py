"""Encodes pictures with a frozen Keras network: decode, fit into a square, run, bring to unit length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from encoders.descriptions import Description
from encoders.image_checkpoint import weights_file
from encoders.image_decoding import decoded
from schemas.errors import EncoderError

_FILES_AT_ONCE = 32  # Bounds memory whatever the batch.


class ImageNetwork(tf.Module):
    """Whole image files in, the mean of the network's last feature map out, of unit length.

    Args:
        weights: the file, or its folder.
        description: what `kinds.describe_encoder` says of it.
        build: makes the network without its top and with random weights; pixels from -1 to 1 in, `[n, size]` out.
        side: of the pictures that the network reads.

    Raises:
        EncoderError: the weights don't fit the network.
    """

    def __init__(self, weights: Path, description: Description, build: Callable[[], Any], side: int) -> None:
        super().__init__(name=description.kind)
        self.description, self._side = description, side
        network, file = build(), weights_file(weights)
        try:
            network.load_weights(str(file))
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise EncoderError(f"{file}: these weights don't fit {description.kind}: {reason}. Take the weights without the top.") from None
        # A Keras layer as an attribute can't be loaded by TensorFlow 1 and C++, its bare variables can.
        self._weights = [weight.value for weight in network.weights]
        self._network = lambda pixels: network(pixels, training=False)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """See `contract.Encoder`. What isn't a JPEG or PNG within bounds gives zeros."""
        num_rows = tf.shape(values)[0]

        def step(start: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            part = self._vectors(values[start : start + _FILES_AT_ONCE])
            return start + _FILES_AT_ONCE, parts.write(start // _FILES_AT_ONCE + 1, part)

        shape = [None, self.description.size]
        parts = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=shape)
        # The first element has no rows: without any value there would be nothing to put together.
        first = (tf.constant(0), parts.write(0, tf.zeros([0, self.description.size])))
        _, parts = tf.while_loop(lambda start, _: start < num_rows, step, first, parallel_iterations=1)
        return tf.reshape(parts.concat(), [-1, self.description.size])

    def _vectors(self, files: tf.Tensor) -> tf.Tensor:
        rows, pixels = decoded(files, self._side)
        shape = tf.stack([tf.shape(files, tf.int64)[0], self.description.size])

        def encoded() -> tf.Tensor:
            features = tf.math.l2_normalize(self._network(pixels / 127.5 - 1.0), axis=1, epsilon=1e-30)
            return tf.scatter_nd(rows[:, None], features, shape)

        # Convolutions of no picture at all fail.
        return tf.cond(tf.size(rows) > 0, encoded, lambda: tf.zeros(shape))
