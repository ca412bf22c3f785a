"""Checks every weighting by hand on tiny corpora, in the graph TFT writes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from schemas.features import (
    CATEGORICAL,
    CHARACTERS,
    COUNTS,
    DENSE,
    MULTI_HOT,
    NUMERIC,
    ONE_HOT,
    SEQUENCE,
    TEXT,
    TF_IDF,
    Feature,
    FeatureConfig,
)
from schemas.text import fold
from tests.support.examples import example
from tests.trainer_module.rounds import analysed, schema_of
from trainer_module.layout import layout_of, vocabulary_of
from trainer_module.preprocessing import fold_in_graph, same_log, scalar

pytestmark = pytest.mark.slow

CONFIG = FeatureConfig(
    (
        Feature("hot", TEXT, ("title",), weighting=MULTI_HOT, scale=2.0),
        Feature("counts", TEXT, ("title",), weighting=COUNTS, values=2),
        Feature("tf_idf", TEXT, ("title", "description"), ngrams=(1, 2), weighting=TF_IDF, minimum_count=2),
        Feature("words", TEXT, ("title",), weighting=SEQUENCE, max_tokens=3),
        Feature("letters", TEXT, ("brand",), tokens=CHARACTERS, ngrams=(3, 3), weighting=MULTI_HOT),
        Feature("colour", TEXT, ("colour",), weighting=TF_IDF),
        Feature("brand", CATEGORICAL, ("brand",), values=2),
        Feature("size", CATEGORICAL, ("size",), encoding=ONE_HOT),
        Feature("price", NUMERIC, ("price",)),
        Feature("euros", NUMERIC, ("price",), logarithm=False, scale=0.5),
        Feature("picture", DENSE, ("picture",), dimensions=2, scale=3.0),
    )
)
ROWS = [
    {"id": "0", "title": "Red-red SHOE", "brand": "Acme Co", "price": 3.0, "picture": [3.0, 4.0], "description": "red shoe"},
    {"id": "1", "title": "red boot", "brand": "acme co", "price": 1e6, "picture": [0.0, 0.0]},
    {"id": "2", "title": "boot boot boot bag", "brand": "Bolt", "description": "boot"},
    {"id": "3", "title": "bag", "brand": "Zed", "price": 1e6 + 1},
]
NEVER_SEEN = {"id": "4", "title": "unheard of", "brand": "Nobody", "size": "XL", "colour": "red", "price": float("nan")}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return analysed(tmp_path_factory.mktemp("analysed"), CONFIG, ROWS)


@pytest.fixture(scope="module")
def found(output):
    """The transformed features of every row, eagerly."""
    return transformed(output, [*ROWS, NEVER_SEEN])


def parsed(rows):
    spec = {f.name: tf.io.VarLenFeature(tf.float32 if f.type == 3 else tf.string) for f in schema_of(CONFIG).feature}
    spec = {name: kind for name, kind in spec.items() if name in (*CONFIG.string_fields, *CONFIG.numeric_fields, *CONFIG.dense_fields)}
    return tf.io.parse_example([example(row).SerializeToString() for row in rows], spec)


def transformed(output, rows):
    return output.transform_features_layer()(parsed(rows))


def vocabulary(output, name):
    return vocabulary_of(next(f for f in CONFIG if f.name == name), output)


def tokens(output, found, name):
    """Returns each row's tokens and weights."""
    known, ids, weights = vocabulary(output, name), found[f"{name}_ids"], found.get(f"{name}_weights")
    rows = [{} for _ in range(int(ids.dense_shape[0]))]
    for k, (row, _) in enumerate(ids.indices.numpy()):
        rows[row][known[int(ids.values[k])]] = float(weights.values[k])
    return rows


def unit(weights, scale=1.0):
    length = math.sqrt(sum(weight**2 for weight in weights.values()))
    return pytest.approx({token: scale * weight / length for token, weight in weights.items()}, rel=1e-6)


