"""Proves that training, pool scoring and serving see the same bits of the same product."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.examples import example
from tests.trainer_module.catalogue import EVERY_FEATURE, VECTOR_SIZE, products, taxonomy
from tests.trainer_module.rounds import files_of, transform
from trainer_module.layout import layout_of
from trainer_module.preprocessing import transformed_name
from trainer_module.signatures import ServedModel
from trainer_module.training_data import read_training_data
from trainer_module.tree import tree_of

pytestmark = pytest.mark.slow

PARTS = ("ids", "weights", "id", "value", "present", "vector")
ODD = [
    "",
    " ",
    "\t\n",
    "\u00a0\u2003",
    "—",
    "nice",
    "NICE",
    "Crème",
    "cre\u0300me",
    "İ",
    "ﬁ",
    "ß",
    "新しい",
    "👟",
    "\x00",
    "a\u0000b",
    "_",
    "2-pack",
    "soft soft",
]
STRINGS = EVERY_FEATURE.string_fields


@pytest.fixture(scope="module")
def served(trained):
    return tf.saved_model.load(str(trained.model)).signatures


@pytest.fixture(scope="module")
def in_process(trained):
    """A `ServedModel` around no network: its features are what `predict_products` feeds the network with."""
    output = tft.TFTransformOutput(str(trained.transform_graph))
    return ServedModel(None, output, layout_of(EVERY_FEATURE, output), tree_of(taxonomy()), 4, None)


def bits(transformed: Mapping[str, Any]) -> list[dict[str, tuple[str, bytes]]]:
    """Returns each product's features as bytes, from tensors as `preprocessing_fn` or `transform_features` gives them."""
    names = [transformed_name(f, part) for f in EVERY_FEATURE for part in PARTS if transformed_name(f, part) in transformed]
    rows = len(np.asarray(transformed[transformed_name(EVERY_FEATURE.features[-1], "vector")]))
    found: list[dict[str, tuple[str, bytes]]] = [{} for _ in range(rows)]
    for name in names:
        for row, value in enumerate(_rows(name, transformed, rows)):
            found[row][name] = (value.dtype.name, value.tobytes())
    return found


def _rows(name: str, transformed: Mapping[str, Any], rows: int) -> list[np.ndarray]:
    values = transformed[name]
    if isinstance(values, tf.SparseTensor):
        return [values.values.numpy()[values.indices.numpy()[:, 0] == row] for row in range(rows)]
    values = np.asarray(values)
    if not name.endswith(("_ids", "_weights")):
        return list(values)
    ids = np.asarray(transformed[name.rsplit("_", 1)[0] + "_ids"])  # padded with -1
    return [values[row][ids[row] >= 0] for row in range(rows)]


def serialized(rows: Sequence[Mapping[str, Any]]) -> tf.Tensor:
    return tf.constant([example(row).SerializeToString() for row in rows])


def named(rows: Sequence[Mapping[str, Any]]) -> dict[str, tf.Tensor]:
    """Returns the inputs of `predict_products`: empty texts and NaN where a field is missing."""
    inputs = {field: tf.constant([row.get(field, "") for row in rows]) for field in STRINGS}
    inputs["price"] = tf.constant([row.get("price", math.nan) for row in rows], tf.float32)
    inputs["image_vector"] = tf.constant([row.get("image_vector") or [0.0] * VECTOR_SIZE for row in rows], tf.float32)
    return inputs


def scored(served, rows: Sequence[Mapping[str, Any]], batch_size: int) -> list[dict[str, tuple[str, bytes]]]:
    found = []
    for start in range(0, len(rows), batch_size):
        found += bits(served["transform_features"](examples=serialized(rows[start : start + batch_size])))
    return found


def test_the_features_tfx_wrote_for_training_are_those_served_in_any_batch(trained, served, in_process):
    rows = products(60)
    spec = tft.TFTransformOutput(str(trained.transform_graph)).transformed_feature_spec()
    files = files_of(trained.transformed / "Split-dev")
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    written = tf.io.parse_example(records, spec)
    by_id = dict(zip(written["id"].numpy(), bits(written), strict=True))
    expected = [by_id[row["id"].encode()] for row in rows]
    for batch_size in (1, 2, 7, 31, 60):
        assert scored(served, rows, batch_size) == expected, batch_size
    assert bits(in_process._named(named(rows)).transformed) == expected


