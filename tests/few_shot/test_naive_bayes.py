"""Naive Bayes counts tokens of answers, starts from what names and rules say, and stands among the learner's evidence."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from few_shot.learner import learn
from few_shot.naive_bayes import fit_token_odds
from few_shot.self_training import self_trained
from tests.few_shot.catalogue import NUM_CLASSES, catalogue

SHARES = np.array([0.4, 0.3, 0.2, 0.1])
NOTHING = sp.csr_matrix((4, 3), dtype=np.float32)


def rows(*counts):
    return sp.csr_matrix(np.array(counts, np.float32).reshape(-1, 4))


def test_scores_are_the_log_of_a_share_over_that_in_all_products():
    bag, classes = rows([1, 0, 2, 0], [0, 1, 1, 0], [3, 0, 0, 1]), np.array([0, 0, 2])
    typical = np.array([[0, 0.5, 0], [0.2, 0, 0], [0, 0, 0], [0, 0, 0.7]], np.float32)
    counts = np.zeros((4, 3))
    np.add.at(counts.T, classes, bag.toarray())
    counts += 3.0 * typical + 100.0 * SHARES[:, None]
    expected = np.log(counts / counts.sum(axis=0)) - np.log(SHARES)[:, None]
    found = fit_token_odds(bag, classes, SHARES, sp.csr_matrix(typical)).scores(sp.csr_matrix(np.eye(4, dtype=np.float32)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_token_of_one_class_speaks_for_it_the_more_the_rarer_it_is():
    odds = fit_token_odds(rows([0, 0, 1, 1]), np.array([1]), SHARES, NOTHING)
    found = odds.scores(sp.csr_matrix(np.eye(4, dtype=np.float32)))
    assert found[3, 1] > found[2, 1] > 0 > found[0, 1]
    assert not found[:, [0, 2]].any()


def test_without_answers_what_products_look_like_speaks_alone():
    typical = sp.csr_matrix(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]], np.float32))
    odds = fit_token_odds(rows(), np.zeros(0, np.int64), SHARES, typical)
    assert odds.scores(rows([1, 0, 0, 0], [0, 1, 0, 0])).argmax(axis=1).tolist() == [0, 1]
    assert not fit_token_odds(rows(), np.zeros(0, np.int64), SHARES, NOTHING).scores(rows([1, 2, 3, 4])).any()


@pytest.fixture(scope="module")
def shop():
    return catalogue(num_products=900)


def test_answers_learn_how_far_to_trust_it(shop):
    features, answers = self_trained(shop.frozen(), np.arange(900), 0), shop.some_answers(300)
    before, after = (learn(features, each, 0).trusts["naive Bayes"] for each in (np.full(900, -1), answers))
    assert before > 0.0
    assert after > 0.0
    assert before != after


def test_it_begins_where_names_taught_what_products_look_like(shop):
    taught, untaught = (
        learn(features, np.full(900, -1), 0).trusts for features in (self_trained(shop.frozen(), np.arange(900), 0), shop.frozen())
    )
    assert (taught["naive Bayes"], taught["evenness"]) == (0.3, 0.0)
    assert (untaught["naive Bayes"], untaught["evenness"]) == (0.0, 1.0)


def test_without_names_answers_alone_teach_it(shop):
    blind = dataclasses.replace(shop.frozen(), known=[])
    assert learn(blind, shop.some_answers(300), 0).trusts["naive Bayes"] > 0.0


def test_near_duplicates_count_once(shop):
    features = self_trained(shop.frozen(), np.arange(900), 0)
    answers = shop.some_answers(100)
    answered = np.flatnonzero(answers >= 0)
    copies = np.r_[np.arange(900), np.repeat(answered[0], 50)]
    products = dataclasses.replace(
        shop.products, bag=shop.products.bag[copies], latent=shop.products.latent[copies], groups=shop.products.groups[copies]
    )
    trusts = dict.fromkeys(learn(features, answers, 0).trusts, 0.0) | {"naive Bayes": 1.0}
    one, many = (
        learn(each, given, 0, trusts=trusts)
        for each, given in ((features, answers), (dataclasses.replace(features, products=products), answers[copies]))
    )
    counted = np.bincount(answers[answered], minlength=NUM_CLASSES) > 0
    differences = (one.on_bag - one.on_bag.mean(axis=1, keepdims=True)) - (many.on_bag - many.on_bag.mean(axis=1, keepdims=True))
    assert counted.sum() > 10
    # Shares in all products change a little with 50 copies; 50 answers about one product would change its class by far more.
    assert abs(differences).max() < 0.1
