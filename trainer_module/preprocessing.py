"""Turns raw product fields into model inputs, inside the transform graph that training and serving share."""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import (
    CATEGORICAL,
    CHARACTERS,
    COUNTS,
    DENSE,
    NUMERIC,
    SEQUENCE,
    TEXT,
    TF_IDF,
    Feature,
    FeatureConfig,
    features_from_json,
)
from schemas.product import GROUP, ID

# What a transformed feature is called. Ids are -1-free: unknown tokens are left out.
IDS, WEIGHTS, VALUE_ID, VALUE, PRESENT, VECTOR = "ids", "weights", "id", "value", "present", "vector"
_JOIN = "_"  # Between the words of an n-gram; no folded token holds it, and a vocabulary file can't hold a space.
_TOKEN_COLUMN, _FREQUENCY_COLUMN = 1, 0


def vocabulary_name(feature: Feature) -> str:
    """Returns the name of the vocabulary asset of a text or categorical feature."""
    return f"vocabulary_{feature.name}"


def transformed_name(feature: Feature, part: str) -> str:
    """Returns the name of one transformed tensor, such as `title_ids`."""
    return f"{feature.name}_{part}"


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Maps raw features to model inputs; the entry point of the TFX Transform component.

    Args:
        inputs: raw fields, each string or float `[n, <=1]` sparse, dense fields `[n, size]`.
        custom_config: `features`, a `FeatureConfig` as JSON.

    Returns:
        per text feature `<name>_ids` (sparse int64) and, unless it is a sequence, `<name>_weights` (sparse float32 of
        unit length times scale); per categorical feature `<name>_id` int64 `[n]`, -1 if missing or unknown; per numeric
        feature `<name>_value` and `<name>_present` float32 `[n]`; per dense feature `<name>_vector` float32 `[n, size]`.
        The id and group of the product and the label features pass through.
    """
    config = features_from_json(custom_config["features"])
    outputs: dict[str, Any] = {}
    for feature in config:
        outputs.update(_TRANSFORMS[feature.kind](feature, inputs))
    for name in (ID, GROUP):
        if name in inputs:
            outputs[name] = scalar(inputs[name], b"")
    for name in custom_config.get("passthrough", ()):
        if name in inputs:
            outputs[name] = inputs[name]
    return outputs


def scalar(values: Any, default: Any) -> tf.Tensor:
    """Returns `[n]` from a `[n, <=1]` sparse or dense tensor, `default` where a row has nothing."""
    if not isinstance(values, tf.SparseTensor):
        return tf.reshape(values, [-1])
    shape = tf.stack([values.dense_shape[0], tf.constant(1, tf.int64)])
    first = tf.sparse.retain(values, values.indices[:, 1] == 0)
    return tf.reshape(tf.sparse.to_dense(tf.SparseTensor(first.indices, first.values, shape), default_value=default), [-1])


@tf.function(autograph=False)
def fold_in_graph(text: tf.Tensor) -> tf.Tensor:
    """Returns texts in lower case, with everything but letters and digits made single spaces, string `[n]`."""
    return tf.strings.strip(tf.strings.regex_replace(tf.strings.lower(text, encoding="utf-8"), r"[^\p{L}\p{N}]+", " "))


def same_log(values: tf.Tensor) -> tf.Tensor:
    """Returns the natural logarithm of float64 values above 0, to ten digits, the same bits in every batch.

    `tf.math.log` rounds the last values of a batch, which don't fill a SIMD register, differently from the others, so
    that a product's features would depend on its neighbours. Sums, products and quotients don't: IEEE 754 fixes them.

    >>> float(same_log(tf.constant(10.0, tf.float64)))
    2.302585092...
    """
    bits = tf.bitcast(values, tf.int64)
    exponent = tf.bitwise.right_shift(bits, tf.constant(52, tf.int64)) - 1023
    mantissa = tf.bitcast(tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(bits, 2**52 - 1), 1023 << 52), tf.float64)  # in [1, 2)
    high = tf.cast(mantissa > 1.4142135623730951, tf.float64)
    mantissa = mantissa * (1.0 - 0.5 * high)
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square, series = ratio * ratio, tf.zeros_like(ratio)
    for odd in range(15, 0, -2):  # log m = 2 artanh((m - 1) / (m + 1))
        series = series * square + 1.0 / odd
    return (tf.cast(exponent, tf.float64) + high) * 0.6931471805599453 + 2.0 * ratio * series


def _text(feature: Feature, inputs: dict[str, Any]) -> dict[str, Any]:
    text = fold_in_graph(tf.strings.reduce_join([scalar(inputs[name], b"") for name in feature.fields], axis=0, separator=" "))
    grams = _ngrams(feature, text)
    vocabulary = tft.vocabulary(
        _once_per_row(grams),
        top_k=feature.values or None,
        frequency_threshold=feature.minimum_count if feature.minimum_count > 1 else None,
        vocab_filename=vocabulary_name(feature),
        store_frequency=True,
    )
    ids = _look_up(grams, vocabulary, tf.lookup.TextFileIndex.LINE_NUMBER)
    if feature.weighting == SEQUENCE:
        known = tf.sparse.retain(ids, ids.values >= 0)
        return {transformed_name(feature, IDS): _packed(known, feature.max_tokens)}
    documents = _look_up(grams, vocabulary, _FREQUENCY_COLUMN) if feature.weighting == TF_IDF else None
    bag_ids, weights = _bag(feature, ids, documents, tf.shape(text, tf.int64)[0])
    return {transformed_name(feature, IDS): bag_ids, transformed_name(feature, WEIGHTS): weights}


# Traced functions are one node each in the transform graph. TFT walks the graph node by node in Python, for every analyzer
# and once more for every export, so this halves the fixed cost of the stage.
@tf.function(autograph=False)
def _ngrams(feature: Feature, text: tf.Tensor) -> tf.SparseTensor:
    if feature.tokens == CHARACTERS:
        padded = tf.strings.join([_JOIN, tf.strings.regex_replace(text, " ", _JOIN), _JOIN])
        tokens = tf.strings.unicode_split(tf.where(text == "", "", padded), "UTF-8").to_sparse()
        return tft.ngrams(tokens, feature.ngrams, "")
    return tft.ngrams(tf.strings.split(text).to_sparse(), feature.ngrams, _JOIN)


@tf.function(autograph=False)
def _once_per_row(tokens: tf.SparseTensor) -> tf.Tensor:
    # Document frequencies, not occurrences: hashing makes (row, token) one number, which is much cheaper than strings.
    row, token = tokens.indices[:, 0], tf.strings.to_hash_bucket_fast(tokens.values, 2**62)
    groups = tf.unique(token * 1_000_003 + row)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(groups.idx)), groups.idx, tf.size(groups.y))
    return tf.gather(tokens.values, first)


def _look_up(tokens: tf.SparseTensor, vocabulary: Any, column: int) -> tf.SparseTensor:
    def table_of(values: tf.Tensor, file_name: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with contextlib.ExitStack() as stack:
            if tf.inside_function() and not tf.is_symbolic_tensor(file_name):
                # Made once, when the model is loaded. A table made inside a function is read from its file at every call.
                stack.enter_context(tf.init_scope())
            reader = tf.lookup.TextFileInitializer(file_name, tf.string, _TOKEN_COLUMN, tf.int64, column, delimiter=" ")
            table = tf.lookup.StaticHashTable(reader, default_value=-1)
            size = table.size()
        return table.lookup(values), size

    return tft.apply_vocabulary(tokens, vocabulary, default_value=-1, lookup_fn=table_of)


@tf.function(autograph=False)
def _packed(ids: tf.SparseTensor, max_tokens: int) -> tf.SparseTensor:
    ragged = tf.RaggedTensor.from_value_rowids(ids.values, ids.indices[:, 0], nrows=ids.dense_shape[0], validate=False)
    return ragged[:, :max_tokens].to_sparse()


def _bag(
    feature: Feature, ids: tf.SparseTensor, documents: tf.SparseTensor | None, num_rows: tf.Tensor
) -> tuple[tf.SparseTensor, tf.SparseTensor]:
    if documents is None:
        return _weighted(feature, ids, ids.values, tf.constant(0.0, tf.float64), num_rows)
    total = tf.cast(tft.sum(tf.ones([num_rows], tf.int64)), tf.float64)
    return _weighted(feature, ids, documents.values, total, num_rows)


@tf.function(autograph=False)
def _weighted(
    feature: Feature, ids: tf.SparseTensor, documents: tf.Tensor, total: tf.Tensor, num_rows: tf.Tensor
) -> tuple[tf.SparseTensor, tf.SparseTensor]:
    known = ids.values >= 0
    row, token = tf.boolean_mask(ids.indices[:, 0], known), tf.boolean_mask(ids.values, known)
    groups = tf.unique_with_counts(row * 2**32 + token)
    row, token = groups.y // 2**32, groups.y % 2**32
    counts = tf.cast(groups.count, tf.float64)
    weights = counts if feature.weighting == COUNTS else tf.ones_like(counts)
    if feature.weighting == TF_IDF:
        first = tf.math.unsorted_segment_max(tf.boolean_mask(documents, known), groups.idx, tf.size(groups.y))
        weights = (1.0 + same_log(counts)) * (1.0 + same_log((1.0 + total) / (1.0 + tf.cast(first, tf.float64))))
    length = tf.sqrt(tf.math.unsorted_segment_sum(weights * weights, row, num_rows))
    weights = tf.cast(weights * feature.scale / tf.gather(length, row), tf.float32)
    return _rows(token, row, num_rows), _rows(weights, row, num_rows)


def _rows(values: tf.Tensor, row: tf.Tensor, num_rows: tf.Tensor) -> tf.SparseTensor:
    return tf.RaggedTensor.from_value_rowids(values, row, nrows=num_rows, validate=False).to_sparse()


def _categorical(feature: Feature, inputs: dict[str, Any]) -> dict[str, Any]:
    text = fold_in_graph(tf.strings.reduce_join([scalar(inputs[name], b"") for name in feature.fields], axis=0, separator=" "))
    value = tf.strings.regex_replace(text, " ", _JOIN)
    vocabulary = tft.vocabulary(
        tf.boolean_mask(value, value != ""),
        top_k=feature.values or None,
        frequency_threshold=feature.minimum_count if feature.minimum_count > 1 else None,
        vocab_filename=vocabulary_name(feature),
        store_frequency=True,
    )
    return {transformed_name(feature, VALUE_ID): _look_up(value, vocabulary, tf.lookup.TextFileIndex.LINE_NUMBER)}


def _numeric(feature: Feature, inputs: dict[str, Any]) -> dict[str, Any]:
    raw = scalar(inputs[feature.fields[0]], float("nan"))
    present = tf.math.is_finite(raw)
    value = tf.where(present, tf.cast(raw, tf.float64), 0.0)
    if feature.logarithm:
        value = same_log(1.0 + tf.maximum(value, 0.0))
    mean, variance = _moments(value, tf.cast(present, tf.float64))
    scaled = tf.where(present, (value - mean) / tf.sqrt(variance + 1e-6), 0.0) * feature.scale
    return {transformed_name(feature, VALUE): tf.cast(scaled, tf.float32), transformed_name(feature, PRESENT): tf.cast(present, tf.float32)}


def _moments(value: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    count = tf.maximum(tft.sum(weight), 1.0)
    mean = tft.sum(value * weight) / count
    return mean, tf.maximum(tft.sum(value * value * weight) / count - mean * mean, 0.0)


def _dense(feature: Feature, inputs: dict[str, Any]) -> dict[str, Any]:
    raw = inputs[feature.fields[0]]
    if isinstance(raw, tf.SparseTensor):
        shape = tf.stack([raw.dense_shape[0], tf.constant(feature.dimensions, tf.int64)])
        inside = tf.sparse.retain(raw, raw.indices[:, 1] < feature.dimensions)
        raw = tf.sparse.to_dense(tf.SparseTensor(inside.indices, inside.values, shape), default_value=0.0)
    vector = tf.reshape(raw, [-1, feature.dimensions])
    # A running sum adds from left to right; reduce_sum's order depends on how many rows the batch has.
    squares = tf.cast(tf.cumsum(vector * vector, axis=1)[:, -1:], tf.float64)
    length = tf.cast(tf.sqrt(squares), tf.float32)
    return {transformed_name(feature, VECTOR): vector * feature.scale / tf.maximum(length, 1e-12)}


_TRANSFORMS = {TEXT: _text, CATEGORICAL: _categorical, NUMERIC: _numeric, DENSE: _dense}


def config_for_transform(config: FeatureConfig, passthrough: tuple[str, ...]) -> dict[str, Any]:
    """Returns the `custom_config` of the Transform component."""
    return {"features": config.to_json(), "passthrough": list(passthrough)}
