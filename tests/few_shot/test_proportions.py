"""Shares and their intervals: weights, near-duplicates, and coverage of the truth."""

import numpy as np
import pytest

from few_shot.proportions import effective_count, share_of
from schemas.errors import SamplingError


def test_the_interval_holds_the_true_share_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        share = share_of(rng.random(80) < 0.9, np.arange(80))
        held += share.low <= 0.9 <= share.high
    assert held >= 0.95 * 400


def test_near_duplicates_that_agree_make_an_interval_no_narrower():
    right = np.array([True] * 45 + [False] * 5)
    alone, copied = share_of(right, np.arange(50)), share_of(np.repeat(right, 4), np.repeat(np.arange(50), 4))
    assert (copied.low, copied.high) == pytest.approx((alone.low, alone.high))
    assert (copied.judged, copied.effective) == (200, pytest.approx(50))


def test_weights_move_the_share_and_widen_the_interval():
    right, groups = np.array([True, False] * 50), np.arange(100)
    even, uneven = share_of(right, groups), share_of(right, groups, np.where(right, 3.0, 1.0))
    assert (even.value, uneven.value) == (0.5, 0.75)
    assert uneven.effective == pytest.approx(80)


def test_nothing_judged_says_nothing():
    share = share_of(np.zeros(0, bool), np.zeros(0, np.int64))
    assert np.isnan(share.value)
    assert (share.low, share.high, share.judged) == (0.0, 1.0, 0)
    assert effective_count(np.zeros(0), np.zeros(0, np.int64)) == 0.0


def test_all_right_still_leaves_room_for_doubt():
    share = share_of(np.ones(59, bool), np.arange(59), confidence=0.9)
    assert share.high == 1.0
    assert 0.949 < share.low < 0.951


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf], [1.0]])
def test_a_weight_that_cannot_be_is_refused(weights):
    with pytest.raises(SamplingError, match="weight"):
        share_of(np.array([True, False]), np.arange(2), np.array(weights))
