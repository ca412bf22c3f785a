"""The contract every sampling strategy keeps, run against every registered one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.sampling.contract import find_strategy, known_strategies
from schemas.errors import SamplingError
from schemas.settings import SamplingSettings
from tests.components.sampling.pools import make_pool

NAMES = tuple(known_strategies())


def numbers_of(groups):
    return np.unique(groups, return_inverse=True)[1]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 30), st.integers(1, 12), st.integers(0, 10**6))
def test_a_selection_is_of_candidates_once_a_group_and_as_many_as_there_are(name, num_products, count, num_groups, seed):
    rng = np.random.default_rng(seed)
    pool = make_pool(rng, num_products)
    groups = rng.integers(0, num_groups, num_products)
    candidates = np.flatnonzero(rng.random(num_products) < 0.7)
    found = find_strategy(name).select(pool, candidates, groups[candidates], count, rng)
    assert found.rows.shape == found.scores.shape
    assert set(found.rows.tolist()) <= set(candidates.tolist())
    assert len(set(groups[found.rows].tolist())) == len(found.rows)
    assert len(found.rows) == min(count, len(set(groups[candidates].tolist())))
    assert (np.diff(found.scores) <= 1e-12).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_selects_the_same(name):
    pool = make_pool(np.random.default_rng(1), 50)
    rows = np.arange(50)
    first, again = (find_strategy(name).select(pool, rows, rows, 10, np.random.default_rng(5)) for _ in range(2))
    assert first.rows.tolist() == again.rows.tolist()
    assert first.scores.tolist() == again.scores.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_equal_scores_are_drawn_fairly(name):
    pool = make_pool(np.random.default_rng(1), 10, equal=True)
    rows, drawn = np.arange(10), np.zeros(10)
    rng = np.random.default_rng(0)
    for _ in range(600):
        drawn[find_strategy(name).select(pool, rows, rows, 2, rng).rows] += 1
    assert drawn.sum() == 1200
    assert (abs(drawn - 120) < 55).all()  # More than five standard deviations.


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_candidates_does_not_decide(name):
    pool = make_pool(np.random.default_rng(2), 40)
    rows = np.arange(40)
    forth = find_strategy(name).select(pool, rows, rows, 40, np.random.default_rng(0))
    back = find_strategy(name).select(pool, rows[::-1], rows[::-1], 40, np.random.default_rng(0))
    if name != "random":
        assert sorted(zip(forth.rows, forth.scores, strict=True)) == sorted(zip(back.rows, back.scores, strict=True))
        assert np.allclose(forth.scores, back.scores)


@pytest.mark.parametrize("name", NAMES)
def test_a_reason_is_one_readable_sentence(name):
    pool = make_pool(np.random.default_rng(3), 5)
    reason = find_strategy(name).reason(pool, 2, lambda node: f"Path of {node}")
    assert reason and "\n" not in reason and "None" not in reason and len(reason) < 300


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_reads_the_columns_it_names(name):
    strategy = find_strategy(name)
    pool = make_pool(np.random.default_rng(3), 20, columns=strategy.columns)
    rows = np.arange(20)
    assert len(strategy.select(pool, rows, rows, 5, np.random.default_rng(0)).rows) == 5
    assert strategy.reason(pool, 0, str)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_scores_that_are_not_finite_are_refused(name):
    pool = make_pool(np.random.default_rng(3), 5)
    pool.exclusive_probabilities[3] = np.nan
    pool.exclusive_entropy[3] = np.nan
    with pytest.raises(SamplingError, match=f"strategy '{name}' gave scores that can't be ranked: nan for row 3"):
        find_strategy(name).select(pool, np.arange(5), np.arange(5), 2, np.random.default_rng(0))


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(SamplingError, match="'margni' is unknown. Set sampling.strategy to one of .*entropy.*margin.*random"):
        find_strategy("margni")


def test_settings_offer_exactly_the_strategies_there_are():
    assert set(SamplingSettings.__dataclass_fields__["strategy"].metadata["choices"]) == set(NAMES)