def test_the_bag_training_reads_is_the_one_served(trained, in_process):
    rows = products(60)
    output = tft.TFTransformOutput(str(trained.transform_graph))
    files = files_of(trained.transformed / "Split-dev")
    data = read_training_data(files, output.transformed_feature_spec(), layout_of(EVERY_FEATURE, output), tree_of(taxonomy()))
    records = [tf.train.Example.FromString(record) for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()]
    ids = [record.features.feature["id"].bytes_list.value[0] for record in records]
    places = [ids.index(row["id"].encode()) for row in rows]
    inputs = in_process._layout.inputs(in_process._parsed(serialized(rows)).transformed)
    bag = np.zeros(inputs.bag.dense_shape.numpy(), np.float32)
    np.add.at(bag, tuple(inputs.bag.indices.numpy().T), inputs.bag.values.numpy())  # A sequence may repeat a token.
    np.testing.assert_array_equal(bag, data.bag[places].toarray())
    np.testing.assert_array_equal(inputs.categories, data.categories[places])
    np.testing.assert_array_equal(inputs.numbers, data.numbers[places])


def odd_texts() -> st.SearchStrategy[str]:
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    sentence = st.lists(st.one_of(st.sampled_from(ODD), anything), max_size=8).map(" ".join)
    very_long = st.tuples(st.sampled_from(ODD[5:]), st.integers(300, 2000)).map(lambda pair: " ".join([pair[0]] * pair[1]))
    return st.one_of(sentence, sentence, sentence, very_long)


def odd_vectors() -> st.SearchStrategy[list[float]]:
    few = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=4)
    return few.map(lambda values: (values * VECTOR_SIZE)[:VECTOR_SIZE])


PRICES = st.one_of(st.floats(0, 1e6, width=32), st.floats(width=32), st.sampled_from([0.0, -0.0, -5.0, 1e-30, 3e38]))
OPTIONAL = {**{field: odd_texts() for field in STRINGS if field != "title"}, "price": PRICES, "image_vector": odd_vectors()}
ODD_PRODUCTS = st.lists(st.fixed_dictionaries({"title": odd_texts()}, optional=OPTIONAL), min_size=1, max_size=24)


def _raw(rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Returns examples in which an empty text is there and empty, which the contract forbids and serving must bear."""
    found = []
    for row in rows:
        built = example({name: value for name, value in row.items() if name != "image_vector"})
        for name in [name for name, value in row.items() if value == ""]:
            built.features.feature[name].bytes_list.value.append(b"")
        if "image_vector" in row:
            built.features.feature["image_vector"].float_list.value.extend(row["image_vector"])
        found.append(built.SerializeToString())
    return found


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
@given(ODD_PRODUCTS)
def test_any_products_features_are_the_same_bits_in_training_pool_scoring_and_serving(trained, served, in_process, tmp_path_factory, rows):
    output = tft.TFTransformOutput(str(trained.transform_graph))
    numbered = [{**row, "id": str(k)} for k, row in enumerate(rows)]
    written = transform(trained.transform_graph, EVERY_FEATURE, _raw(numbered), tmp_path_factory.mktemp("transformed"))
    parsed = tf.io.parse_example(written, output.transformed_feature_spec())
    by_number = dict(zip(parsed["id"].numpy(), bits(parsed), strict=True))
    trained_on = [by_number[str(k).encode()] for k in range(len(rows))]
    assert bits(served["transform_features"](examples=tf.constant(_raw(rows)))) == trained_on
    assert bits(in_process._named(named(rows)).transformed) == trained_on


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(ODD_PRODUCTS)
def test_a_products_features_do_not_depend_on_its_neighbours_nor_on_how_it_is_asked_for(served, in_process, rows):
    together = scored(served, rows, len(rows))
    assert scored(served, rows, 1) == together
    assert bits(in_process._named(named(rows)).transformed) == together
    assert bits(served["transform_features"](examples=tf.constant(_raw(rows)))) == together


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(ODD_PRODUCTS)
def test_both_heads_say_the_same_of_examples_and_of_named_inputs(served, rows):
    by_example = served["serving_default"](examples=serialized(rows))
    by_name = served["predict_products"](**named(rows))
    assert by_example.keys() == by_name.keys()
    for name, value in by_example.items():
        np.testing.assert_array_equal(value, by_name[name], err_msg=name)
