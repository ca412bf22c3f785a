"""Answers that leave several classes open teach what they say, and never more."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from few_shot.learner import FewShotParameters, learn
from few_shot.partial_answers import informative, marginal_in_place, no_partial_answers, partial_answers, weighed
from few_shot.tree_regression import OpenRows, fit_regression
from tests.few_shot.catalogue import LEAVES, NUM_CLASSES, catalogue


@pytest.fixture(scope="module")
def shop():
    """600 products of which none says its node's name, so that answers alone teach."""
    return catalogue(named=0.0)


def under(shop, rows, truth=None):
    """Returns answers that name the root a product lies under."""
    tops = (shop.truth if truth is None else truth)[rows] // LEAVES
    return partial_answers(rows, np.arange(NUM_CLASSES)[None] // LEAVES == tops[:, None])


def top_accuracy(shop, model, rows):
    found = model.logits(shop.products, shop.frozen().rules, rows).argmax(1)
    return float((found // LEAVES == shop.truth[rows] // LEAVES).mean())


def learnt(shop, answers, partial, **parameters):
    return learn(shop.frozen(), answers, 0, FewShotParameters(**parameters), partial=partial)


def test_answers_about_roots_alone_teach_the_roots(shop):
    nobody, rows, others = np.full(600, -1), np.arange(200), np.arange(200, 600)
    taught = top_accuracy(shop, learnt(shop, nobody, under(shop, rows)), others)
    assert taught > top_accuracy(shop, learnt(shop, nobody, None), others) + 0.3
    assert taught > 0.8


def test_answers_about_roots_help_those_that_name_a_node(shop):
    gains = []
    for seed in range(3):
        answers = shop.some_answers(40, seed)
        rows = np.setdiff1d(np.random.default_rng(seed).permutation(600)[:250], np.flatnonzero(answers >= 0))
        gains.append(shop.accuracy(learnt(shop, answers, under(shop, rows))) - shop.accuracy(learnt(shop, answers, None)))
    assert np.mean(gains) > 0.03


@pytest.mark.parametrize(
    "allowed",
    [
        np.arange(NUM_CLASSES) != 3,  # All products "not" one node.
        np.zeros(NUM_CLASSES, bool),  # Nothing is left.
        np.ones(NUM_CLASSES, bool),  # Nothing was said.
        np.arange(NUM_CLASSES) < LEAVES,  # Every product under one root.
    ],
)
def test_many_partial_answers_of_one_kind_do_not_collapse_the_model(allowed):
    named = catalogue()
    partial = partial_answers(np.arange(300), np.tile(allowed, (300, 1)))
    by_names = named.accuracy(learnt(named, np.full(600, -1), None))
    found = named.accuracy(learnt(named, np.full(600, -1), partial))
    says_false_things = 0 < allowed.sum() <= LEAVES
    assert found > (0.2 if says_false_things else by_names - 0.05)


def test_without_partial_answers_the_model_is_the_same_to_the_bit(shop):
    answers = shop.some_answers(60)
    plain, none = learnt(shop, answers, None), learnt(shop, answers, no_partial_answers(NUM_CLASSES))
    known = learnt(shop, answers, under(shop, np.flatnonzero(answers >= 0)))  # Their node is known: the root says nothing more.
    for other in (none, known):
        np.testing.assert_array_equal(plain.on_bag, other.on_bag)
        np.testing.assert_array_equal(plain.on_latent, other.on_latent)
        np.testing.assert_array_equal(plain.bias, other.bias)


def test_the_gradient_of_the_marginal_loss_is_its_slope():
    rng = np.random.default_rng(0)
    allowed = rng.random((3, 6)) < 0.5
    allowed[:, 2] = True
    point = rng.normal(size=18)

    def loss(flat):
        return float(marginal_in_place(flat.reshape(3, 6).copy(), allowed).sum())

    scores = point.reshape(3, 6).copy()
    marginal_in_place(scores, allowed)
    np.testing.assert_allclose(scores.ravel(), approx_fprime(point, loss, 1e-6), atol=1e-4)


def test_an_open_row_with_one_class_left_is_an_answer_for_the_regression():
    rng = np.random.default_rng(0)
    vectors, classes = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(0, 4, 30)
    weights, ancestry = np.ones(30, np.float32), np.eye(4, dtype=np.float32)
    named = fit_regression(vectors, classes, weights, ancestry, 0.1, 200)
    half = OpenRows(vectors[15:], np.eye(4, dtype=bool)[classes[15:]], weights[15:])
    mixed = fit_regression(vectors[:15], classes[:15], weights[:15], ancestry, 0.1, 200, open_rows=half)
    np.testing.assert_allclose(named, mixed, atol=5e-3)


def test_what_says_nothing_is_left_out():
    allowed = np.array([[True, True], [False, False], [True, False], [True, False]])
    said = informative(partial_answers(np.array([5, 4, 3, 2]), allowed), np.array([-1, -1, 0, -1, -1, -1]))
    np.testing.assert_array_equal(said.rows, [3])


def test_members_of_a_group_together_weigh_no_more_than_their_question():
    questions = np.r_[np.zeros(3), np.full(100, 7), np.full(4, 8)].astype(np.int64)
    said = weighed(partial_answers(np.arange(107), np.ones((107, 2), bool), questions), 0.5, 5.0)
    weights = {question: said.weights[said.questions == question] for question in (0, 7, 8)}
    np.testing.assert_array_equal(weights[0], np.ones(3))
    assert len(weights[7]) == 30
    assert weights[7].sum() == pytest.approx(5.0, rel=1e-5)
    np.testing.assert_array_equal(weights[8], np.full(4, 0.5, np.float32))
    assert len(weighed(said, 0.5, 0.0)) == 3
