"""The first answers go to typical products, the later ones to products between two categories."""

import numpy as np
import pytest

from components.sampling.balanced_margin import BalancedMargin
from components.sampling.typical_points import TypicalPoints
from components.sampling.typical_then_margin import TypicalThenMargin
from tests.components.sampling.pools import make_pool

STRATEGY = TypicalThenMargin(typical_answers=20)


def pool_with(num_answers):
    """300 products, near-duplicates two by two; both of an answered group are answered."""
    answered = np.arange(300) < 2 * num_answers
    return make_pool(np.random.default_rng(0), 300, groups=[f"g{i // 2}" for i in range(300)], answered=answered)


def select(strategy, pool, count):
    rows = np.flatnonzero(~np.asarray(pool.answered, bool))
    return strategy.select(pool, rows, rows // 2, count, np.random.default_rng(0))


def test_the_first_answers_go_to_typical_products():
    pool = pool_with(0)
    np.testing.assert_array_equal(select(STRATEGY, pool, 15).rows, select(TypicalPoints(), pool, 15).rows)


@pytest.mark.parametrize("num_answers", [20, 40])
def test_with_some_answers_margins_decide(num_answers):
    pool = pool_with(num_answers)
    np.testing.assert_array_equal(select(STRATEGY, pool, 15).rows, select(BalancedMargin(), pool, 15).rows)


def test_one_batch_may_hold_both_and_says_which_is_which():
    pool = pool_with(12)
    found = select(STRATEGY, pool, 30)
    np.testing.assert_array_equal(found.rows[:8], select(TypicalPoints(), pool, 8).rows)
    assert len(set(found.rows // 2)) == 30
    assert (np.diff(found.scores) <= 0).all()
    reasons = [STRATEGY.reason(pool, int(row), str, note) for row, note in zip(found.rows, found.notes, strict=True)]
    assert ["torn" in reason for reason in reasons] == [False] * 8 + [True] * 22
