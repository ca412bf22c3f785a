"""Writes a SavedModel of a few operations with a signature of every kind, for tests of the model server."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

_METHODS = {"classify": "tensorflow/serving/classify", "regress": "tensorflow/serving/regress"}


def write_tiny_model(folder: Path, version: int) -> None:
    """Writes a model that says its version.

    Signatures: `serving_default` (x float `[n, 2]` to y = version * x, and version), `text` (title and price to strings and numbers),
    `classify`, `regress` (serialized examples with a feature `price`), `scalar` (nothing has rows), `slow` (steps int64 `[n]`).
    """
    model = _Tiny(version)
    signatures = {name: getattr(model, name) for name in ("serving_default", "text", "classify", "regress", "scalar", "slow")}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for name, method in _METHODS.items():
        saved.meta_graphs[0].signature_def[name].method_name = method
    path.write_bytes(saved.SerializeToString(deterministic=True))


class _Tiny(tf.Module):
    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = tf.Variable(version, trainable=False, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def serving_default(self, x):  # type: ignore[no-untyped-def]
        return {"y": x * tf.cast(self.version, tf.float32), "version": tf.repeat(self.version, tf.shape(x)[0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "title"), tf.TensorSpec([None], tf.float32, "price")])
    def text(self, title, price):  # type: ignore[no-untyped-def]
        return {"upper": tf.strings.upper(title), "raw_bytes": title, "double": price * 2}

    def _prices(self, inputs):  # type: ignore[no-untyped-def]
        return tf.io.parse_example(inputs, {"price": tf.io.FixedLenFeature([], tf.float32, 0.0)})["price"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):  # type: ignore[no-untyped-def]
        prices = self._prices(inputs)
        return {"classes": tf.tile([["cheap", "dear"]], [tf.shape(prices)[0], 1]), "scores": tf.stack([1 - prices, prices], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):  # type: ignore[no-untyped-def]
        return {"outputs": self._prices(inputs) * tf.cast(self.version, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, "number")])
    def scalar(self, number):  # type: ignore[no-untyped-def]
        return {"next": number + 1}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "steps")])
    def slow(self, steps):  # type: ignore[no-untyped-def]
        size = tf.ones([128, 128])
        _, total = tf.while_loop(
            lambda step, _: step < tf.reduce_max(steps),
            lambda step, value: (step + tf.constant(1, tf.int64), tf.linalg.matmul(value, size) / 128),
            (tf.constant(0, tf.int64), size),
        )
        return {"total": tf.cast(steps, tf.float32) + 0 * tf.reduce_sum(total)}