def test_multi_hot_counts_a_token_once(output, found):
    rows = tokens(output, found, "hot")
    assert rows[0] == unit({"red": 1, "shoe": 1}, 2.0)
    assert rows[2] == unit({"boot": 1, "bag": 1}, 2.0)


def test_counts_count_occurrences_of_the_kept_tokens(output, found):
    # Two are kept. "red", "boot" and "bag" are each in two products: ties fall to the token that sorts last.
    assert vocabulary(output, "counts") == ["red", "boot"]
    rows = tokens(output, found, "counts")
    assert rows[0] == unit({"red": 2})
    assert rows[1] == unit({"red": 1, "boot": 1})
    assert rows[3] == {}


def test_tf_idf_is_the_smoothed_formula_over_products_not_occurrences(output, found):
    documents = {"red": 2, "shoe": 1, "boot": 2, "bag": 2, "red shoe": 1}
    idf = {token: math.log((1 + 4) / (1 + count)) + 1 for token, count in documents.items()}
    rows = tokens(output, found, "tf_idf")
    # minimum_count 2 drops what one product has; the n-gram "boot boot" too.
    assert rows[0] == unit({"red": (1 + math.log(3)) * idf["red"]})
    assert rows[2] == unit({"boot": (1 + math.log(4)) * idf["boot"], "bag": idf["bag"]})


def test_rare_tokens_and_prices_close_to_each_other_are_told_apart(tmp_path):
    config = FeatureConfig((Feature("tf_idf", TEXT, ("title",)), Feature("price", NUMERIC, ("price",), logarithm=False)))
    rows = [{"title": "a b", "price": 1e6}, {"title": "a c", "price": 1e6 + 1}, {"title": "a", "price": 1e6 + 2}, {"title": "a b"}]
    output = analysed(tmp_path, config, rows)
    raw = {"title": tf.sparse.from_dense([["a b c c"], ["b"], ["d"]]), "price": tf.sparse.from_dense([[1e6], [1e6 + 1], [1e6 + 2]])}
    found = output.transform_features_layer()(raw)
    idf = {"a": 1.0, "b": math.log(5 / 3) + 1, "c": (math.log(5 / 2) + 1) * (1 + math.log(2))}
    assert tokens(output, found, "tf_idf") == [unit(idf), unit({"b": 1}), {}]
    np.testing.assert_allclose(found["price_value"], np.array([-1, 0, 1]) / math.sqrt(2 / 3), atol=1e-3)


def test_a_sequence_keeps_the_order_and_the_first_tokens(output, found):
    known, ids = vocabulary(output, "words"), found["words_ids"]
    rows = [[known[int(v)] for v, (r, _) in zip(ids.values, ids.indices, strict=True) if r == row] for row in range(5)]
    assert rows == [["red", "red", "shoe"], ["red", "boot"], ["boot", "boot", "boot"], ["bag"], []]
    assert "words_weights" not in found


def test_character_n_grams_cross_words_and_mark_their_ends(output, found):
    assert set(tokens(output, found, "letters")[2]) == {"_bo", "bol", "olt", "lt_"}
    assert {"e_c", "_co"} <= set(tokens(output, found, "letters")[0])


def test_a_category_is_folded_and_a_rare_or_missing_one_is_minus_one(output, found):
    # acme co twice; bolt and zed once, and the one that sorts last is kept.
    assert vocabulary(output, "brand") == ["acme_co", "zed"]
    assert found["brand_id"].numpy().tolist() == [0, 0, -1, 1, -1]


def test_a_field_no_product_had_says_nothing_ever_after(output, found):
    assert vocabulary(output, "colour") == vocabulary(output, "size") == []
    assert tokens(output, found, "colour") == [{}] * 5
    assert found["size_id"].numpy().tolist() == [-1] * 5
    layout = layout_of(CONFIG, output)
    assert not any(name.startswith(("colour:", "size:")) for name in layout.column_names())


