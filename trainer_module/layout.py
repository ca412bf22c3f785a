"""Lays every transformed feature out as one bag of columns, some categories and some numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import CATEGORICAL, DENSE, EMBEDDING, NUMERIC, SEQUENCE, TEXT, Feature, FeatureConfig
from trainer_module.preprocessing import IDS, PRESENT, VALUE, VALUE_ID, VECTOR, WEIGHTS, transformed_name, vocabulary_name


class NetworkInputs(NamedTuple):
    """What every network of the zoo reads.

    Attributes:
        bag: sparse float32 `[n, num_columns]`, the weights of tokens and one-hot values.
        categories: int64 `[n, num_categories]`, a value's number, -1 where missing or unknown.
        numbers: float32 `[n, num_numbers]`.
    """

    bag: tf.SparseTensor
    categories: tf.Tensor
    numbers: tf.Tensor


@dataclass(frozen=True)
class Layout:
    """Which feature has which columns.

    Attributes:
        features: the feature config.
        vocabularies: feature name to its tokens or values, in the order of their ids.
    """

    features: FeatureConfig
    vocabularies: Mapping[str, Sequence[str]]

    @property
    def bag_features(self) -> list[Feature]:
        """Features whose tokens are columns of the bag."""
        return [f for f in self.features if f.kind == TEXT or (f.kind == CATEGORICAL and f.encoding != EMBEDDING)]

    @property
    def embedded(self) -> list[Feature]:
        """Categorical features with an embedding of their own."""
        return [f for f in self.features if f.kind == CATEGORICAL and f.encoding == EMBEDDING]

    @property
    def num_columns(self) -> int:
        """Width of the bag, at least 1."""
        return max(1, sum(len(self.vocabularies[f.name]) for f in self.bag_features))

    @property
    def num_numbers(self) -> int:
        """Width of the numbers."""
        return sum(2 if f.kind == NUMERIC else f.dimensions for f in self.features.of_kind(NUMERIC, DENSE))

    def column_ranges(self) -> dict[str, range]:
        """Returns the columns of each feature of the bag."""
        ranges, start = {}, 0
        for feature in self.bag_features:
            ranges[feature.name] = range(start, start + len(self.vocabularies[feature.name]))
            start = ranges[feature.name].stop
        return ranges

    def number_ranges(self) -> dict[str, range]:
        """Returns the places of each feature among the numbers."""
        ranges, start = {}, 0
        for feature in self.features.of_kind(NUMERIC, DENSE):
            ranges[feature.name] = range(start, start + (2 if feature.kind == NUMERIC else feature.dimensions))
            start = ranges[feature.name].stop
        return ranges

    def column_names(self) -> list[str]:
        """Returns `feature:token` of each column, which survives a change of vocabulary."""
        names = [f"{f.name}:{token}" for f in self.bag_features for token in self.vocabularies[f.name]]
        return names or [""]

    def inputs(self, transformed: Mapping[str, Any]) -> NetworkInputs:
        """Assembles transformed tensors; runs inside a graph or eagerly.

        Args:
            transformed: what `preprocessing_fn` returned, for n products.
        """
        parts, offset = [], 0
        for feature in self.bag_features:
            parts.append(self._columns(feature, transformed, offset))
            offset += len(self.vocabularies[feature.name])
        categories = [tf.reshape(transformed[transformed_name(f, VALUE_ID)], [-1, 1]) for f in self.embedded]
        numbers: list[tf.Tensor] = []
        for feature in self.features.of_kind(NUMERIC, DENSE):
            numbers += _numbers(feature, transformed)
        num_rows = _num_rows(transformed, self.features)
        return NetworkInputs(
            _merged(parts, num_rows, self.num_columns),
            tf.concat(categories, 1) if categories else tf.zeros([num_rows, 0], tf.int64),
            tf.concat(numbers, 1) if numbers else tf.zeros([num_rows, 0]),
        )

    def _columns(self, feature: Feature, transformed: Mapping[str, Any], offset: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        if feature.kind == CATEGORICAL:
            ids = tf.reshape(transformed[transformed_name(feature, VALUE_ID)], [-1])
            rows = tf.reshape(tf.where(ids >= 0), [-1])
            return rows, tf.gather(ids, rows) + offset, tf.fill(tf.shape(rows), feature.scale)
        ids = transformed[transformed_name(feature, IDS)]
        rows = ids.indices[:, 0]
        if feature.weighting != SEQUENCE:
            return rows, ids.values + offset, transformed[transformed_name(feature, WEIGHTS)].values
        # float64, because a float32 reciprocal or root may round differently from batch to batch.
        lengths = tf.math.unsorted_segment_sum(tf.ones_like(rows, tf.float64), rows, ids.dense_shape[0])
        return rows, ids.values + offset, tf.cast(feature.scale / tf.sqrt(tf.gather(lengths, rows)), tf.float32)


def _numbers(feature: Feature, transformed: Mapping[str, Any]) -> list[tf.Tensor]:
    if feature.kind == DENSE:
        return [tf.reshape(transformed[transformed_name(feature, VECTOR)], [-1, feature.dimensions])]
    return [tf.reshape(transformed[transformed_name(feature, part)], [-1, 1]) for part in (VALUE, PRESENT)]


def _num_rows(transformed: Mapping[str, Any], features: FeatureConfig) -> tf.Tensor:
    for feature in features:
        if feature.kind == TEXT:
            return transformed[transformed_name(feature, IDS)].dense_shape[0]
        part = {CATEGORICAL: VALUE_ID, NUMERIC: VALUE, DENSE: VECTOR}[feature.kind]
        return tf.shape(transformed[transformed_name(feature, part)], tf.int64)[0]
    raise ValueError("a feature config holds at least one feature")


def _merged(parts: Sequence[tuple[tf.Tensor, tf.Tensor, tf.Tensor]], num_rows: tf.Tensor, num_columns: int) -> tf.SparseTensor:
    shape = tf.stack([tf.cast(num_rows, tf.int64), tf.constant(num_columns, tf.int64)])
    if not parts:
        return tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0]), shape)
    rows, columns, weights = (tf.concat(list(each), 0) for each in zip(*parts, strict=True))
    order = tf.argsort(rows, stable=True)
    indices = tf.stack([tf.gather(rows, order), tf.gather(columns, order)], 1)
    return tf.SparseTensor(indices, tf.gather(weights, order), shape)


def layout_of(features: FeatureConfig, transform_output: tft.TFTransformOutput) -> Layout:
    """Returns the layout of a transform graph, with the vocabularies it learnt."""
    names = [f for f in features if f.kind in (TEXT, CATEGORICAL)]
    return Layout(features, {f.name: vocabulary_of(f, transform_output) for f in names})


def vocabulary_of(feature: Feature, transform_output: tft.TFTransformOutput) -> list[str]:
    """Returns the tokens or values of a feature in the order of their ids, empty if no product had any."""
    # A line is "12 token": TFT puts the frequency first. In an empty vocabulary it leaves a random UUID, which has dashes.
    lines = transform_output.vocabulary_by_name(vocabulary_name(feature))
    tokens = [line.decode().partition(" ")[2] for line in lines]
    return [token for token in tokens if "-" not in token]
