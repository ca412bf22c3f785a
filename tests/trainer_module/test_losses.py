"""Checks the losses by hand and against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from few_shot.partial_answers import marginal_in_place
from trainer_module.losses import (
    ExclusiveTargets,
    consistency_loss,
    entropy_loss,
    exclusive_loss,
    non_negative_rule_loss,
    weighted_rule_loss,
)


def draw(seed: int, n: int = 7, nodes: int = 5):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, nodes)).astype(np.float32)
    targets = (rng.random((n, nodes)) < 0.3).astype(np.float32)
    weights = (rng.random(n) < 0.7).astype(np.float32)
    priors = rng.uniform(0, 0.9, nodes).astype(np.float32)
    return logits, targets, weights, priors


def named(*classes: int) -> ExclusiveTargets:
    """Returns answers that name a class, -1 for none."""
    return ExclusiveTargets(tf.constant(classes, tf.int64), tf.zeros([len(classes), 0], tf.bool), tf.ones(len(classes)))


def test_a_batch_nobody_answered_has_zero_loss_not_nan():
    logits = tf.Variable(np.ones((3, 4), np.float32))
    with tf.GradientTape() as tape:
        loss = exclusive_loss(logits, named(-1, -1, -1), tf.zeros(3))
    assert float(loss) == 0
    assert not np.any(tape.gradient(loss, logits))


def test_a_batch_without_rule_products_has_zero_loss_not_nan():
    logits, targets, _, priors = draw(0)
    assert float(weighted_rule_loss(logits, targets, tf.zeros(7), 1.0)) == 0
    assert float(non_negative_rule_loss(logits, targets, tf.zeros(7), priors)) == 0


def test_products_outside_the_mask_change_nothing():
    logits, targets, weights, priors = draw(1)
    other = np.where(weights[:, None] > 0, logits, 99.0).astype(np.float32)
    for loss in (
        lambda x: exclusive_loss(x, named(0, 1, 2, 3, 4, 0, 1), weights),
        lambda x: weighted_rule_loss(x, targets, weights, 0.5),
        lambda x: non_negative_rule_loss(x, targets, weights, priors),
    ):
        assert float(loss(logits)) == pytest.approx(float(loss(other)), rel=1e-6)


def test_the_exclusive_loss_is_the_mean_cross_entropy_of_the_answers():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], np.float32)
    loss = exclusive_loss(tf.math.log(probabilities), named(0, 1, -1), tf.constant([1.0, 1.0, 0.0]))
    assert float(loss) == pytest.approx(-(np.log(0.7) + np.log(0.8)) / 2, rel=1e-6)


def test_an_answer_that_leaves_several_classes_asks_for_the_sum_of_their_probabilities():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], np.float32)
    allowed = tf.constant([[False] * 3, [True, True, False], [False, True, True]])
    targets = ExclusiveTargets(tf.constant([0, -1, -1], tf.int64), allowed, tf.ones(3))
    loss = exclusive_loss(tf.math.log(probabilities), targets, tf.ones(3))
    assert float(loss) == pytest.approx(-(np.log(0.7) + np.log(0.9) + np.log(0.7)) / 3, rel=1e-6)


@given(st.integers(0, 10_000))
def test_the_marginal_loss_is_the_learners_in_tensorflow_and_in_numpy(seed):
    logits, drawn, _, _ = draw(seed)
    allowed = drawn > 0
    allowed[:, seed % 5] = True  # One class at least.
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = exclusive_loss(variable, ExclusiveTargets(tf.fill([7], np.int64(-1)), tf.constant(allowed), tf.ones(7)), tf.ones(7))
    scores = logits.copy()
    assert float(loss) == pytest.approx(float(marginal_in_place(scores, allowed).mean()), abs=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, variable).numpy() * 7, scores, atol=1e-5)


def test_an_unlabelled_weight_of_zero_gives_unlabelled_nodes_no_gradient():
    values, targets, weights, _ = draw(2)
    logits = tf.Variable(values)
    with tf.GradientTape() as tape:
        loss = weighted_rule_loss(logits, targets, weights, 0.0)
    gradient = tape.gradient(loss, logits).numpy()
    assert not gradient[targets == 0].any()
    assert gradient[(targets == 1) & (weights[:, None] > 0)].all()


@given(st.integers(0, 10_000))
def test_the_non_negative_risk_is_the_papers_formula_and_never_negative(seed):
    logits, targets, weights, priors = draw(seed)
    found = float(non_negative_rule_loss(logits, targets, weights, priors))
    assert found >= 0
    assert found == pytest.approx(_kiryo(logits[weights > 0].astype(float), targets[weights > 0], priors), rel=1e-4, abs=1e-5)


def _kiryo(logits, targets, priors):
    """Kiryo et al. 2017, equation 6, a node at a time."""
    total = 0.0
    for node, prior in enumerate(priors):
        scores, positive = logits[:, node], targets[:, node] > 0
        if not len(scores):
            continue
        as_one = np.log1p(np.exp(-scores[positive])).mean() if positive.any() else 0.0
        as_zero = np.log1p(np.exp(scores[positive])).mean() if positive.any() else 0.0
        total += prior * as_one + max(0.0, np.log1p(np.exp(scores)).mean() - prior * as_zero)
    return total


def test_the_entropy_is_that_of_the_products_that_count():
    probabilities = np.array([[0.5, 0.5, 1e-9], [0.9, 0.05, 0.05]], np.float32)
    logits = tf.math.log(probabilities)
    assert float(entropy_loss(logits, tf.constant([1.0, 0.0]))) == pytest.approx(np.log(2), abs=1e-5)
    assert float(entropy_loss(logits, tf.zeros(2))) == 0
    assert float(entropy_loss(logits, tf.ones(2))) < np.log(2)


def test_the_entropy_of_a_sure_head_is_zero_not_nan():
    logits = tf.Variable([[400.0, -400.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = entropy_loss(logits, tf.ones(1))
    assert float(loss) == 0
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_the_student_moves_towards_the_teacher_and_the_teacher_stays():
    student, teacher = tf.Variable([[0.0, 0.0], [3.0, 0.0]]), tf.Variable([[2.0, 0.0], [0.0, 3.0]])
    with tf.GradientTape(persistent=True) as tape:
        loss = consistency_loss(student, teacher, tf.constant([1.0, 0.0]))
    assert float(loss) == pytest.approx(2 * (1 / (1 + np.exp(-2)) - 0.5) ** 2, rel=1e-5)
    gradient = tape.gradient(loss, student).numpy()
    assert gradient[0, 0] < 0 < gradient[0, 1]
    assert not gradient[1].any()
    assert tape.gradient(loss, teacher) is None