def test_a_number_is_scaled_by_what_was_there_and_a_missing_one_is_zero(found):
    logs = np.log1p([3.0, 1e6, 1e6 + 1])
    expected = (logs - logs.mean()) / np.sqrt(logs.var() + 1e-6)
    np.testing.assert_allclose(found["price_value"], [expected[0], expected[1], 0, expected[2], 0], rtol=1e-5)
    assert found["price_present"].numpy().tolist() == [1, 1, 0, 1, 0]


def test_a_vector_gets_unit_length_and_a_missing_one_is_zero(found):
    np.testing.assert_allclose(found["picture_vector"], [[1.8, 2.4], [0, 0], [0, 0], [0, 0], [0, 0]], rtol=1e-6)


def test_the_same_in_tf_data_as_eagerly(output, found):
    layer = output.transform_features_layer()
    dataset = tf.data.Dataset.from_tensors(parsed([*ROWS, NEVER_SEEN])).map(lambda raw: dict(layer(raw)))
    mapped = next(iter(dataset))
    assert set(mapped) == set(found)
    for name, value in found.items():
        for one, other in zip(
            tf.nest.flatten(value, expand_composites=True), tf.nest.flatten(mapped[name], expand_composites=True), strict=True
        ):
            np.testing.assert_array_equal(one, other, err_msg=name)


def test_vocabularies_are_the_same_for_the_same_products_in_any_order(output, tmp_path):
    config = FeatureConfig(tuple(f for f in CONFIG if f.name in ("counts", "brand")))
    again = analysed(tmp_path, config, ROWS[::-1])
    for feature in config:
        assert vocabulary(again, feature.name) == vocabulary(output, feature.name), feature.name


def test_no_products_at_all_still_give_a_graph(tmp_path):
    config = FeatureConfig((Feature("title", TEXT, ("title",)), Feature("price", NUMERIC, ("price",))))
    output = analysed(tmp_path, config, [])
    raw = {"title": tf.sparse.from_dense([["red shoe"]]), "price": tf.sparse.from_dense([[2.0]])}
    found = output.transform_features_layer()(raw)
    assert found["title_ids"].values.shape == (0,)
    assert np.isfinite(found["price_value"]).all()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_folding_in_the_graph_is_idempotent_and_leaves_words_only(text):
    once = fold_in_graph(tf.constant([text]))
    assert fold_in_graph(once).numpy()[0] == once.numpy()[0]
    assert "  " not in once.numpy()[0].decode()
    if text.isascii():
        assert once.numpy()[0].decode() == fold(text)


def test_folding_in_tf_data_is_folding_eagerly():
    texts = ["Crème  BRÛLÉE (2 pcs)", "", "ÆRØ – Ångström", "新しい_靴"]
    mapped = list(tf.data.Dataset.from_tensor_slices(texts).batch(3).map(fold_in_graph).unbatch().as_numpy_iterator())
    assert mapped == fold_in_graph(tf.constant(texts)).numpy().tolist()
    assert mapped[0].decode() == "crème brûlée 2 pcs"


def test_the_first_of_several_values_counts_and_none_is_the_default():
    several = tf.SparseTensor([[0, 0], [0, 1], [2, 0]], ["a", "b", "c"], [3, 2])
    assert scalar(several, b"-").numpy().tolist() == [b"a", b"-", b"c"]
    assert scalar(tf.constant([["x"], ["y"]]), b"-").numpy().tolist() == [b"x", b"y"]


@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=9))
def test_the_logarithm_is_right_and_does_not_depend_on_the_batch(values):
    together = same_log(tf.constant(values, tf.float64)).numpy()
    np.testing.assert_allclose(together, np.log(values), rtol=1e-9, atol=1e-12)
    assert [same_log(tf.constant([value], tf.float64)).numpy()[0] for value in values] == together.tolist()
