"""What holds back classes that draw too many products promises: seen without answers, never more than asked for."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from few_shot.evenness import evening
from few_shot.learner import EVENNESS, FewShotParameters, learn
from tests.few_shot.catalogue import NUM_CLASSES, catalogue

HUB = 3


def shares(scores):
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (likely / likely.sum(axis=1, keepdims=True)).mean(axis=0)


@pytest.fixture(scope="module")
def scores():
    """200 products, 8 classes; the first draws many."""
    found = np.random.default_rng(0).normal(size=(200, 8)) * 2
    found[:, 0] += 3
    return found


def test_the_larger_the_strength_the_more_alike_are_shares_and_the_commonest_stays_it(scores):
    spreads = [np.ptp(np.log(shares(scores + evening(scores, strength)))) for strength in (0.0, 0.25, 0.5, 1.0)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > 1.1 * spreads[1] > 1.2 * spreads[3]
    assert shares(scores + evening(scores, 0.25)).argmax() == shares(scores).argmax() == 0


def test_what_is_added_is_minus_a_multiple_of_log_shares(scores):
    added = evening(scores, 0.5)
    expected = -0.5 * np.log(shares(scores + added))
    np.testing.assert_allclose(added, expected - expected.mean(), atol=0.01)


def test_classes_that_share_alike_are_left_alone():
    np.testing.assert_allclose(evening(np.tile(np.eye(5) * 4, (3, 1)), 0.5), 0, atol=1e-6)


def test_no_products_or_scores_beyond_measure_give_numbers():
    assert not evening(np.zeros((0, 4)), 0.5).any()
    far = np.array([[1e4, 0.0, -1e4]] * 3, np.float32)
    assert np.isfinite(evening(far, 0.5)).all()


@pytest.fixture(scope="module")
def drawn_to_one():
    """A catalogue in which the name of one node is a little like every product."""
    shop = catalogue(named=0.9)
    table = shop.known[0].on_bag.tolil()
    table[-60:, HUB] = 0.8
    known = [dataclasses.replace(shop.known[0], on_bag=sp.csr_matrix(table)), shop.known[1]]
    return dataclasses.replace(shop, known=known)


def test_a_name_like_every_product_takes_fewer_of_them(drawn_to_one):
    nobody, rows = np.full(600, -1), np.arange(600)
    even, plain = drawn_to_one.learn(nobody), drawn_to_one.learn(nobody, evenness=0.0)
    taken = [(model.logits(drawn_to_one.products, drawn_to_one.frozen().rules, rows).argmax(1) == HUB).mean() for model in (even, plain)]
    assert taken[0] < 0.8 * taken[1]
    assert drawn_to_one.accuracy(even) > drawn_to_one.accuracy(plain)


def test_where_neither_names_nor_rules_say_anything_nothing_is_held_back(drawn_to_one):
    silent = dataclasses.replace(drawn_to_one.frozen(), known=[])
    nobody = np.full(600, -1)
    np.testing.assert_array_equal(learn(silent, nobody, 0).bias, learn(silent, nobody, 0, FewShotParameters(evenness=0.0)).bias)


def test_answers_teach_how_far_to_hold_back(drawn_to_one):
    found = drawn_to_one.learn(drawn_to_one.some_answers(200)).trusts[EVENNESS]
    assert found not in (0.0, 1.0)


def test_products_that_may_not_be_looked_at_make_no_difference(drawn_to_one):
    seen, nobody = np.arange(300), np.full(600, -1)
    features = drawn_to_one.frozen()
    before = learn(features, nobody, 0, FewShotParameters(), unanswered=seen)
    bag, latent = features.products.bag.copy(), features.products.latent.copy()
    bag.data[bag.indptr[300] :] *= 5
    latent[300:] = -latent[300:]
    other = dataclasses.replace(features, products=dataclasses.replace(features.products, bag=bag, latent=latent))
    after = learn(other, nobody, 0, FewShotParameters(), unanswered=seen)
    np.testing.assert_array_equal(before.bias, after.bias)
    assert before.bias.shape == (NUM_CLASSES,)
    assert not np.array_equal(before.bias, learn(other, nobody, 0, FewShotParameters()).bias)
