"""Proves the counts, conflicts and intervals of the rule report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.rule_matching import RuleMatcher
from components.rule_report import PairCounts, RuleCounts, deepest_nodes, rule_report, wilson_interval
from schemas.rules import Rule
from schemas.taxonomy import Node, Taxonomy

TREE = Taxonomy(
    [Node("s", "", "Shoes", True), Node("k", "s", "Sneakers", True), Node("b", "s", "Boots", True), Node("t", "", "Toys", True)]
)
RULES = [
    Rule("shoe", "s", "title", "shoe"), Rule("sneaker", "k", "title", "sneaker"), Rule("boot", "b", "title", "boot"),
    Rule("toy", "t", "title", "toy"), Rule("no", "s", "title", "doll", veto=True),
]  # fmt: skip
MATCHER = RuleMatcher(RULES, TREE)


def counted(*products):
    counts = RuleCounts(len(RULES))
    for title, answer in products:
        fired = MATCHER.fired({"title": title})
        counts.add(MATCHER, fired, MATCHER.standing(fired), None if answer is None else TREE.index(answer))
    return counts


def report(*products):
    made = rule_report(counted(*products), RULES, TREE, {})
    return made, {row["rule_id"]: row for row in made["rules"]}


def test_coverage_counts_products_that_a_rule_puts_somewhere():
    made, rows = report(("shoe", None), ("doll shoe", None), ("doll", None), ("car", None))
    assert (made["products"], made["covered"], made["coverage"]) == (4, 1, 0.25)
    assert (rows["shoe"]["matches"], rows["shoe"]["vetoed"], rows["no"]["matches"], rows["no"]["vetoed"]) == (2, 1, 2, 0)


def test_only_counts_products_no_other_rule_covers():
    _, rows = report(("shoe", None), ("shoe sneaker", None), ("toy doll", None))
    assert (rows["shoe"]["only"], rows["sneaker"]["only"], rows["toy"]["only"]) == (1, 0, 1)


def test_a_conflict_is_two_nodes_of_which_neither_contains_the_other():
    made, _ = report(("shoe sneaker", None), ("sneaker boot", None), ("shoe toy", None), ("shoe sneaker boot toy", None))
    assert made["conflicts"] == 3
    assert made["conflicting_nodes"][0] == {"nodes": ["k", "b"], "paths": ["Shoes > Sneakers", "Shoes > Boots"], "products": 2}


def test_a_vetoed_match_makes_no_conflict():
    made, _ = report(("shoe toy doll", None))
    assert made["conflicts"] == 0


def test_a_rule_is_right_where_the_answer_lies_in_its_subtree():
    _, rows = report(("shoe", "k"), ("shoe", "s"), ("shoe", "t"), ("shoe", None), ("sneaker", "s"))
    assert (rows["shoe"]["judged"], rows["shoe"]["right"], rows["shoe"]["precision"]) == (3, 2, 0.6667)
    assert (rows["sneaker"]["judged"], rows["sneaker"]["right"]) == (1, 0)
    assert (rows["toy"]["judged"], rows["toy"]["precision"], rows["toy"]["precision_low"], rows["toy"]["precision_high"]) == (
        0,
        None,
        0.0,
        1.0,
    )


def test_a_veto_is_right_where_the_answer_lies_outside():
    _, rows = report(("doll shoe", "t"), ("doll shoe", "k"))
    assert (rows["no"]["judged"], rows["no"]["right"]) == (2, 1)
    assert rows["shoe"]["judged"] == 0


def test_overlaps_name_the_rules_that_fire_together_most_often_first():
    _, rows = report(("shoe sneaker", None), ("shoe sneaker", None), ("shoe toy", None))
    assert rows["shoe"]["overlaps"] == [{"rule_id": "sneaker", "products": 2}, {"rule_id": "toy", "products": 1}]
    assert rows["boot"]["overlaps"] == []


def test_nothing_at_all_has_no_coverage_rather_than_a_division_by_zero():
    made, _ = report()
    assert made["coverage"] is None


titles = st.lists(st.sampled_from(["shoe", "sneaker", "boot", "toy", "doll", "car"]), max_size=4).map(" ".join)
answered = st.lists(st.tuples(titles, st.sampled_from([None, *TREE.ids])), max_size=12)


@given(answered, answered)
def test_counts_of_parts_merge_to_the_counts_of_the_whole(first, second):
    merged = counted(*first)
    merged.merge(counted(*second))
    assert rule_report(merged, RULES, TREE, {}) == rule_report(counted(*first, *second), RULES, TREE, {})


@given(st.sets(st.integers(0, 3)))
def test_deepest_nodes_contain_none_of_the_others(nodes):
    naive = [a for a in sorted(nodes) if not any(b != a and b in TREE.subtree(TREE[a].id) for b in nodes)]
    assert deepest_nodes(nodes, TREE.subtree_ends) == naive


@pytest.mark.parametrize(
    ("right", "judged", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (50, 100, 0.4038, 0.5962)]
)
def test_the_interval_is_wilsons(right, judged, low, high):
    assert wilson_interval(right, judged) == pytest.approx((low, high), abs=5e-5)


def test_too_many_pairs_forget_the_rarest_and_say_so():
    pairs = PairCounts(max_pairs=10)
    for _ in range(5):
        pairs.add([1, 2])
    for other in range(3, 40):
        pairs.add([1, other])
    assert pairs.items()[0] == ((1, 2), 5)
    assert len(pairs.items()) <= 10
    assert not pairs.exact
