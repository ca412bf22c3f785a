"""Reads records as Transform writes them."""

import gzip

import numpy as np
import pytest
import tensorflow as tf

from schemas.errors import CatalogueError
from schemas.features import MULTI_HOT, NUMERIC, TEXT, Feature, FeatureConfig
from schemas.product import PARTIAL_FEATURES
from tests.support.examples import example
from tests.trainer_module.toy_data import TREE, separable
from trainer_module.layout import Layout
from trainer_module.training_data import read_training_data

LAYOUT = Layout(
    FeatureConfig((Feature("title", TEXT, ("title",), weighting=MULTI_HOT), Feature("price", NUMERIC, ("price",)))),
    {"title": ["a", "b", "c"]},
)
SPEC = {
    "title_ids": tf.io.VarLenFeature(tf.int64),
    "title_weights": tf.io.VarLenFeature(tf.float32),
    "price_value": tf.io.FixedLenFeature([], tf.float32),
    "price_present": tf.io.FixedLenFeature([], tf.float32),
    "group": tf.io.FixedLenFeature([], tf.string),
    "answer_node": tf.io.VarLenFeature(tf.string),
    "rule_nodes": tf.io.VarLenFeature(tf.string),
}
ROWS = [
    {"title_ids": [0, 2], "title_weights": [0.6, 0.8], "group": "g", "answer_node": "boots", "rule_nodes": ["shoes", "boots"]},
    {"group": "h", "rule_nodes": ["gone", "bags"]},
    {"title_ids": [1], "title_weights": [1.0], "group": "g", "answer_node": "women"},  # not exclusive
    {"title_ids": [1], "title_weights": [1.0], "group": "i", "answer_node": "gone"},
]


def write(path, rows):
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for row in rows:
            writer.write(example({**row, "price_value": 1.5, "price_present": 1.0}).SerializeToString())
    return str(path)


def read(files, spec=None):
    return read_training_data(files, spec or SPEC, LAYOUT, TREE)


def test_products_come_in_the_order_of_the_files(tmp_path):
    files = [write(tmp_path / "a.gz", ROWS[:1]), write(tmp_path / "b.gz", ROWS[1:])]
    data = read(files)
    np.testing.assert_allclose(data.bag.toarray(), [[0.6, 0, 0.8], [0, 0, 0], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(data.numbers, [[1.5, 1.0]] * 4)
    assert data.categories.shape == (4, 0)


def test_a_file_cut_short_is_refused_by_name(tmp_path):
    files = [write(tmp_path / "a.gz", ROWS), write(tmp_path / "b.gz", [{"group": f"g{row}"} for row in range(500)])]
    whole = (tmp_path / "b.gz").read_bytes()
    assert len(read(files).answers) == 504
    for cut in (1, 8, *range(20, len(whole), len(whole) // 40), len(whole)):
        (tmp_path / "b.gz").write_bytes(whole[:-cut])
        with pytest.raises(CatalogueError, match=r"b.gz: the examples can't be read: .*run the stage before again."):
            read(files)


def test_answers_are_classes_and_a_node_that_is_no_class_is_no_answer(tmp_path):
    data = read([write(tmp_path / "a.gz", ROWS)])
    assert data.answers.tolist() == [TREE.exclusive_ids.index("boots"), -1, -1, -1]
    assert data.answered.tolist() == [0]


def test_rules_are_nodes_and_unknown_ones_are_left_out(tmp_path):
    data = read([write(tmp_path / "a.gz", ROWS)])
    assert [[TREE.node_ids[i] for i in np.flatnonzero(row)] for row in data.rule_targets(np.arange(3))] == [
        ["shoes", "boots"],
        ["bags"],
        [],
    ]
    assert data.covered.tolist() == [0, 1]


def test_what_was_said_in_part_is_the_classes_that_are_left(tmp_path):
    every, spec = TREE.exclusive_ids, {**SPEC, **{name: tf.io.VarLenFeature(tf.string) for name in PARTIAL_FEATURES}}
    rows = [
        {"group": "a", "answer_under": "shoes"},
        {"group": "b", "answer_node": "boots", "answer_under": "shoes"},  # The node says it all.
        {"group": "c", "answer_not": ["shoes", "gone"]},
        {"group": "d"},
        {"group": "e", "group_node": "boots", "answer_question": "q"},
        {"group": "f", "answer_under": "shoes", "answer_not": ["boots"], "answer_question": "q"},
        {"group": "g", "group_node": "gone", "answer_question": "q"},
    ]
    data = read([write(tmp_path / "a.gz", rows[:3]), write(tmp_path / "b.gz", rows[3:])], spec)
    shoes = [node for node, inside in zip(every, TREE.ancestry[TREE.node_ids.index("shoes")], strict=True) if inside]
    left = [{every[k] for k in np.flatnonzero(row)} for row in data.partial.allowed]
    assert data.partial.rows.tolist() == [0, 2, 4, 5]
    assert left == [set(shoes), set(every) - set(shoes), {"boots"}, set(shoes) - {"boots", "rubber-boots"}]
    assert data.partial.questions[:2].tolist() == [0, 0]
    assert data.partial.questions[2] == data.partial.questions[3] > 0
    assert data.taught.tolist() == [0, 1, 2, 4, 5]
    part = data.part(np.array([5, 3, 0]))
    assert part.partial.rows.tolist() == [0, 2]
    np.testing.assert_array_equal(part.partial.allowed, data.partial.allowed[[3, 0]])


def test_without_partial_answers_there_are_none(tmp_path):
    assert read([write(tmp_path / "a.gz", ROWS)]).partial is None


def test_equal_groups_are_equal_numbers(tmp_path):
    groups = read([write(tmp_path / "a.gz", ROWS)]).groups
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3


def test_labels_that_no_product_has_leave_nothing_to_learn(tmp_path):
    spec = {name: kind for name, kind in SPEC.items() if name not in ("answer_node", "rule_nodes")}
    data = read([write(tmp_path / "a.gz", ROWS)], spec)
    assert not len(data.answered)
    assert not len(data.covered)


@pytest.mark.parametrize("empty_file", [True, False])
def test_no_products_give_empty_arrays_of_the_right_width(tmp_path, empty_file):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b""))
    data = read([str(tmp_path / "a.gz")] if empty_file else [])
    assert data.bag.shape == (0, 3)
    assert data.rules.shape == (0, len(TREE.node_ids))
    assert data.numbers.shape == (0, 2)
    assert data.inputs(np.zeros(0, np.int64)).bag.dense_shape.numpy().tolist() == [0, 3]


def test_more_products_than_a_block_are_all_there(tmp_path):
    data = read([write(tmp_path / "a.gz", ROWS * 1100)])
    assert data.bag.shape[0] == 4400
    assert (data.answers[::4] == data.answers[0]).all()


def test_a_batch_and_a_part_follow_the_rows_asked_for():
    data, rows = separable(30), np.array([7, 3, 3, 21])
    inputs, part = data.inputs(rows), data.part(rows)
    np.testing.assert_array_equal(tf.sparse.to_dense(inputs.bag), data.bag[rows].toarray())
    np.testing.assert_array_equal(inputs.numbers, data.numbers[rows])
    np.testing.assert_array_equal(part.answers, data.answers[rows])
    np.testing.assert_array_equal(part.bag.toarray(), data.bag[rows].toarray())
    np.testing.assert_array_equal(part.rule_targets(np.arange(4)), data.rule_targets(rows))
