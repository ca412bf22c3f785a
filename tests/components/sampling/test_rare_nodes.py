"""The hunt for nodes without answers, and the counting it shares with balanced margin."""

import numpy as np

from components.sampling.batch import pick
from components.sampling.contract import find_strategy
from components.sampling.nodes import answers_by_node, node_codes
from components.sampling.rare_nodes import RareNodes
from tests.components.sampling.pools import make_pool


def make_rows(guesses, answers=None, groups=None):
    """Returns a pool of two guesses a product, given as (node, probability, node, probability)."""
    pool = make_pool(np.random.default_rng(0), len(guesses), num_nodes=2, answers=answers, groups=groups)
    pool.exclusive_nodes[:] = np.array([[a, b] for a, _, b, _ in guesses], dtype=object)
    pool.exclusive_probabilities[:] = [[p, q] for _, p, _, q in guesses]
    return pool


def test_a_node_without_answers_asks_about_its_likeliest_product_even_as_a_second_guess():
    guesses = [("a", 0.9, "b", 0.1), ("a", 0.8, "b", 0.2), ("a", 0.7, "c", 0.05), ("a", 0.99, "d", 0.01)]
    pool = make_rows([*guesses, ("a", 1.0, "d", 0.0)], [None] * 4 + ["a"])
    items = pick(pool, RareNodes(share=1.0), 3, 0.0, np.random.default_rng(0), lambda node: f"Path {node}")
    assert [item.row for item in items] == [1, 2, 3]
    assert [round(item.score, 2) for item in items] == [1.2, 1.05, 1.01]
    assert items[0].reason == "may be Path b (20 %), which has no answer yet; the best guess is Path a (80 %)"


def test_the_hunt_has_a_share_of_the_batch_and_balanced_margin_the_rest():
    guesses = [("a", 0.9, node, 0.1) for node in "bcdefg"] + [("a", 0.5, "a2", 0.5)] * 6
    pool = make_rows(guesses, [None] * 11 + ["a2"])
    items = pick(pool, find_strategy("rare_nodes"), 6, 0.0, np.random.default_rng(0))
    assert [("no answer yet" in item.reason, "torn between" in item.reason) for item in items] == [(True, False)] * 3 + [(False, True)] * 3
    assert all(item.row >= 6 for item in items[3:])


def test_a_node_asks_once_and_what_the_hunt_leaves_over_is_balanced_margins():
    pool = make_rows([("a", 0.9, "b", 0.1)] * 9 + [("a", 1.0, "b", 0.0)], [None] * 9 + ["a"])
    items = pick(pool, RareNodes(share=1.0), 5, 0.0, np.random.default_rng(0))
    assert ["no answer yet" in item.reason for item in items] == [True] + [False] * 4


def test_answers_of_near_duplicates_count_once():
    pool = make_rows([("a", 0.6, "b", 0.4)] * 4, ["b", "b", "b", None], groups=["g", "g", "h", "i"])
    assert answers_by_node(pool, ["a", "b"]).tolist() == [0, 2]


def test_a_best_guess_stands_in_where_nobody_says_the_node():
    pool = make_pool(np.random.default_rng(0), 3, answered=[True, False, False], columns=("exclusive_nodes",))
    assert answers_by_node(pool, [pool.exclusive_nodes[0, 0]]).tolist() == [1]


def test_numbers_of_nodes_go_by_their_ids_not_by_who_comes_first():
    names, codes = node_codes(np.array([["z", "a"], ["m", "z"]], dtype=object))
    assert (names, codes.tolist()) == (["a", "m", "z"], [[2, 0], [1, 2]])
