"""Checks how products are dealt out to batches."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainer_module.hyperparameters import Phase
from trainer_module.schedule import MIN_STEPS, epoch, epoch_steps, playable

MIXED = Phase(1, rule_based=0.25, exclusive=0.75)


def batches(phase, num_exclusive, num_rules, batch_size, seed=0):
    exclusive, rules = np.arange(num_exclusive), 1000 + np.arange(num_rules)
    return list(epoch(phase, exclusive, rules, batch_size, np.random.default_rng(seed)))


def test_a_batch_has_each_heads_share():
    for batch in batches(MIXED, 600, 300, 32):
        assert batch.exclusive.sum() == 24
        assert batch.rule_based.sum() == 8
        assert (batch.exclusive == (batch.rows < 1000)).all()
        assert (batch.exclusive + batch.rule_based == 1).all()


@given(st.integers(1, 300), st.integers(0, 300), st.integers(2, 64), st.sampled_from([0.25, 0.5, 1.0]))
def test_every_leading_row_is_dealt_about_once_a_pass(num_exclusive, num_rules, batch_size, share):
    phase = playable(Phase(1, 1 - share, share), num_exclusive, num_rules)
    per_step = min(round(batch_size * phase.exclusive), num_exclusive)
    assume(per_step >= 1)
    dealt = np.concatenate([b.rows[b.exclusive > 0] for b in batches(phase, num_exclusive, num_rules, batch_size)])
    counts = np.bincount(dealt, minlength=num_exclusive)
    assert counts.min() >= 1
    # The last step of a pass is filled up, and a short pass is repeated up to MIN_STEPS.
    assert counts.max() <= max(2, -(-MIN_STEPS * per_step // num_exclusive) + 1)


def test_a_row_is_never_twice_in_one_batch_where_a_head_has_fewer_rows_than_its_share():
    for batch in batches(MIXED, 5, 3, 32):
        assert len(batch.rows) == 8
        assert len(set(batch.rows)) == 8


def test_the_rule_head_leads_when_it_is_alone():
    alone = Phase(1, rule_based=1.0, exclusive=0.0)
    assert epoch_steps(alone, 10_000, 640, 64) == 10
    dealt = np.concatenate([b.rows for b in batches(alone, 50, 640, 64)])
    assert sorted(dealt) == list(1000 + np.arange(640))


@pytest.mark.parametrize(
    ("num_exclusive", "num_rules", "expected"),
    [(0, 9, Phase(1, 1.0, 0.0)), (9, 0, Phase(1, 0.0, 1.0)), (9, 9, MIXED), (0, 0, None)],
)
def test_a_head_without_rows_gives_its_share_away(num_exclusive, num_rules, expected):
    assert playable(MIXED, num_exclusive, num_rules) == expected


def test_a_phase_whose_only_head_has_no_rows_is_left_out():
    assert playable(Phase(3, rule_based=1.0, exclusive=0.0), 100, 0) is None


def test_the_same_seed_deals_the_same_batches_and_another_seed_others():
    first, again, other = (batches(MIXED, 100, 100, 16, seed) for seed in (1, 1, 2))
    assert all((a.rows == b.rows).all() for a, b in zip(first, again, strict=True))
    assert any((a.rows != b.rows).any() for a, b in zip(first, other, strict=True))
