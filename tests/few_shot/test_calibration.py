"""One temperature: what it mends, and that few answers hardly move it."""

import numpy as np
import pytest

from few_shot.calibration import fit_temperature, softmax
from schemas.errors import ModelError


def overconfident(num_answers, factor, seed=0):
    """Returns logits that are `factor` times too large, and answers drawn from what they should have said."""
    rng = np.random.default_rng(seed)
    true = 2.0 * rng.standard_normal((num_answers, 6))
    chances = softmax(true).cumsum(axis=1)
    return (factor * true).astype(np.float32), (rng.random((num_answers, 1)) > chances).sum(axis=1).clip(max=5)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_probabilities_come_to_mean_what_they_say(factor):
    logits, classes = overconfident(4000, factor)
    temperature = fit_temperature(logits, classes)
    assert temperature == pytest.approx(factor, rel=0.1)
    sure = softmax(logits, temperature).max(axis=1)
    assert sure.mean() == pytest.approx((logits.argmax(axis=1) == classes).mean(), abs=0.02)


def test_without_answers_nothing_changes_and_a_few_change_little():
    assert fit_temperature(np.zeros((0, 6), np.float32), np.zeros(0, np.int64)) == pytest.approx(1.0, abs=1e-3)
    logits = np.eye(6, dtype=np.float32)[[0, 1, 2]] * 4
    assert 0.7 < fit_temperature(logits, np.array([0, 1, 2])) < 1.0
    assert 1.0 < fit_temperature(logits, np.array([1, 2, 0])) < 2.5


def test_rows_sum_to_one_however_large_the_logits():
    found = softmax(np.array([[1e30, 0, -1e30], [-5e3, -5e3, -5e3]], np.float32), 0.1)
    assert found.sum(axis=1) == pytest.approx([1.0, 1.0])


def test_a_logit_that_is_no_number_is_refused():
    with pytest.raises(ModelError, match="isn't a number"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))
