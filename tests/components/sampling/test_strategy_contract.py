"""The contract every sampling strategy keeps, run against every registered one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.sampling.batch import pick
from components.sampling.contract import find_strategy, known_strategies
from components.scored_pool import COMMITTEE_NODES, EMBEDDING, EXCLUSIVE_NODES
from schemas.errors import SamplingError
from schemas.product import ANSWER_NODE
from schemas.settings import SamplingSettings
from tests.components.sampling.pools import ATTRIBUTES, make_pool, reordered

NAMES = tuple(known_strategies())
BY_SCORES = tuple(name for name in NAMES if name != "random")
# One node alone can't be torn.
OF_TWO_NODES = {"margin", "balanced_margin", "information_density", "gradient_kmeans", "rare_nodes", "typical_then_margin"}


def select(name, pool, count=10, seed=0):
    rows = np.flatnonzero(~pool.answered)
    return find_strategy(name).select(pool, rows, rows, count, np.random.default_rng(seed))


def check_sound(found, candidates, groups, count):
    """A selection is of candidates, once a group, as many as there are, finite and never rising."""
    assert found.rows.shape == found.scores.shape
    assert len(found.notes) in (0, len(found.rows))
    assert set(found.rows.tolist()) <= set(candidates.tolist())
    assert len(set(groups[found.rows].tolist())) == len(found.rows) == min(count, len(set(groups[candidates].tolist())))
    assert np.isfinite(found.scores).all()
    assert (np.diff(found.scores) <= 1e-12).all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(0, 30), st.integers(1, 12), st.integers(0, 10**6), st.booleans())
def test_a_selection_is_of_candidates_once_a_group_and_as_many_as_there_are(name, num_products, count, num_groups, seed, equal):
    rng = np.random.default_rng(seed)
    pool = make_pool(rng, num_products, equal=equal, answers=rng.choice([None, None, "n1", "left the tree"], num_products))
    groups = rng.integers(0, num_groups, num_products)
    candidates = np.flatnonzero(rng.random(num_products) < 0.7)
    found = find_strategy(name).select(pool, candidates, groups[candidates], count, rng)
    check_sound(found, candidates, groups, count)


@pytest.mark.parametrize("name", NAMES)
def test_a_pool_without_products_gives_nothing(name):
    assert len(select(name, make_pool(np.random.default_rng(0), 0)).rows) == 0
    assert pick(make_pool(np.random.default_rng(0), 0), find_strategy(name), 5, 0.2, np.random.default_rng(0)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_only_candidate_is_the_one_asked(name):
    found = select(name, make_pool(np.random.default_rng(0), 1))
    assert found.rows.tolist() == [0] and np.isfinite(found.scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_pools_that_keep_one_node_are_asked_about_or_refused_with_the_way_out(name):
    pool = make_pool(np.random.default_rng(0), 12, top_k=1)
    if name in OF_TWO_NODES:
        with pytest.raises(SamplingError, match="expected 2 nodes or more. Set scoring.top_k to 2"):
            select(name, pool)
    else:
        rows = np.arange(12)
        check_sound(select(name, pool), rows, rows, 10)
        assert find_strategy(name).reason(pool, 3, str)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_selects_the_same(name):
    pool = make_pool(np.random.default_rng(1), 50)
    first, again = (select(name, pool, seed=5) for _ in range(2))
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
def test_the_order_of_the_feed_decides_nothing(name):
    pool = make_pool(np.random.default_rng(2), 60, answers=["n0"] * 4 + [None] * 56)
    order = np.random.default_rng(9).permutation(60)
    asked = []
    for found in (pool, reordered(pool, order)):
        items = pick(found, find_strategy(name), 12, 0.25, np.random.default_rng(4))
        asked.append([(found.product_ids[item.row], item.stream, round(item.score, 9), item.reason) for item in items])
    assert asked[0] == asked[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_reason_is_one_readable_sentence_that_names_a_node(name):
    pool = make_pool(np.random.default_rng(3), 40)
    items = pick(pool, find_strategy(name), 10, 0.0, np.random.default_rng(0), lambda node: f"Path of {node}")
    alone = find_strategy(name).reason(pool, 2, lambda node: f"Path of {node}")
    for reason in (alone, *(item.reason for item in items)):
        assert reason and "\n" not in reason and "None" not in reason and len(reason) < 300
        assert name == "random" or "Path of n" in reason  # Chance has no node to name.


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_reads_the_columns_it_names(name):
    strategy = find_strategy(name)
    pool = make_pool(np.random.default_rng(3), 20, columns=strategy.columns)
    rows = np.arange(20)
    assert len(strategy.select(pool, rows, rows, 5, np.random.default_rng(0)).rows) == 5
    assert strategy.reason(pool, 0, str)


def missing_columns():
    """Every column a strategy can't do without: best guesses stand in for the nodes of answers."""
    return [(name, column) for name in NAMES for column in find_strategy(name).columns if column != ANSWER_NODE]


