"""A batch limited to a subtree or a shop asks there alone, says so, and its audit is a fair sample of there."""

import numpy as np
import pytest

from components.sampling.batch import AUDIT, STRATEGY, columns_for, pick
from components.sampling.contract import find_strategy
from components.sampling.target import Target, make_target
from schemas.errors import SamplingError, SettingsError
from tests.components.sampling.pools import make_pool
from tests.components.toy_pool import TREE

MARGIN = find_strategy("margin")
SHOES = make_target(TREE, "Shoes")
SHOPS = ["Acme", "ünïco", None, "Brix"]


def make_shops(count=80, best=("s", "k", "o", "h"), seed=0):
    pool = make_pool(np.random.default_rng(seed), count, shops=[SHOPS[i % 4] for i in range(count)])
    pool.exclusive_nodes[:, 0] = [best[i // 4 % len(best)] for i in range(count)]
    return pool


def draw(pool, target, size=20, share=0.2, seed=0):
    return pick(pool, MARGIN, size, share, np.random.default_rng(seed), target=target)


def test_a_subtree_is_its_node_and_all_below():
    assert make_target(TREE, "Shoes") == Target(frozenset({"s", "k", "o"}), "Shoes")
    assert make_target(TREE, "o") == Target(frozenset({"o"}), "Shoes > Boots") == make_target(TREE, "Shoes > Boots")
    assert make_target(TREE) == Target()


def test_only_products_whose_best_guess_is_in_the_subtree_are_asked():
    pool = make_shops()
    items = draw(pool, SHOES, size=100)
    assert {item.row for item in items} == {row for row in range(80) if pool.exclusive_nodes[row, 0] != "h"}


@pytest.mark.parametrize("name", ["ünïco", "UNICO"])
def test_only_products_of_the_shop_are_asked_whatever_its_case(name):
    assert {item.row % 4 for item in draw(make_shops(), make_target(TREE, "", name), size=100)} == {1}


def test_both_limit_together_and_reasons_say_so():
    items = draw(make_shops(), make_target(TREE, "s", "Acme"), size=10)
    assert {item.stream for item in items} == {AUDIT, STRATEGY}
    assert all("within Shoes, shop Acme" in item.reason for item in items)
    assert all(item.reason.endswith("(within Shoes, shop Acme)") for item in items if item.stream == STRATEGY)


def test_without_a_target_no_reason_speaks_of_one():
    assert not any("within" in item.reason for item in draw(make_shops(), Target()))


def test_the_audit_is_drawn_evenly_from_the_target():
    pool, drawn = make_shops(40), np.zeros(40)
    for seed in range(900):
        drawn[[item.row for item in draw(pool, SHOES, 8, 0.5, seed) if item.stream == AUDIT]] += 1
    inside = pool.exclusive_nodes[:, 0] != "h"
    expected = 900 * 4 / inside.sum()
    assert drawn[~inside].sum() == 0
    assert (abs(drawn[inside] - expected) < 60).all()  # More than five standard deviations.


def test_an_unknown_node_is_refused_with_the_closest():
    with pytest.raises(SettingsError, match=r"sampling.subtree 'Shoes > Boot' isn't a node. Did you mean 'Shoes > Boots'"):
        make_target(TREE, "Shoes > Boot")


def test_an_unknown_shop_is_refused_with_those_there_are():
    with pytest.raises(SamplingError, match=r"sampling.shop 'acne': the pool has no product of this shop. Name one of Acme, Brix, ünïco"):
        draw(make_shops(), make_target(TREE, "", "acne"))


def test_a_target_whose_products_are_all_answered_gives_an_empty_batch():
    pool = make_shops()
    pool.answered[pool.exclusive_nodes[:, 0] != "h"] = True
    assert draw(pool, SHOES) == []


def test_a_pool_read_without_the_shops_says_which_column_it_lacks():
    with pytest.raises(SamplingError, match="read without shop"):
        draw(make_pool(np.random.default_rng(0), 5), make_target(TREE, "", "Acme"))


def test_the_columns_of_a_target_are_read_with_those_of_the_strategy():
    assert {"shop", "exclusive_nodes", "title_key"} <= set(columns_for(find_strategy("random"), make_target(TREE, "s", "Acme")))
    assert "shop" not in columns_for(find_strategy("random"))
