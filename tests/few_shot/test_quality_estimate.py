"""Quality from audit answers: who is counted, judged by what, at which depth, of which version."""

import numpy as np
import pytest

from few_shot.quality_estimate import RIGHT, estimate_quality, quality_by_answers, read_audit_answers
from schemas.label_event import CANNOT_TELL, IS, NOT, RETRACT, SKIP, UNDER, LabelEvent
from schemas.taxonomy import Node, Taxonomy

TREE = Taxonomy(
    [
        Node("shoes", "", "Shoes", False),
        Node("boots", "shoes", "Boots", True),
        Node("sneakers", "shoes", "Sneakers", True),
        Node("bags", "", "Bags", True),
        Node("trainers", "shoes", "Trainers", False, replaced_by="sneakers"),
    ]
)


def event(number, said, answer, version=7, stream="audit", kind=IS, **more):
    """Returns an answer to a product of its own."""
    shown = {"stream": stream, "version": version, "suggestions": [said, "bags"] if said else []}
    return LabelEvent(f"e{number}", number, "ann", f"p{number}", kind, answer, shown=shown, **more)


def test_a_share_is_of_audit_answers_alone_and_by_depth_of_agreement():
    events = [event(1, "boots", "boots"), event(2, "boots", "sneakers"), event(3, "bags", "bags"), event(4, "shoes", "boots")]
    found = estimate_quality(read_audit_answers([*events, event(5, "bags", "boots", stream="strategy")], TREE))
    assert (found.at_answer.value, found.at_answer.judged) == (0.5, 4)
    assert {depth: (share.value, share.judged) for depth, share in found.by_depth.items()} == {1: (1.0, 4), 2: (1 / 3, 3)}
    assert found.at_answer.low < 0.5 < found.at_answer.high


def test_a_retracted_answer_does_not_count_and_a_replaced_node_is_what_replaced_it():
    taken_back = LabelEvent("r", 9, "ann", "p1", RETRACT, retracts="e1")
    answers = read_audit_answers([event(1, "boots", "bags"), event(2, "trainers", "sneakers"), taken_back], TREE)
    assert answers.verdicts[:, 0].tolist() == [RIGHT]


def test_a_denied_suggestion_is_a_mistake():
    events = [event(number, "boots", "boots", kind=NOT if number % 2 else IS) for number in range(200)]
    found = estimate_quality(read_audit_answers(events, TREE))
    assert (found.at_answer.value, found.at_answer.judged, found.undecided) == (0.5, 200, 0)


def test_a_denial_does_not_say_how_deep_the_true_node_is():
    found = estimate_quality(read_audit_answers([event(1, "bags", "bags"), event(2, "bags", "bags", kind=NOT)], TREE))
    assert (found.at_answer.value, found.by_depth[1].value) == (0.5, 0.5)
    # It is boots or sneakers, two deep, so bags are wrong there; but boots denied may be bags, one deep.
    assert (found.by_depth[2].value, found.by_depth[2].judged) == (0.0, 1)
    denied = estimate_quality(read_audit_answers([event(1, "boots", "boots", kind=NOT)], TREE))
    assert (denied.at_answer.value, denied.by_depth[2].value, denied.by_depth[2].high) == (0.0, 0.5, 1.0)
    assert (denied.undecided, denied.undecided_by_depth) == (0, {1: 1, 2: 1})


def test_an_answer_that_leaves_nodes_open_judges_as_far_as_it_goes():
    elsewhere, inside = event(1, "bags", "shoes", kind=UNDER), event(2, "boots", "shoes", kind=UNDER)
    found = estimate_quality(read_audit_answers([elsewhere, inside], TREE))
    assert (found.at_answer.value, found.undecided) == (0.25, 1)  # One is wrong, the other may be right.
    assert {depth: share.value for depth, share in found.by_depth.items()} == {1: 0.5, 2: 0.25}
    worst, best = (estimate_quality(read_audit_answers([elsewhere, event(2, "boots", node)], TREE)) for node in ("sneakers", "boots"))
    assert (found.at_answer.low, found.at_answer.high) == (worst.at_answer.low, best.at_answer.high)