@pytest.mark.parametrize(("name", "column"), missing_columns())
def test_a_column_that_is_missing_is_named_in_one_line(name, column):
    strategy = find_strategy(name)
    pool = make_pool(np.random.default_rng(3), 20, columns=[found for found in strategy.columns if found != column])
    with pytest.raises(SamplingError, match=f"the scored pool was read without {ATTRIBUTES.get(column, column)}") as caught:
        select(name, pool)
        strategy.reason(pool, 0, str)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BY_SCORES)
def test_scores_that_are_not_finite_are_refused(name):
    pool = make_pool(np.random.default_rng(3), 5)
    pool.exclusive_probabilities[3] = np.nan
    pool.exclusive_entropy[3] = np.nan
    pool.committee_probabilities[3] = np.nan
    pool.embeddings[3] = np.nan
    with pytest.raises(SamplingError, match=f"strategy '{name}' gave scores that can't be ranked: nan for row 3"):
        select(name, pool, 2)


@pytest.mark.parametrize("name", [name for name in NAMES if EMBEDDING in find_strategy(name).columns])
def test_vectors_that_are_not_finite_are_refused(name):
    pool = make_pool(np.random.default_rng(3), 12)
    pool.embeddings[3] = np.nan
    with pytest.raises(SamplingError, match=f"strategy '{name}' gave scores that can't be ranked: nan for row 3"):
        select(name, pool, 11 if name == "gradient_kmeans" else 2)


@pytest.mark.parametrize("name", [name for name in NAMES if EMBEDDING in find_strategy(name).columns])
def test_products_without_a_vector_are_asked_like_any_other(name):
    pool = make_pool(np.random.default_rng(3), 30)
    pool.embeddings[:10] = 0.0
    rows = np.arange(30)
    check_sound(select(name, pool, 25), rows, rows, 25)


@pytest.mark.parametrize("name", [name for name in NAMES if EXCLUSIVE_NODES in find_strategy(name).columns])
def test_nodes_that_only_one_product_names_harm_nothing(name):
    pool = make_pool(np.random.default_rng(3), 30)
    pool.exclusive_nodes[:, :] = [[f"{row}-{rank}" for rank in range(6)] for row in range(30)]
    rows = np.arange(30)
    check_sound(select(name, pool, 25), rows, rows, 25)


@pytest.mark.parametrize("name", [name for name in NAMES if COMMITTEE_NODES in find_strategy(name).columns])
@pytest.mark.parametrize("members", [0, 1])
def test_a_pool_without_a_committee_is_refused_with_the_way_out(name, members):
    pool = make_pool(np.random.default_rng(3), 20)
    small = dataclasses.replace(
        pool, committee_nodes=pool.committee_nodes[:, :members], committee_probabilities=pool.committee_probabilities[:, :members]
    )
    with pytest.raises(SamplingError, match=f"'{name}' needs a committee of 2 models or more.*Set scoring.committee"):
        select(name, small)


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(SamplingError, match="'margni' is unknown. Set sampling.strategy to one of .*entropy.*margin.*random"):
        find_strategy("margni")


def test_settings_offer_exactly_the_strategies_there_are():
    assert set(SamplingSettings.__dataclass_fields__["strategy"].metadata["choices"]) == set(NAMES)
