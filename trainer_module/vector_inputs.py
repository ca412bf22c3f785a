"""Encodes the raw fields of products that come without their vectors, inside a served model's graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from encoders.contract import Encoder, says_something
from encoders.descriptions import IMAGE
from encoders.registry import load_planned
from schemas.features import FeatureConfig
from schemas.product import FIELDS, IMAGE_BYTES
from trainer_module.preprocessing import scalar

HAS = "has_"  # Before the name of a vector: the output that says which products have one.


class VectorInput(NamedTuple):
    """A vector that a model's features read and an encoder makes.

    Attributes:
        name: of the vector.
        source: the raw input it is made from: a text field, or `image_bytes`.
        size: its length.
        encode: makes it, strings `[k]` to float32 `[k, size]`.
    """

    name: str
    source: str
    size: int
    encode: Callable[[tf.Tensor], tf.Tensor]


class VectorInputs(tf.Module):
    """All vectors of a model; as a `tf.Module`, it takes the encoders' weights into the SavedModel.

    Args:
        plans: as `pipeline.encoder_inputs.read_encoders` returns them.
        config: the features; a vector that none reads is left out.

    Raises:
        EncoderError: weights can't be used, or aren't those the run was planned with.
    """

    def __init__(self, plans: Sequence[Mapping[str, Any]], config: FeatureConfig) -> None:
        super().__init__(name="vector_inputs")
        read = [plan for plan in plans if plan["name"] in config.dense_fields]
        loaded = load_planned(read)
        self.encoders = list(loaded.values())
        calls = {plan["digest"]: _one_function(loaded[plan["name"]]) for plan in read}
        self.inputs = [
            VectorInput(plan["name"], IMAGE_BYTES if plan["reads"] == IMAGE else plan["field"], plan["size"], calls[plan["digest"]])
            for plan in read
        ]

    @property
    def names(self) -> frozenset[str]:
        """The vectors' names."""
        return frozenset(item.name for item in self.inputs)

    def sources(self, also: Sequence[str] = ()) -> list[str]:
        """Returns the string inputs these vectors and other features need, in the order of the product's fields."""
        wanted = {*also, *(item.source for item in self.inputs)}
        return [name for name in (*FIELDS, IMAGE_BYTES) if name in wanted]

    def filled(self, raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, tf.Tensor]]:
        """Returns the inputs with every vector, and which products have one that says something.

        A product that brings its vector keeps it; of the others the raw field is encoded.

        Args:
            raw: sparse `[n, k]` by name; the vectors may be absent altogether.

        Returns:
            the inputs, vectors sparse `[n, size]`; and `has_NAME`, bool `[n]`, for every vector.
        """
        found, said = dict(raw), {}
        for item in self.inputs:
            vectors = _vectors(item, raw.get(item.name), scalar(raw[item.source], b""))
            found[item.name] = sparse_rows(vectors)
            said[HAS + item.name] = says_something(vectors)
        return found, said


def _one_function(encoder: Encoder) -> Callable[[tf.Tensor], tf.Tensor]:
    # Every signature encodes: as a function of its own an encoder is traced, saved and loaded once for all of them.
    encode: Callable[[tf.Tensor], tf.Tensor] = tf.function(
        encoder.__call__, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    return encode


def _vectors(item: VectorInput, given: tf.SparseTensor | None, source: tf.Tensor) -> tf.Tensor:
    num_rows = tf.shape(source, tf.int64)[0]
    vectors, missing = tf.zeros(tf.stack([num_rows, item.size])), source != ""
    if given is not None:
        inside = tf.sparse.retain(given, given.indices[:, 1] < item.size)
        shape = tf.stack([num_rows, tf.constant(item.size, tf.int64)])
        vectors = tf.sparse.to_dense(tf.SparseTensor(inside.indices, inside.values, shape))
        numbers = tf.math.unsorted_segment_sum(tf.ones_like(given.indices[:, 0]), given.indices[:, 0], num_rows)
        missing &= numbers == 0
    rows = tf.where(missing)
    return tf.tensor_scatter_nd_update(vectors, rows, item.encode(tf.gather(source, rows[:, 0])))


def sparse_rows(value: tf.Tensor) -> tf.SparseTensor:
    """Returns a dense `[n, size]` as a parsed example would hold it: every number stands.

    `tf.sparse.from_dense` would make 0.0 of -0.0.
    """
    places = tf.where(tf.fill(tf.shape(value), True))
    return tf.SparseTensor(places, tf.reshape(value, [-1]), tf.shape(value, tf.int64))
