"""Writes a SavedModel whose `embed` says which version made a vector, for tests of the similarity server."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf


def write_tiny_embedder(folder: Path, version: int, dimension: int) -> None:
    """Writes a model whose vector of a product points along axis `version`, and a little along axis 0 the dearer it is.

    A title `refuse` fails, as a product that a model can't take; a title `nothing` is all zeros, as one that a model knows nothing of.
    """
    model = _Embedder(version, dimension)
    tf.saved_model.save(model, str(folder), signatures={"embed": model.embed, "predict_products": model.predict_products})


class _Embedder(tf.Module):
    def __init__(self, version: int, dimension: int) -> None:
        super().__init__()
        self.axis = tf.Variable(tf.one_hot(version, dimension), trainable=False)
        self.price_axis = tf.Variable(tf.one_hot(0, dimension), trainable=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def embed(self, examples):  # type: ignore[no-untyped-def]
        features = {
            "title": tf.io.FixedLenFeature([], tf.string, ""),
            "price": tf.io.FixedLenFeature([], tf.float32, 0.0),
            "style": tf.io.FixedLenFeature([2], tf.float32, [0.0, 0.0]),
            "image_bytes": tf.io.FixedLenFeature([], tf.string, ""),
        }
        found = tf.io.parse_example(examples, features)
        with tf.control_dependencies([tf.debugging.assert_none_equal(found["title"], "refuse", message="this title is refused")]):
            shares = found["price"] / 1000
        says = tf.cast(found["title"] != "nothing", tf.float32)[:, None]
        return {"embedding": says * (self.axis[None] + shares[:, None] * self.price_axis[None])}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "title"),
            tf.TensorSpec([None], tf.float32, "price"),
            tf.TensorSpec([None], tf.string, "image_bytes"),
        ]
    )
    def predict_products(self, title, price, image_bytes):  # type: ignore[no-untyped-def]
        """Names the fields; `style` is one that an encoder of pictures would make."""
        has_style = image_bytes != ""
        return {"scores": tf.cast(title != "", tf.float32) * price, "has_style": has_style}
