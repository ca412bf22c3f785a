"""Checks where each transformed feature lands, eagerly, in a graph and in tf.data."""

import numpy as np
import pytest
import tensorflow as tf

from schemas.features import CATEGORICAL, COUNTS, DENSE, NUMERIC, ONE_HOT, SEQUENCE, TEXT, Feature, FeatureConfig
from trainer_module.layout import Layout

CONFIG = FeatureConfig(
    (
        Feature("title", TEXT, ("title",), weighting=COUNTS),
        Feature("words", TEXT, ("title",), weighting=SEQUENCE, scale=2.0),
        Feature("gender", CATEGORICAL, ("gender",), encoding=ONE_HOT, scale=0.5),
        Feature("brand", CATEGORICAL, ("brand",), dimensions=3),
        Feature("price", NUMERIC, ("price",)),
        Feature("picture", DENSE, ("picture",), dimensions=2),
    )
)
LAYOUT = Layout(CONFIG, {"title": ["a", "b", "c"], "words": ["a", "b"], "gender": ["men", "women"], "brand": ["x", "y"]})
TRANSFORMED = {
    "title_ids": tf.sparse.from_dense(tf.constant([[3, 0], [0, 0], [1, 2]], tf.int64)),  # numbers from 1, so that 0 is nothing
    "title_weights": tf.sparse.from_dense([[0.5, 0.0], [0.0, 0.0], [0.6, 0.8]]),
    "words_ids": tf.SparseTensor([[0, 0], [0, 1], [0, 2], [2, 0]], tf.constant([1, 0, 1, 0], tf.int64), [3, 3]),
    "gender_id": tf.constant([1, -1, 0], tf.int64),
    "brand_id": tf.constant([-1, 1, 0], tf.int64),
    "price_value": tf.constant([0.0, 1.5, -1.0]),
    "price_present": tf.constant([0.0, 1.0, 1.0]),
    "picture_vector": tf.constant([[0.0, 0.0], [1.0, 0.0], [0.6, 0.8]]),
}
TRANSFORMED["title_ids"] = TRANSFORMED["title_ids"].with_values(TRANSFORMED["title_ids"].values - 1)


def test_columns_are_named_by_feature_and_token():
    assert LAYOUT.column_names() == ["title:a", "title:b", "title:c", "words:a", "words:b", "gender:men", "gender:women"]
    assert LAYOUT.num_columns == 7
    assert LAYOUT.num_numbers == 4
    assert [f.name for f in LAYOUT.embedded] == ["brand"]


@pytest.mark.parametrize("how", ["eagerly", "in a graph", "in tf.data"])
def test_every_feature_lands_in_its_own_place(how):
    if how == "eagerly":
        inputs = LAYOUT.inputs(TRANSFORMED)
    elif how == "in a graph":
        inputs = tf.function(LAYOUT.inputs)(TRANSFORMED)
    else:
        inputs = next(iter(tf.data.Dataset.from_tensors(TRANSFORMED).map(LAYOUT.inputs)))
    bag = tf.sparse.to_dense(tf.sparse.reorder(tf.SparseTensor(*_summed(inputs.bag)))).numpy()
    third = 2 / np.sqrt(3)
    expected = [[0, 0, 0.5, third, 2 * third, 0, 0.5], [0] * 7, [0.6, 0.8, 0, 2, 0, 0.5, 0]]
    np.testing.assert_allclose(bag, expected, rtol=1e-6)
    assert inputs.categories.numpy().tolist() == [[-1], [1], [0]]
    np.testing.assert_allclose(inputs.numbers, [[0, 0, 0, 0], [1.5, 1, 1, 0], [-1, 1, 0.6, 0.8]], rtol=1e-6)


def _summed(bag):
    dense = np.zeros(bag.dense_shape.numpy(), np.float32)
    np.add.at(dense, tuple(bag.indices.numpy().T), bag.values.numpy())
    sparse = tf.sparse.from_dense(dense)
    return sparse.indices, sparse.values, sparse.dense_shape


def test_rows_of_the_bag_ascend():
    rows = LAYOUT.inputs(TRANSFORMED).bag.indices.numpy()[:, 0]
    assert (np.diff(rows) >= 0).all()


def test_no_bag_features_give_an_empty_bag_of_one_column():
    layout = Layout(FeatureConfig((Feature("price", NUMERIC, ("price",)),)), {})
    inputs = layout.inputs(TRANSFORMED)
    assert inputs.bag.dense_shape.numpy().tolist() == [3, 1]
    assert inputs.categories.shape == (3, 0)
    assert layout.column_names() == [""]
