"""Balanced margin asks where the model is undecided, and doesn't ask the same node over and over."""

import numpy as np

from components.sampling.contract import find_strategy
from tests.components.sampling.pools import make_pool

BALANCED = find_strategy("balanced_margin")


def pool_of(best, margins, answered=None):
    """Returns a pool whose products have these best guesses and these margins between their two best."""
    pool = make_pool(np.random.default_rng(0), len(best), answered=answered)
    pool.exclusive_nodes[:, 0] = best
    pool.exclusive_probabilities[:, 0] = 0.5 + np.asarray(margins) / 2
    pool.exclusive_probabilities[:, 1] = 0.5 - np.asarray(margins) / 2
    pool.exclusive_probabilities[:, 2:] = 0.0
    return pool


def chosen(pool, count, groups=None):
    rows = np.flatnonzero(~np.asarray(pool.answered, bool))
    groups = np.arange(len(pool))[rows] if groups is None else np.asarray(groups)[rows]
    return BALANCED.select(pool, rows, groups, count, np.random.default_rng(0))


def test_look_alikes_of_one_node_leave_room_for_others():
    pool = pool_of(["a"] * 10 + ["b", "c"], [0.0] * 10 + [0.2, 0.2])
    rows = chosen(pool, 4).rows.tolist()
    assert {10, 11} <= set(rows)


def test_nodes_with_answers_wait():
    answered = np.array([True] * 8 + [False] * 4)
    pool = pool_of(["a"] * 8 + ["a", "a", "b", "b"], [0.9] * 8 + [0.0, 0.0, 0.4, 0.4], answered)
    assert set(chosen(pool, 2).rows.tolist()) == {10, 11}


def test_with_the_same_answers_everywhere_it_is_margin():
    pool = pool_of(["a", "b", "c"], [0.5, 0.1, 0.9])
    found = chosen(pool, 3)
    assert found.rows.tolist() == [1, 0, 2]
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0.1], atol=1e-6)


def test_a_group_is_asked_once():
    pool = pool_of(["a", "a", "b"], [0.0, 0.1, 0.9])
    assert sorted(chosen(pool, 3, groups=[7, 7, 8]).rows.tolist()) == [0, 2]


def test_scores_fall():
    rng = np.random.default_rng(3)
    pool = pool_of(rng.choice(list("abcd"), 60), rng.random(60))
    assert (np.diff(chosen(pool, 60).scores) <= 0).all()


def test_answers_count_for_the_node_they_name_not_for_what_was_guessed():
    pool = pool_of(["a"] * 8 + ["a", "a", "b", "b"], [0.9] * 8 + [0.0, 0.0, 0.1, 0.1], [True] * 8 + [False] * 4)
    pool.answer_nodes[:8] = "b"
    assert set(chosen(pool, 2).rows.tolist()) == {8, 9}


def test_equally_wanted_nodes_are_drawn_fairly():
    pool, drawn = pool_of(list("abcd"), [0.5] * 4), np.zeros(4)
    for seed in range(400):
        drawn[BALANCED.select(pool, np.arange(4), np.arange(4), 1, np.random.default_rng(seed)).rows] += 1
    assert (abs(drawn - 100) < 45).all()  # Five standard deviations.
