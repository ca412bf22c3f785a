"""The separators are those that a well-known library finds."""

import numpy as np
import scipy.sparse as sp
from sklearn.svm import LinearSVC

from few_shot.sparse_expert import fit_separators
from tests.few_shot.catalogue import NUM_CLASSES, catalogue


def memberships(classes):
    return np.eye(NUM_CLASSES, dtype=bool)[classes]


def test_margins_are_those_of_liblinear():
    shop = catalogue(400)
    bag, classes = shop.products.bag[:250], shop.truth[:250]
    found = fit_separators(bag, memberships(classes), 100, 0)
    exact = LinearSVC(C=1.0, tol=1e-6, max_iter=10_000).fit(bag, classes)
    judged = shop.products.bag[250:]
    np.testing.assert_allclose(judged @ found[:-1] + found[-1], exact.decision_function(judged), atol=2e-3)


def test_a_few_passes_are_close():
    shop = catalogue(400)
    bag, classes = shop.products.bag[:250], shop.truth[:250]
    few, many = (fit_separators(bag, memberships(classes), passes, 0) for passes in (10, 100))
    judged = shop.products.bag[250:]
    few_best, many_best = ((judged @ found[:-1] + found[-1]).argmax(1) for found in (few, many))
    assert (few_best == many_best).mean() > 0.98


def test_a_set_without_rows_gets_zeros():
    bag = sp.csr_matrix(np.eye(4, dtype=np.float32))
    found = fit_separators(bag, np.eye(4, dtype=bool)[[0, 0, 2, 2]], 5, 0)
    assert not found[:, [1, 3]].any()
    assert found[:, [0, 2]].any()


def test_no_answers_at_all_give_zeros():
    found = fit_separators(sp.csr_matrix((0, 3), dtype=np.float32), np.zeros((0, 2), bool), 5, 0)
    assert found.shape == (4, 2)
    assert not found.any()


def test_sets_may_overlap():
    shop = catalogue(400)
    bag, classes = shop.products.bag[:250], shop.truth[:250]
    tops = np.stack([classes // 5 == top for top in range(4)], 1)
    both = fit_separators(bag, np.hstack([memberships(classes), tops]), 10, 0)
    np.testing.assert_allclose(both[:, NUM_CLASSES:], fit_separators(bag, tops, 10, 0), atol=1e-4)
