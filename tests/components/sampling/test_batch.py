"""Drawing a batch: who may be asked, the audit share, the order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.sampling.batch import AUDIT, STRATEGY, pick
from components.sampling.contract import find_strategy
from schemas.errors import SamplingError
from tests.components.sampling.pools import make_pool

MARGIN = find_strategy("margin")


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 50),
    st.integers(1, 40),
    st.floats(0, 1),
    st.integers(1, 20),
    st.sampled_from(["random", "least_confidence", "margin", "entropy", "balanced_margin"]),
    st.integers(0, 10**6),
)
def test_a_batch_asks_only_open_products_of_dev_once_a_group(num_products, batch_size, audit_share, num_groups, name, seed):
    rng = np.random.default_rng(seed)
    groups = [f"g{i}" for i in rng.integers(0, num_groups, num_products)]
    split_of = {group: rng.choice(["dev", "test"]) for group in groups}
    answered = rng.random(num_products) < 0.2
    pool = make_pool(rng, num_products, groups=groups, answered=answered, splits=[split_of[group] for group in groups])
    items = pick(pool, find_strategy(name), batch_size, audit_share, rng)
    closed = {group for group, done in zip(groups, answered, strict=True) if done}
    open_groups = {group for group in groups if split_of[group] == "dev"} - closed
    asked = [groups[item.row] for item in items]
    assert len(asked) == len(set(asked)) == min(batch_size, len(open_groups))
    assert set(asked) <= open_groups
    assert sum(item.stream == AUDIT for item in items) == min(int(batch_size * audit_share + 0.5), len(open_groups))


def test_strategy_items_come_in_falling_order_of_score():
    items = pick(make_pool(np.random.default_rng(0), 100), MARGIN, 30, 0.2, np.random.default_rng(1))
    scores = [item.score for item in items if item.stream == STRATEGY]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 24


def test_the_audit_share_is_drawn_evenly_from_the_whole_pool():
    pool, drawn = make_pool(np.random.default_rng(0), 20), np.zeros(20)
    for seed in range(1500):
        items = pick(pool, MARGIN, 8, 0.5, np.random.default_rng(seed))
        drawn[[item.row for item in items if item.stream == AUDIT]] += 1
    assert drawn.sum() == 1500 * 4
    assert (abs(drawn - 300) < 90).all()  # More than five standard deviations; margin alone would draw the same 8 always.


def test_audit_items_stand_at_any_place():
    places = set()
    for seed in range(60):
        items = pick(make_pool(np.random.default_rng(0), 30), MARGIN, 10, 0.1, np.random.default_rng(seed))
        places |= {place for place, item in enumerate(items) if item.stream == AUDIT}
    assert places == set(range(10))


def test_an_audit_item_has_the_score_the_strategy_gives_it():
    pool = make_pool(np.random.default_rng(0), 30)
    items = pick(pool, MARGIN, 30, 0.5, np.random.default_rng(1))
    best = pool.exclusive_probabilities
    assert all(abs(item.score - (1 - (best[item.row, 0] - best[item.row, 1]))) < 1e-6 for item in items)


def test_a_batch_of_audit_items_alone_is_possible():
    items = pick(make_pool(np.random.default_rng(0), 30), MARGIN, 10, 1.0, np.random.default_rng(1))
    assert {item.stream for item in items} == {AUDIT}


def test_the_most_wanted_product_of_a_group_is_the_one_asked():
    pool = make_pool(np.random.default_rng(0), 40, groups=["same"] * 40)
    margins = pool.exclusive_probabilities[:, 0] - pool.exclusive_probabilities[:, 1]
    assert [item.row for item in pick(pool, MARGIN, 5, 0.0, np.random.default_rng(1))] == [int(np.argmin(margins))]


def test_products_without_a_group_are_groups_of_their_own():
    pool = make_pool(np.random.default_rng(0), 10, groups=[None] * 5 + [""] * 5)
    assert len(pick(pool, MARGIN, 10, 0.0, np.random.default_rng(1))) == 10


def test_a_reason_names_both_categories_and_their_shares():
    pool = make_pool(np.random.default_rng(0), 1)
    pool.exclusive_probabilities[0, :2] = [0.41, 0.39]
    pool.exclusive_nodes[0, :2] = ["k", "o"]
    names = {"k": "Shoes > Sneakers", "o": "Shoes > Boots"}
    items = pick(pool, MARGIN, 1, 0.0, np.random.default_rng(1), names.__getitem__)
    assert items[0].reason == "torn between Shoes > Sneakers (41 %) and Shoes > Boots (39 %)"


@pytest.mark.parametrize(("batch_size", "audit_share"), [(0, 0.1), (5, -0.1), (5, 1.1)])
def test_a_size_or_share_out_of_range_is_refused(batch_size, audit_share):
    with pytest.raises(SamplingError, match=f"batch_size {batch_size} and audit_share {audit_share}"):
        pick(make_pool(np.random.default_rng(0), 3), MARGIN, batch_size, audit_share, np.random.default_rng(1))


def test_titles_that_are_equal_once_folded_are_asked_once():
    pool = make_pool(np.random.default_rng(0), 6, titles=["t", "t", "u", None, None, "v"])
    asked = [item.row for item in pick(pool, MARGIN, 6, 0.0, np.random.default_rng(1))]
    assert len(asked) == 5
    assert len({0, 1} & set(asked)) == 1


def test_a_title_joins_groups_and_a_group_titles_however_long_the_chain():
    groups, titles = [f"g{i // 2}" for i in range(40)], [f"t{(i + 1) // 2}" for i in range(40)]
    pool = make_pool(np.random.default_rng(0), 40, groups=groups, titles=titles)
    assert len(pick(pool, MARGIN, 40, 0.0, np.random.default_rng(1))) == 1


def test_an_answer_closes_every_product_with_the_same_title():
    pool = make_pool(np.random.default_rng(0), 4, titles=["t", "t", "u", "v"], answered=[True, False, False, False])
    assert {item.row for item in pick(pool, MARGIN, 4, 0.0, np.random.default_rng(1))} == {2, 3}