def test_several_answers_about_a_product_judge_it_together():
    first = event(1, "sneakers", "shoes", kind=UNDER)
    later = LabelEvent("e2", 2, "bob", "p1", NOT, "boots")
    assert read_audit_answers([first, later], TREE).verdicts[:, 0].tolist() == [RIGHT]


def test_a_denial_that_somebody_follows_up_outside_the_audit_stays_a_mistake_of_the_audit():
    denied, named = event(1, "boots", "boots", kind=NOT), LabelEvent("e2", 2, "bob", "p1", IS, "bags")
    found = estimate_quality(read_audit_answers([denied, named], TREE))
    assert (found.at_answer.value, found.at_answer.judged, found.undecided) == (0.0, 1, 0)
    assert [(each.answers, each.right.value) for each in quality_by_answers([denied, named], TREE)] == [(0, 0.0)]


def test_a_skip_hides_neither_an_answer_nor_the_suggestion_it_was_about():
    events = [event(1, "boots", "", kind=SKIP, version=1), LabelEvent("e2", 2, "ann", "p1", IS, "bags", shown=event(2, "bags", "").shown)]
    found = estimate_quality(read_audit_answers(events, TREE))
    assert (found.versions, found.at_answer.value) == ((7,), 1.0)


def test_what_cannot_be_judged_is_counted_by_why():
    events = [event(1, "boots", "", kind=CANNOT_TELL), event(2, "", "boots"), event(3, "gone", "boots"), event(4, "boots", "gone")]
    answers = read_audit_answers(events, TREE)
    assert answers.left_out == {"cannot_tell": 1, "nothing suggested": 1, "node not in the tree": 2}
    found = estimate_quality(answers)
    assert (found.versions, found.at_answer.judged, found.by_depth) == ((), 0, {})


@pytest.mark.parametrize(
    "shown", [{"suggestions": "boots"}, {"suggestions": [3]}, {"suggestions": [{"node_id": 1}]}, {"suggestions": [[]]}]
)
def test_odd_things_shown_are_left_out(shown):
    odd = LabelEvent("e", 1, "ann", "p", IS, "boots", shown={"stream": "audit", "version": "x", **shown})
    assert read_audit_answers([odd], TREE).left_out == {"nothing suggested": 1}


def test_earlier_versions_join_only_until_there_are_enough_answers():
    events = [event(number, "boots" if number % 2 else "bags", "boots", version=1 + number // 100) for number in range(300)]
    answers = read_audit_answers(events, TREE)
    assert estimate_quality(answers, enough=50).versions == (3,)
    assert estimate_quality(answers, enough=150).versions == (3, 2)
    assert estimate_quality(answers, enough=1000).versions == (3, 2, 1)
    assert [share.judged for share in estimate_quality(answers).by_version.values()] == [100, 100, 100]


def test_an_audit_of_a_pool_tells_its_quality_where_a_sampler_cannot():
    rng = np.random.default_rng(0)
    hard = rng.random(4000) < 0.3
    right = np.where(hard, rng.random(4000) < 0.4, rng.random(4000) < 0.98)
    asked = np.r_[rng.permutation(4000)[:200], rng.permutation(np.flatnonzero(hard))[:800]]
    streams = ["audit"] * 200 + ["strategy"] * 800
    events = [event(number, "boots" if right[row] else "bags", "boots", stream=streams[number]) for number, row in enumerate(asked)]
    share = estimate_quality(read_audit_answers(events, TREE)).at_answer
    assert share.low < right.mean() < share.high
    assert abs(share.value - right.mean()) < 0.06 < abs(right[asked].mean() - right.mean())


def test_weights_stand_for_the_offers_of_a_group():
    answers = read_audit_answers([event(1, "boots", "boots"), event(2, "bags", "boots")], TREE)
    assert estimate_quality(answers, np.array([9.0, 1.0])).at_answer.value == pytest.approx(0.9)


def test_offers_of_one_group_count_as_one_in_the_interval():
    alone = [event(number, "boots", "boots") for number in range(5)]
    together = [event(number, "boots", "boots", group=f"g{number % 5}") for number in range(50)]
    first, second = (estimate_quality(read_audit_answers(each, TREE)).at_answer for each in (alone, together))
    assert second.low == pytest.approx(first.low)
