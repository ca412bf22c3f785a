"""What unanswered products teach a network of gradients: nothing unless asked, and then the same for the same seed."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from tests.trainer_module.toy_data import NUM_CLASSES, NUM_NODES, TREE, layout, separable
from trainer_module.fitting import fit, validation_scores
from trainer_module.hyperparameters import Phase, hyperparameters
from trainer_module.schedule import Batch, joined_by
from trainer_module.semi_supervised import SemiSupervisedSteps
from trainer_module.zoo.registry import family

ANSWERS_ALONE = [Phase(20, 0.0, 1.0)]
PARTLY_ANSWERED = separable(120, answered=0.4)
BOTH = [Phase(1, 1.0, 0.0), Phase(3, 0.25, 0.75)]
ASKED = {"entropy_weight": 0.3, "mean_teacher_weight": 3.0}


def fitted(data, phases=BOTH, seed=0, name="feed_forward", **given):
    hyper = hyperparameters({"embedding_size": 8, "batch_size": 32, "learning_rate": 0.02, "prior_dropout": 0.0, **given})
    return fit(lambda: family(name)(layout(), TREE, hyper, np.random.default_rng(seed)), data, hyper, phases, seed, NUM_NODES)[0]


def weights_of(network):
    return {name: variable.numpy() for name, variable in network.weights.items()}


def same(first, second):
    mine, theirs = weights_of(first), weights_of(second)
    return all((mine[name] == theirs[name]).all() for name in mine)


def clusters(count=400, seed=0):
    """Products with a word of their class, its synonym, or both; the one answer a class is about a product without the synonym.

    Returns:
        the data, the same with every answer, and the products that have the synonym alone.
    """
    rng = np.random.default_rng(seed)
    data = separable(count, seed, ruled=0.0)
    classes, width = data.answers, layout().num_columns
    dense = np.zeros((count, width), np.float32)
    synonym = rng.random(count) < 0.5
    dense[np.arange(count), classes] = 1.0
    dense[np.arange(count), classes + NUM_CLASSES] = synonym
    only_synonym = synonym & (rng.random(count) < 0.6)
    dense[only_synonym, classes[only_synonym]] = 0.0
    plain = np.flatnonzero(~synonym)
    answered = np.concatenate([plain[classes[plain] == k][:1] for k in range(NUM_CLASSES)])
    answers = np.full(count, -1)
    answers[answered] = classes[answered]
    zeros = np.zeros_like(data.numbers)
    known = replace(data, bag=sp.csr_matrix(dense), answers=answers, numbers=zeros, categories=np.full_like(data.categories, -1))
    return known, replace(known, answers=classes), np.flatnonzero(only_synonym)


@functools.cache
def plain(name="feed_forward"):
    """A fit that was told nothing about unanswered products."""
    return fitted(PARTLY_ANSWERED, name=name)


@pytest.mark.parametrize("name", ["linear", "feed_forward"])
def test_weights_of_zero_are_the_plain_computation_bit_by_bit(name):
    zeros = {"entropy_weight": 0, "mean_teacher_weight": 0, "mean_teacher_decay": 0.5, "unanswered_share": 3.0}
    assert same(plain(name), fitted(PARTLY_ANSWERED, name=name, **zeros))


def test_the_same_seed_gives_the_same_weights_and_unanswered_products_change_them():
    first, second = (fitted(PARTLY_ANSWERED, **ASKED) for _ in range(2))
    assert same(first, second)
    assert not same(first, plain())


def test_entropy_minimisation_makes_the_head_surer_of_unanswered_products():
    data = separable(200, answered=0.2, ruled=0.0)
    before, sharpened = (_entropy(fitted(data, ANSWERS_ALONE, **given), data) for given in ({}, {"entropy_weight": 0.3}))
    assert sharpened < 0.7 * before


def _entropy(network, data):
    logarithms = tf.nn.log_softmax(network(data.inputs(np.flatnonzero(data.answers < 0))).exclusive).numpy()
    return float(-(np.exp(logarithms) * logarithms).sum(1).mean())


def test_entropy_minimisation_learns_a_word_that_no_answered_product_has():
    data, truth, only_synonym = clusters()
    before, taught = (
        validation_scores(
            fitted(data, [Phase(40, 0.0, 1.0)], name="linear", tree_sharing=0.0, learning_rate=0.1, **given), truth, only_synonym
        )["accuracy"]
        for given in ({}, {"entropy_weight": 0.1})
    )
    assert taught > before + 0.2


def test_a_mean_teacher_makes_a_product_with_fewer_words_look_like_the_whole_one():
    data = separable(200, answered=0.2, ruled=0.0)
    fewer = data.bag.copy()
    fewer.data *= np.random.default_rng(1).random(fewer.nnz) < 0.7
    thinned = replace(data, bag=fewer)
    before, taught = (_distance(fitted(data, ANSWERS_ALONE, **given), data, thinned) for given in ({}, {"mean_teacher_weight": 10.0}))
    assert taught < 0.8 * before


def _distance(network, data, thinned):
    rows = np.flatnonzero(data.answers < 0)
    whole, part = (tf.nn.softmax(network(each.inputs(rows)).exclusive).numpy() for each in (data, thinned))
    return float(((whole - part) ** 2).sum(1).mean())


def test_a_catalogue_where_everything_is_answered_is_still_learnt():
    network = fitted(separable(200), ANSWERS_ALONE, **ASKED)
    assert validation_scores(network, separable(100, seed=1), np.arange(100))["accuracy"] > 0.9


def test_a_teacher_follows_the_mean_of_the_students_weights_and_is_what_is_fitted():
    data = separable(60, answered=0.5)
    hyper = hyperparameters({"embedding_size": 8, "batch_size": 16, "mean_teacher_weight": 1.0, "mean_teacher_decay": 0.75})
    student, teacher = (family("feed_forward")(layout(), TREE, hyper, np.random.default_rng(0)) for _ in range(2))
    steps = SemiSupervisedSteps(student, teacher, data, hyper, NUM_NODES, 0)
    ones = np.ones(8, np.float32)
    expected = weights_of(student)
    for number in range(1, 7):
        steps.run(Batch(data.answered[:8], ones, 0 * ones), 0.05, 1.0, number / 6)
        decay = min(0.75, 1 - 1 / number)
        expected = {name: decay * expected[name] + (1 - decay) * value for name, value in weights_of(student).items()}
    assert steps.fitted is teacher
    for name, value in weights_of(teacher).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)
    assert not same(student, teacher)


def test_rows_that_join_a_batch_train_neither_head():
    ones = np.ones(2, np.float32)
    joined = joined_by(Batch(np.array([4, 5]), ones, 0 * ones), np.array([7, 8, 9]))
    assert joined.rows.tolist() == [4, 5, 7, 8, 9]
    assert joined.exclusive.tolist() == [1, 1, 0, 0, 0]
    assert not joined.rule_based.any()


@pytest.mark.parametrize("asked", [{"propagation": 1.0}, {"entropy_weight": 0.3}])
def test_the_family_without_gradients_learns_from_unanswered_products_in_its_own_way(asked):
    rows = np.arange(120)
    plain_logits, taught = (
        fitted(PARTLY_ANSWERED, name="few_shot", **given)(PARTLY_ANSWERED.inputs(rows)).exclusive.numpy() for given in ({}, asked)
    )
    assert (plain_logits != taught).any()
    assert (taught.argmax(1) == plain_logits.argmax(1)).mean() > 0.8
