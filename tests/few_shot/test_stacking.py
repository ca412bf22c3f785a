"""Trusts are learnt from answers and stay where they were without."""

import numpy as np

from few_shot.stacking import fit_trusts

START, DEVIATION, ANY = np.array([1.0, 1.0]), np.array([1.0, 1.0]), np.array([-np.inf, -np.inf])


def evidence(num_rows, seed=0):
    """The first kind of evidence tells the class, the second is noise."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, num_rows)
    found = rng.normal(size=(num_rows, 3, 2)).astype(np.float32)
    found[np.arange(num_rows), classes, 0] += 2.0
    return found, classes


def test_good_evidence_gains_trust_and_noise_loses_it():
    found, classes = evidence(500)
    trusts = fit_trusts(found, classes, np.ones(500, np.float32), START, DEVIATION, ANY, 100)
    assert trusts[0] > 1.3
    assert abs(trusts[1]) < 0.2


def test_without_answers_trusts_stay():
    found, classes = evidence(0)
    np.testing.assert_array_equal(fit_trusts(found, classes, np.ones(0, np.float32), START, DEVIATION, ANY, 100), START)


def test_few_answers_move_trusts_less():
    moves = []
    for num_rows in (5, 500):
        found, classes = evidence(num_rows)
        moves.append(abs(fit_trusts(found, classes, np.ones(num_rows, np.float32), START, DEVIATION, ANY, 100)[1] - 1.0))
    assert moves[0] < moves[1]


def test_a_trust_without_deviation_stays_fixed():
    found, classes = evidence(500)
    trusts = fit_trusts(found, classes, np.ones(500, np.float32), START, np.array([1.0, 0.0]), ANY, 100)
    assert trusts[1] == 1.0
    assert trusts[0] != 1.0


def test_a_trust_keeps_above_its_lowest():
    found, classes = evidence(500)
    found[..., 1] -= 2 * found[..., 0]
    free, bound = (
        fit_trusts(found, classes, np.ones(500, np.float32), START, DEVIATION, np.array([low, low]), 100) for low in (-np.inf, 0.0)
    )
    assert free[1] < 0
    assert bound[1] == 0.0
