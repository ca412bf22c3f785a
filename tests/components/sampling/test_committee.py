"""A committee's two measures of disagreement."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.sampling.batch import pick
from components.sampling.committee import consensus_divergences, vote_entropies
from components.sampling.contract import find_strategy
from tests.components.sampling.pools import make_pool


@given(st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=1, max_size=6))
def test_vote_entropy_is_the_entropy_of_the_shares_of_votes(votes):
    shares = [np.bincount(row, minlength=5) / 5 for row in votes]
    expected = [-(row[row > 0] * np.log(row[row > 0])).sum() for row in shares]
    np.testing.assert_allclose(vote_entropies(np.array(votes)), expected, atol=1e-12)


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_divergence_of_whole_distributions_is_the_textbook_one(seed, members):
    rng = np.random.default_rng(seed)
    whole = rng.dirichlet(np.ones(6), size=(4, members))
    order = np.argsort(-whole, axis=2)
    mean = whole.mean(axis=1, keepdims=True)
    expected = (whole * np.log(whole / mean)).sum(axis=2).mean(axis=1)
    found = consensus_divergences(order.astype(np.int32), np.take_along_axis(whole, order, axis=2))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_what_members_leave_over_counts_as_one_node():
    codes = np.zeros((1, 2, 1), np.int32)
    same = consensus_divergences(codes, np.array([[[0.3], [0.3]]]))
    differ = consensus_divergences(codes, np.array([[[0.9], [0.1]]]))
    assert same[0] == 0
    p = np.array([[0.9, 0.1], [0.1, 0.9]])
    np.testing.assert_allclose(differ, (p * np.log(p / 0.5)).sum(axis=1).mean())


def test_a_member_with_fewer_nodes_is_filled_up_harmlessly():
    codes = np.array([[[0, 1, 2], [0, 1, 3]]], np.int32)  # Node 3 stands for "no node".
    found = consensus_divergences(codes, np.array([[[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]]]))
    assert np.isfinite(found).all() and found[0] > 0


def test_a_reason_counts_the_votes():
    pool = make_pool(np.random.default_rng(0), 1)
    pool.committee_nodes[0, :, 0] = ["k", "o", "k"]
    names = {"k": "Shoes > Sneakers", "o": "Shoes > Boots"}
    items = pick(pool, find_strategy("vote_entropy"), 1, 0.0, np.random.default_rng(0), names.__getitem__)
    assert items[0].reason == "models vote for Shoes > Sneakers (2 of 3) and Shoes > Boots (1 of 3)"
