"""Checks the rule prior, bag sums and embeddings by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer_module.toy_data import TREE
from trainer_module.zoo.layers import Bag, RulePrior, embedded, mixed_with_prior


def logits_of(**probabilities: float) -> tf.Tensor:
    values = np.full(len(TREE.node_ids), 0.01)
    for node, probability in probabilities.items():
        values[TREE.node_ids.index(node.replace("_", "-"))] = probability
    return tf.constant([np.log(values / (1 - values))], tf.float32)


def best(**probabilities: float) -> str:
    return TREE.exclusive_ids[int(tf.argmax(RulePrior(TREE)(logits_of(**probabilities))[0]))]


def test_a_specific_child_beats_its_parent():
    assert best(shoes=0.99, boots=0.95, rubber_boots=0.9) == "rubber-boots"


def test_a_node_none_of_whose_children_is_said_wins_itself():
    assert best(shoes=0.99, boots=0.95) == "boots"
    assert best(shoes=0.99) == "shoes"


def test_a_node_whose_parent_is_said_too_beats_one_that_stands_alone():
    assert best(shoes=0.9, sneakers=0.6, skirts=0.6) == "sneakers"


def test_no_gradient_flows_from_the_prior_into_the_rules():
    logits = tf.Variable(logits_of(shoes=0.9))
    prior = RulePrior(TREE)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(prior(logits) ** 2)
    by_rules, by_trust = tape.gradient(loss, [logits, prior.trust])
    assert by_rules is None
    assert np.all(by_trust)


def test_extreme_logits_stay_finite():
    for value in (-1e4, 1e4):
        assert np.isfinite(RulePrior(TREE)(tf.fill([2, len(TREE.node_ids)], value))).all()


def test_a_bag_sum_is_the_matrix_product():
    rng = np.random.default_rng(0)
    dense = (rng.random((5, 9)) * (rng.random((5, 9)) < 0.4)).astype(np.float32)
    dense[2] = 0
    table = tf.Variable(rng.normal(size=(9, 4)).astype(np.float32))
    np.testing.assert_allclose(Bag(tf.sparse.from_dense(dense)).sum(table), dense @ table.numpy(), rtol=1e-5, atol=1e-6)


def test_the_roots_of_a_bag_are_those_of_its_weights():
    dense = np.array([[0, 4, 0], [9, 0, 0.25]], np.float32)
    bag, table = Bag(tf.sparse.from_dense(dense)), tf.Variable(np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(bag.roots().sum(table), [[0, 2, 0], [3, 0, 0.5]])
    np.testing.assert_allclose(bag.sum(table), dense)


def test_a_missing_value_has_an_embedding_of_zeros():
    table = tf.Variable(np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(embedded(table, tf.constant([-1, 0, 2], tf.int64)), [[0, 0], [1, 1], [1, 1]])


@pytest.mark.parametrize("training", [True, False])
def test_only_training_ever_leaves_the_prior_alone(training):
    tf.random.set_seed(0)
    mixed = mixed_with_prior(tf.ones([400, 1]), tf.ones([400, 1]), 0.5, training).numpy()
    alone = (mixed == 1).mean()
    assert 0.3 < alone < 0.7 if training else alone == 0
