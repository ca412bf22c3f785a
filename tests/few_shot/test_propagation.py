"""Labels spread over a neighbour graph as their paper says, and unanswered products teach the regression nothing unless asked."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from few_shot.learner import FewShotParameters, learn
from few_shot.propagation import WeakRows, neighbour_graph, propagated, soft_targets
from few_shot.tree_regression import _weak_loss_in_place, fit_regression
from few_shot.unanswered import draw_unanswered
from tests.few_shot.catalogue import NUM_CLASSES, catalogue
from tests.few_shot.test_tree_regression import ANCESTRY, problem


def vectors(count=60, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def shop():
    return catalogue(400)


def learnt(shop, answers, unanswered=None, **given):
    return learn(shop.frozen(), answers, 0, FewShotParameters(**given), unanswered=unanswered)


def tables(model):
    return np.concatenate([model.on_bag.ravel(), model.on_latent.ravel(), model.bias])


def test_the_graph_is_symmetric_has_no_loops_and_every_neighbour_asked_for():
    graph = neighbour_graph(vectors(), 4).toarray()
    np.testing.assert_allclose(graph, graph.T, atol=1e-6)
    assert not graph.diagonal().any()
    assert ((graph > 0).sum(1) >= 4).all()
    assert np.abs(np.linalg.eigvalsh(graph)).max() == pytest.approx(1, abs=1e-5)  # So that spreading settles.


def test_neighbours_are_the_nearest_by_angle_not_by_length():
    found = neighbour_graph(np.array([[1, 0], [9, 1], [0, 1], [1, 8]], np.float32), 1).toarray() > 0
    assert found.tolist() == [
        [False, True, False, False],
        [True, False, False, False],
        [False, False, False, True],
        [False, False, True, False],
    ]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_or_empty_vectors_make_a_graph_too(count):
    assert neighbour_graph(np.zeros((count, 3), np.float32), 4).sum() == 0


def test_what_arrives_is_the_closed_form_of_the_paper():
    graph, seeds = neighbour_graph(vectors(), 4), np.zeros((60, 3), np.float32)
    seeds[[0, 1, 2], [0, 1, 2]] = 1.0
    closed = 0.4 * np.linalg.solve(np.eye(60) - 0.6 * graph.toarray(), seeds)
    np.testing.assert_allclose(propagated(graph, seeds, 0.6), closed, atol=1e-5)


def test_beliefs_are_distributions_and_where_nothing_arrives_nothing_is_believed():
    beliefs, sure = soft_targets(np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0]]))
    assert beliefs.sum(1).tolist() == [1, 0, 1]
    assert sure[1] == 0 < sure[0] < sure[2] == 1


@pytest.mark.parametrize("entropy_weight", [0.0, 0.7])
def test_the_gradient_of_the_weak_loss_is_its_slope(entropy_weight):
    rng = np.random.default_rng(0)
    targets, _ = soft_targets(rng.random((4, 5)))
    targets[1] = 0.0
    weak = WeakRows(np.zeros((4, 2), np.float32), targets, rng.random(4), entropy_weight)
    scores = rng.normal(size=(4, 5))
    slope = approx_fprime(scores.ravel(), lambda flat: _weak_loss_in_place(flat.reshape(4, 5).copy(), weak), 1e-6)
    _weak_loss_in_place(scores, weak)
    np.testing.assert_allclose(scores.ravel(), slope, atol=1e-4)


def test_a_sure_target_is_as_good_as_an_answer_of_its_weight():
    rows, classes = problem()
    ones = np.ones(60, np.float32)
    answered = fit_regression(rows, classes, ones, ANCESTRY, 0.1, 300)
    weak = WeakRows(rows[30:], np.eye(4, dtype=np.float32)[classes[30:]], ones[30:], 0.0)
    believed = fit_regression(rows[:30], classes[:30], ones[:30], ANCESTRY, 0.1, 300, weak)
    np.testing.assert_allclose(answered, believed, atol=1e-2)


def test_answers_reach_products_like_them_and_a_fold_sees_its_own_answers_alone(shop):
    answers = shop.some_answers(80)
    rows, pool = np.flatnonzero(answers >= 0), np.flatnonzero(answers < 0)
    drawn = draw_unanswered(shop.products, shop.node_texts, rows, pool, 200, 0, 1.0, 0.0, 0.1)
    weak = drawn.weak_rows(rows, answers[rows], NUM_CLASSES)
    truth = shop.truth[pool][[np.flatnonzero((shop.products.latent[pool] == row).all(1))[0] for row in weak.vectors]]
    assert len(truth) == 200
    assert (weak.targets.argmax(1) == truth).mean() > 0.3  # Chance is one in twenty.
    one = drawn.weak_rows(rows[:1], answers[rows[:1]], NUM_CLASSES)
    other = drawn.weak_rows(rows[:1], (answers[rows[:1]] + 1) % NUM_CLASSES, NUM_CLASSES)
    assert (one.targets != other.targets).any()
    assert drawn.weak_rows(rows[:0], answers[rows[:0]], NUM_CLASSES) is None


def test_near_duplicates_of_answered_products_and_of_each_other_are_not_drawn(shop):
    groups = np.arange(400) // 4
    products = replace(shop.products, groups=groups)
    drawn = draw_unanswered(products, shop.node_texts, np.array([0, 8]), np.arange(400), 400, 0, 0.0, 1.0, 0.1)
    assert len(drawn.vectors) == 98


def test_weights_of_zero_are_the_plain_model_bit_by_bit(shop):
    answers = shop.some_answers(60)
    plain, off = (learnt(shop, answers, **given) for given in ({}, {"propagation": 0.0, "entropy_weight": 0.0, "unanswered_products": 5}))
    np.testing.assert_array_equal(tables(plain), tables(off))
    assert plain.trusts == off.trusts


@pytest.mark.parametrize("asked", [{"propagation": 1.0}, {"entropy_weight": 0.1}])
def test_unanswered_products_change_the_model_the_same_way_for_the_same_seed_and_do_no_harm(shop, asked):
    answers = shop.some_answers(60)
    plain, first, second = learnt(shop, answers), learnt(shop, answers, **asked), learnt(shop, answers, **asked)
    np.testing.assert_array_equal(tables(first), tables(second))
    assert (tables(plain) != tables(first)).any()
    assert shop.accuracy(first) > shop.accuracy(plain) - 0.05


@pytest.mark.parametrize("count", [0, 1])
def test_no_answers_or_one_are_enough_to_go_on(shop, count):
    found = learnt(shop, shop.some_answers(count), propagation=1.0, entropy_weight=0.1)
    assert np.isfinite(tables(found)).all()


def test_products_that_are_kept_out_teach_nothing(shop):
    answers, kept_in = shop.some_answers(60), np.arange(300)
    answers[300:] = -1
    spoilt = shop.products.latent.copy()
    spoilt[300:] = -spoilt[:100]
    other = replace(shop.frozen(), products=replace(shop.products, latent=spoilt))
    asked = FewShotParameters(propagation=1.0, entropy_weight=0.1)
    mine, theirs = (learn(features, answers, 0, asked, unanswered=kept_in) for features in (shop.frozen(), other))
    np.testing.assert_array_equal(tables(mine), tables(theirs))
