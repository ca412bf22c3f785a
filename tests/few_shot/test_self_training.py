"""Products teach what names and rules take them for, so that other words of theirs count before anybody answers."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from few_shot.learner import learn
from few_shot.self_training import CENTROIDS, SELF_TRAINED, SEPARATORS, self_trained
from tests.few_shot.catalogue import NUM_CLASSES, OneRule, catalogue


@pytest.fixture(scope="module")
def shop():
    return catalogue(num_products=900, named=0.5, seed=3)


def accuracy(shop, features, answers=None, rows=None):
    rows = np.arange(len(shop.truth)) if rows is None else rows
    model = learn(features, np.full(len(shop.truth), -1) if answers is None else answers, 0)
    return float((model.logits(features.products, features.rules, rows).argmax(1) == shop.truth[rows]).mean())


def nameless(shop):
    """Returns the products that hold no node's name."""
    return np.flatnonzero(np.asarray(shop.products.bag[:, :NUM_CLASSES].sum(axis=1)).ravel() == 0)


def test_products_that_name_no_node_are_placed_by_the_words_of_those_that_do(shop):
    features, rows = shop.frozen(), nameless(shop)
    taught = self_trained(features, np.arange(900), 0)
    assert [evidence.name for evidence in taught.known[-2:]] == list(SELF_TRAINED)
    assert len(rows) > 300
    assert accuracy(shop, taught, rows=rows) > accuracy(shop, features, rows=rows) + 0.1
    assert accuracy(shop, taught) > accuracy(shop, features)


def test_products_that_were_not_taught_by_gain_as_well(shop):
    judged = nameless(shop)[::2]
    taught = self_trained(shop.frozen(), np.setdiff1d(np.arange(900), judged), 0)
    assert accuracy(shop, taught, rows=judged) > accuracy(shop, shop.frozen(), rows=judged) + 0.1


def test_answers_judge_it_like_all_other_evidence(shop):
    features, answers = shop.frozen(), shop.some_answers(300)
    taught = self_trained(features, np.arange(900), 0)
    model = learn(taught, answers, 0)
    assert all(model.trusts[name] != start for name, start in ((SEPARATORS, 2.0), (CENTROIDS, 1.0)))
    assert accuracy(shop, taught, answers) > accuracy(shop, features, answers) - 0.02


def test_wrong_rules_that_taught_it_lose_their_say_to_answers(shop):
    wrong = OneRule((shop.truth + 7) % NUM_CLASSES)
    features = dataclasses.replace(shop.frozen(wrong), known=[])
    taught = self_trained(features, np.arange(900), 0)
    answers = shop.some_answers(300)
    assert accuracy(shop, taught) < 0.1
    assert accuracy(shop, taught, answers) > 0.6
    assert accuracy(shop, taught, answers) > accuracy(shop, features, answers) - 0.05


def test_only_the_products_named_are_looked_at(shop):
    among = np.arange(400)
    bag = shop.products.bag.tolil(copy=True)
    bag[400:] = 0.0
    other = dataclasses.replace(shop.frozen(), products=dataclasses.replace(shop.products, bag=sp.csr_matrix(bag)))
    for one, two in zip(self_trained(shop.frozen(), among, 0).known, self_trained(other, among, 0).known, strict=True):
        assert one.name == two.name and (one.on_bag is None or abs(one.on_bag - two.on_bag).nnz == 0)


def test_to_teach_again_replaces_what_was_taught(shop):
    once = self_trained(shop.frozen(), np.arange(900), 0)
    twice = self_trained(once, np.arange(900), 0)
    for one, two in zip(once.known, twice.known, strict=True):
        assert one.name == two.name and (one.on_bag is None or abs(one.on_bag - two.on_bag).nnz == 0)


def test_where_nothing_is_known_nothing_is_taught(shop):
    blind = dataclasses.replace(shop.frozen(), known=[])
    assert self_trained(blind, np.arange(900), 0).known == []
    assert len(self_trained(shop.frozen(), np.zeros(0, np.int64), 0).known) == len(shop.known)


def test_useless_names_teach_nothing_that_harms():
    shop = catalogue(num_products=900, useful_names=False, seed=3)
    taught = self_trained(shop.frozen(), np.arange(900), 0)
    for count in (50, 300):
        answers = shop.some_answers(count)
        assert accuracy(shop, taught, answers) > accuracy(shop, shop.frozen(), answers) - 0.02


def test_near_duplicates_teach_once(shop):
    copies = 20
    rows = np.r_[np.arange(900), np.zeros(copies, np.int64)]
    products = dataclasses.replace(
        shop.products, bag=shop.products.bag[rows], latent=shop.products.latent[rows], groups=shop.products.groups[rows]
    )
    many = self_trained(dataclasses.replace(shop.frozen(), products=products), np.arange(900 + copies), 0)
    for one, two in zip(self_trained(shop.frozen(), np.arange(900), 0).known, many.known, strict=True):
        assert one.on_bag is None or abs(one.on_bag - two.on_bag).max() < 1e-6


def test_it_is_the_same_for_a_seed(shop):
    one, two = (self_trained(shop.frozen(), np.arange(900), 5) for _ in range(2))
    assert all(a.on_bag is None or abs(a.on_bag - b.on_bag).nnz == 0 for a, b in zip(one.known, two.known, strict=True))
