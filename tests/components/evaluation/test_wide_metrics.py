"""Tests the wide metrics: values by hand, an independent reimplementation, and properties."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from components.evaluation.wide_metrics import (
    Scores,
    ancestor_table,
    answer_pairs,
    average_precisions,
    calibration_table,
    product_facts,
    summarise,
    wide_metrics,
)
from schemas.errors import EvaluationError
from schemas.taxonomy import Node, Taxonomy
from tests.support.scores import random_scores
from tests.support.shop import shop_taxonomy

TREE = shop_taxonomy()


def reference_scores(taxonomy: Taxonomy, truth: list[str], found: list[str]) -> dict[str, float]:
    """What reference/linear_baseline.py computes, written again from its definition."""
    closure = {node.id: {taxonomy[i].id for i in taxonomy.chain(node.id)} for node in taxonomy}
    shared = sum(len(closure[t] & closure[p]) for t, p in zip(truth, found, strict=True))
    precision = shared / sum(len(closure[p]) for p in found)
    recall = shared / sum(len(closure[t]) for t in truth)
    return {
        "accuracy": float(np.mean([t == p for t, p in zip(truth, found, strict=True)])),
        "hierarchical_f1": 2 * precision * recall / (precision + recall) if shared else 0.0,
        "macro_f1": float(f1_score(truth, found, average="macro", labels=sorted(set(truth)), zero_division=0)),
        "weighted_f1": float(f1_score(truth, found, average="weighted", labels=sorted(set(truth)), zero_division=0)),
    }


def test_values_by_hand():
    tree = Taxonomy([Node("a", "", "A", True), Node("a1", "a", "A1", True), Node("a2", "a", "A2", True), Node("b", "", "B", True)])
    exclusive = np.array([[0.1, 0.8, 0.1, 0.0], [0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]], np.float32)
    scores = Scores(
        answered=np.ones(3, bool),
        true_nodes=np.array([1, 1, 3]),  # a1, a1, b; predicted a1, a2, a
        exclusive=exclusive,
        rule_based=np.array([[0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.1, 0.1], [0.2, 0.1, 0.1, 0.1]], np.float32),
        rule_pairs=np.array([[0, 0], [0, 1]]),
        depths=np.array([2, 2, 1]),
        shops=["x", "x", ""],
        missing={},
    )
    found = wide_metrics(scores, tree)
    head = found["exclusive"]
    assert head["judged"] == 3
    assert head["accuracy"] == pytest.approx(1 / 3)
    assert head["top_5"] == 1.0
    # a1: precision 1, recall 1/2; b: never predicted.
    assert head["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert head["weighted_f1"] == pytest.approx(2 / 3 * 2 / 3)
    # Shared ways: 2 + 1 + 0; predicted 2 + 2 + 1; true 2 + 2 + 1.
    assert head["hierarchical_precision"] == pytest.approx(3 / 5)
    assert head["hierarchical_f1"] == pytest.approx(3 / 5)
    # a1 to a1: 0; a2 to a1: 2 steps; a to b through the root above both: 2 steps.
    assert head["tree_distance"] == pytest.approx(4 / 3)
    assert head["calibration_error"] == pytest.approx((0.2 + 0.6 + 0.7) / 3)
    # People: closure a a1 | a a1 | b; predicted above 0.5: a a1 | a | none.
    assert found["rule_based"]["against_people"]["precision"] == pytest.approx(1.0)
    assert found["rule_based"]["against_people"]["recall"] == pytest.approx(3 / 5)
    assert found["rule_based"]["against_rules"]["f1"] == pytest.approx(1.0)
    assert found["by_depth"]["2"]["accuracy"] == 0.5
    assert found["by_root"]["b"]["accuracy"] == 0.0
    assert found["by_shop"]["x"]["judged"] == 2
    assert found["by_node"]["a1"]["loss"] == pytest.approx(2 / 3 * (1 - 2 / 3))
    assert found["confusions"] == [{"truth": "a1", "predicted": "a2", "count": 1}, {"truth": "b", "predicted": "a", "count": 1}]


@given(seed=st.integers(0, 10_000), count=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_the_main_scores_equal_the_references(seed, count):
    scores = random_scores(TREE, count, seed)
    truth = [TREE[i].id for i in scores.true_nodes]
    found = [TREE.exclusive_ids[k] for k in scores.exclusive.argmax(1)]
    ours = summarise(product_facts(scores, TREE, block_products=7))
    for name, value in reference_scores(TREE, truth, found).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


@given(seed=st.integers(0, 10_000), count=st.integers(0, 40), block=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_the_size_of_a_block_changes_nothing(seed, count, block):
    scores = random_scores(TREE, count, seed, unknown=0.2, answered=0.8)
    whole, blocks = product_facts(scores, TREE), product_facts(scores, TREE, block)
    for name in vars(whole):
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name), err_msg=name)


@given(seed=st.integers(0, 10_000), count=st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_everything_is_json_and_every_share_is_between_0_and_1(seed, count):
    found = wide_metrics(random_scores(TREE, count, seed, unknown=0.3, answered=0.5), TREE)
    json.dumps(found, allow_nan=False)
    for name, value in found["exclusive"].items():
        if name not in ("judged", "tree_distance") and value is not None:
            assert 0 <= value <= 1, name
    assert found["exclusive"]["judged"] == sum(row["judged"] for row in found["by_shop"].values())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_losses_of_the_nodes_add_up_to_the_weighted_f1_that_is_lost(seed):
    found = wide_metrics(random_scores(TREE, 50, seed), TREE)
    assert sum(row["loss"] for row in found["by_node"].values()) == pytest.approx(1 - found["exclusive"]["weighted_f1"])


@given(seed=st.integers(0, 10_000), count=st.integers(2, 200), levels=st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_average_precision_equals_scikit_learns_with_ties_too(seed, count, levels):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, levels, (count, 3)) / levels).astype(np.float32)
    truth = rng.random((count, 3)) < 0.3
    rows = np.flatnonzero(rng.random(count) < 0.8)
    ours = average_precisions(scores, np.argwhere(truth), rows)
    for node in range(3):
        if truth[rows, node].any():
            assert ours[node] == pytest.approx(average_precision_score(truth[rows, node], scores[rows, node]), abs=1e-9)
        else:
            assert np.isnan(ours[node])


def test_a_perfect_model_scores_perfectly():
    truth = np.asarray(TREE.exclusive)
    scores = random_scores(TREE, len(truth), 0)
    closure = np.zeros((len(truth), len(TREE)), np.float32)
    for row, node in enumerate(truth):
        closure[row, TREE.chain(TREE[node].id)] = 1
    scores = Scores(**vars(scores) | {"true_nodes": truth, "exclusive": np.eye(len(truth), dtype=np.float32), "rule_based": closure})
    found = wide_metrics(scores, TREE)
    for name in ("accuracy", "top_5", "macro_f1", "weighted_f1", "hierarchical_f1"):
        assert found["exclusive"][name] == 1.0, name
    assert found["exclusive"]["tree_distance"] == 0 == found["exclusive"]["calibration_error"]
    assert found["rule_based"]["against_people"]["mean_average_precision"] == 1.0
    assert found["confusions"] == []


def test_an_unknown_answer_is_a_mistake_and_one_more_class():
    scores = random_scores(TREE, 2, 0)
    sure = np.zeros_like(scores.exclusive)
    sure[:, 0] = 1
    scores = Scores(**vars(scores) | {"true_nodes": np.array([TREE.exclusive[0], -1]), "exclusive": sure})
    found = summarise(product_facts(scores, TREE))
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["hierarchical_recall"] == 1.0
    assert found["hierarchical_precision"] == 0.5
    assert found["tree_distance"] == 0.0


def test_an_answer_at_a_node_that_is_not_exclusive_never_matches_but_shares_the_way():
    women = TREE.index("women")
    scores = random_scores(TREE, 1, 0)
    sure = np.zeros_like(scores.exclusive)
    sure[0, TREE.exclusive_ids.index("dresses")] = 1
    scores = Scores(**vars(scores) | {"true_nodes": np.array([women]), "exclusive": sure})
    found = summarise(product_facts(scores, TREE))
    assert (found["accuracy"], found["top_5"]) == (0.0, 0.0)
    assert (found["hierarchical_precision"], found["hierarchical_recall"], found["tree_distance"]) == (2 / 3, 1.0, 1.0)


def test_nothing_judged_is_none_and_not_nan():
    found = wide_metrics(random_scores(TREE, 5, 0, answered=0.0), TREE)
    assert found["exclusive"]["judged"] == 0
    assert found["exclusive"]["accuracy"] is None
    assert found["by_depth"] == {} == found["by_shop"]
    assert found["calibration"] == []


def test_products_that_only_rules_know_dont_count_for_the_exclusive_head():
    scores = random_scores(TREE, 40, 3)
    half = np.arange(40) < 20
    part = Scores(**vars(scores) | {"answered": half})
    expected = summarise(product_facts(scores, TREE), half)
    assert summarise(product_facts(part, TREE)) == expected


def test_a_calibration_bin_holds_its_upper_end():
    rows = calibration_table(np.array([1 / 15, 0.5, 1.0]), np.array([True, False, True]))
    assert [(round(row["from"] * 15), row["products"], row["accuracy"]) for row in rows] == [(0, 1, 1.0), (7, 1, 0.0), (14, 1, 1.0)]


def test_ancestors_are_padded_and_the_last_row_is_no_node():
    table = ancestor_table(TREE)
    assert table.shape == (len(TREE) + 1, 3)
    assert table[TREE.index("rubber-boots")].tolist() == TREE.chain("rubber-boots")
    assert (table[-1] == -1).all()


def test_answer_pairs_are_the_closure_of_the_answers():
    scores = random_scores(TREE, 10, 1, unknown=0.3, answered=0.7)
    pairs = answer_pairs(product_facts(scores, TREE), TREE)
    expected = {
        (row, node)
        for row in range(10)
        if scores.answered[row] and scores.true_nodes[row] >= 0
        for node in TREE.chain(TREE[int(scores.true_nodes[row])].id)
    }
    assert set(map(tuple, pairs.tolist())) == expected


def test_scores_of_another_tree_are_refused():
    scores = random_scores(TREE, 3, 0)
    other = Taxonomy([Node("only", "", "Only", True)])
    with pytest.raises(EvaluationError, match=r"exclusive has the shape \[3, 8\], expected \[3, 1\]"):
        product_facts(scores, other)
    with pytest.raises(EvaluationError, match="node number below 9, found 9"):
        product_facts(Scores(**vars(scores) | {"true_nodes": np.array([0, 9, 1])}), TREE)
