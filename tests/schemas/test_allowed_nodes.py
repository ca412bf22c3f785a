"""What answers leave of a tree is what their sets of nodes have in common."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.allowed_nodes import AllowedNodes, TreeRanges, narrowed
from schemas.label_event import LabelEvent
from schemas.taxonomy import Node, Taxonomy

# Inner nodes that may be an answer and others that may not, roots among both; a chain with one exclusive node at its end.
TREE = Taxonomy(
    [
        Node("a", "", "A", False), Node("a1", "a", "A1", True), Node("a2", "a", "A2", True), Node("a2x", "a2", "A2X", True),
        Node("a2y", "a2", "A2Y", False), Node("a2yz", "a2y", "A2YZ", True), Node("b", "", "B", True), Node("c", "", "C", False),
        Node("c1", "c", "C1", False), Node("c1x", "c1", "C1X", True),
    ]
)  # fmt: skip
RANGES = TreeRanges(TREE)


def meant(kind, node):
    """Returns the exclusive nodes an answer leaves, one by one."""
    below = {i for i in TREE.exclusive if node in TREE.chain(TREE[i].id)}
    return {"is": {node} & set(TREE.exclusive), "under": below, "not": set(TREE.exclusive) - below}[kind]


def left(allowed):
    return set() if allowed is None else {node for node in TREE.exclusive if RANGES.holds(allowed, node)}


answers = st.tuples(st.sampled_from(["is", "under", "not"]), st.integers(0, len(TREE) - 1)).filter(
    lambda answer: answer[0] != "is" or answer[1] in TREE.exclusive
)


@given(answers)
def test_one_answer_leaves_what_it_says(answer):
    assert left(RANGES.said(*answer)) == meant(*answer)


@given(st.lists(answers, min_size=1, max_size=5))
def test_several_answers_leave_what_they_have_in_common(several):
    said = [RANGES.said(*answer) for answer in several]
    common = functools.reduce(set.intersection, [meant(*answer) for answer in several])
    together = functools.reduce(lambda one, other: None if one is None or other is None else RANGES.both(one, other), said)
    assert left(together) == common
    if len(common) == 1:
        assert together == AllowedNodes(common.pop())
    if len(common) > 1:
        assert together.node == -1


@given(st.lists(answers, min_size=1, max_size=6))
def test_of_contradicting_answers_the_latest_count_and_something_is_always_left(several):
    usable = [(LabelEvent(f"e{k}", k, "ann", "p", answer[0], "n"), RANGES.said(*answer)) for k, answer in enumerate(several)]
    usable = [(event, allowed) for event, allowed in usable[::-1] if allowed is not None]
    found = narrowed(usable, RANGES)
    assert len(found.events) + found.contradicted == len(usable)
    if usable:
        assert found.events[0] == usable[0][0]
        assert left(found.allowed) == functools.reduce(set.intersection, [left(allowed) for e, allowed in usable if e in found.events])
        assert left(found.allowed)


def test_an_answer_that_leaves_nothing_is_none():
    one_root = TreeRanges(Taxonomy([Node("a", "", "A", True), Node("b", "a", "B", True)]))
    assert one_root.said("not", 0) is None


@pytest.mark.parametrize("node", ["c", "c1"])
def test_a_subtree_with_one_node_to_answer_is_that_node(node):
    assert RANGES.said("under", TREE.index(node)) == AllowedNodes(TREE.index("c1x"))
