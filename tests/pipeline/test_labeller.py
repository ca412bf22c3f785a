"""The simulated labeller answers what it knows, errs as often as told, and repeats itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.demo.labeller import SimulatedLabeller, broader_nodes
from schemas.errors import LabelError
from schemas.label_event import IS, NOT, UNDER, parse_label_event
from schemas.taxonomy import Node, Taxonomy

TRUTH = {f"p{number}": f"n{number % 7}" for number in range(1000)}


def items(count=1000, **more):
    return [{"product_id": f"p{number}", **more} for number in range(count)]


def test_every_answer_is_right_where_no_answer_may_be_wrong():
    events = list(SimulatedLabeller(TRUTH).answer(items(), "b", 0))
    assert [(event.kind, event.node_id) for event in events] == [("is", TRUTH[event.product_id]) for event in events]


def test_a_product_without_a_truth_cannot_be_told():
    (event,) = SimulatedLabeller(TRUTH).answer([{"product_id": "stranger"}], "b", 0)
    assert (event.kind, event.node_id) == ("cannot_tell", "")


def test_a_labeller_asked_for_yes_or_no_says_what_it_is_not():
    shown = [item | {"suggestions": [{"node_id": "n3"}, {"node_id": "n4"}]} for item in items()]
    events = list(SimulatedLabeller(TRUTH, yes_or_no_rate=1.0).answer(shown, "b", 0))
    expected = [(IS, "n3") if TRUTH[event.product_id] == "n3" else (NOT, "n3") for event in events]
    assert [(event.kind, event.node_id) for event in events] == expected
    half = [event.kind for event in SimulatedLabeller(TRUTH, yes_or_no_rate=0.5).answer(shown, "b", 0)]
    assert 380 < half.count(NOT) < 480  # Half of the six in seven.


def test_a_labeller_that_is_shown_no_suggestion_denies_nothing():
    assert {event.kind for event in SimulatedLabeller(TRUTH, yes_or_no_rate=1.0).answer(items(), "b", 0)} == {IS}


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_as_many_answers_are_wrong_as_told(rate):
    events = list(SimulatedLabeller(TRUTH, wrong_answer_rate=rate, seed=3).answer(items(), "b", 0))
    wrong = sum(event.node_id != TRUTH[event.product_id] for event in events)
    assert abs(wrong / len(events) - rate) < 0.05
    assert all(event.node_id in set(TRUTH.values()) for event in events)


def test_a_wrong_answer_is_often_a_suggestion_that_was_shown():
    shown = items(suggestions=[{"node_id": "tempting", "path": "Tempting", "probability": 0.4}])
    events = list(SimulatedLabeller(TRUTH, wrong_answer_rate=1.0).answer(shown, "b", 0))
    assert 0.6 < sum(event.node_id == "tempting" for event in events) / len(events) < 0.8


@given(st.integers(0, 2**31), st.permutations([f"p{number}" for number in range(12)]))
def test_a_product_gets_the_same_answer_in_any_order_and_any_batch(seed, order):
    labeller = SimulatedLabeller(TRUTH, wrong_answer_rate=0.5, seed=seed)
    answers = {event.product_id: event.node_id for event in labeller.answer(items(12), "one", 0)}
    again = {event.product_id: event.node_id for event in labeller.answer([{"product_id": product_id} for product_id in order], "two", 99)}
    assert answers == again


def test_the_same_batch_at_the_same_time_gives_the_same_events_and_ids_are_unique():
    first = list(SimulatedLabeller(TRUTH).answer(items(), "b", 5))
    assert first == list(SimulatedLabeller(TRUTH).answer(items(), "b", 5))
    assert len({event.event_id for event in first}) == len(first)
    later = list(SimulatedLabeller(TRUTH).answer(items(), "b", 6))
    assert not {event.event_id for event in first} & {event.event_id for event in later}


def test_events_say_when_how_long_and_what_was_shown():
    item = {
        "product_id": "p1",
        "group": "g1",
        "stream": "audit",
        "strategy": "margin",
        "suggestions": [{"node_id": "n3"}, {"node_id": "n1"}],
    }
    first, second = SimulatedLabeller(TRUTH, labeller="robot").answer([item, {"product_id": "p2"}], "b7", 1000)
    assert first.answered_at_ms == 1000 + first.duration_ms
    assert second.answered_at_ms == first.answered_at_ms + second.duration_ms
    assert 600 <= first.duration_ms < 60_000
    assert (first.group, first.labeller) == ("g1", "robot")
    assert first.shown == {"batch": "b7", "stream": "audit", "strategy": "margin", "suggestions": ["n3", "n1"]}
    assert second.shown == {"batch": "b7"}


def test_events_are_read_back_as_written():
    for event in SimulatedLabeller(TRUTH).answer(items(20, group="g"), "b", 0):
        assert parse_label_event(event.to_json(), "test:1") == event


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(LabelError, match="Choose 0 to 1"):
        SimulatedLabeller(TRUTH, wrong_answer_rate=rate)


def test_wrong_answers_need_a_second_node():
    with pytest.raises(LabelError, match="Set the wrong answer rate to 0"):
        SimulatedLabeller({"p": "n"}, wrong_answer_rate=0.5)


def test_an_unsure_labeller_names_a_broader_node_where_there_is_one():
    truth = dict.fromkeys([f"p{k}" for k in range(400)], "boots") | {"top": "bags"}
    labeller = SimulatedLabeller(truth, 0.0, 3, "ann", 0.3, {"boots": "shoes"})
    events = list(labeller.answer([*({"product_id": f"p{k}"} for k in range(400)), {"product_id": "top"}], "b", 0))
    unsure = [event for event in events if event.kind == UNDER]
    assert 90 < len(unsure) < 150
    assert {event.node_id for event in unsure} == {"shoes"}
    assert {(event.kind, event.node_id) for event in events if event.kind != UNDER} == {(IS, "boots"), (IS, "bags")}
    again = SimulatedLabeller({"p7": "boots"}, 0.0, 3, "ann", 0.3, {"boots": "shoes"})
    assert next(again.answer([{"product_id": "p7"}], "b", 0)).kind == events[7].kind


def test_broader_nodes_are_of_depth_two_or_the_parent():
    names = [("a", ""), ("b", "a"), ("c", "b"), ("d", "c")]
    tree = Taxonomy([Node(name, parent, name, True) for name, parent in names])
    assert broader_nodes(tree) == {"b": "a", "c": "b", "d": "b"}


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_an_unsure_rate_out_of_range_is_refused(rate):
    with pytest.raises(LabelError, match=r"unsure rate .* is out of range. Choose 0 to 1."):
        SimulatedLabeller(TRUTH, unsure_rate=rate)
