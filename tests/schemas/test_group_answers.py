"""An answer about a group becomes events of its members, and loses its say when answers about single members refute it."""

import json

import pytest

from schemas.errors import LabelError
from schemas.group_answers import GroupQuestion, member_events, parse_answer_line, question_records
from schemas.label_event import LabelEvent, parse_label_event
from schemas.taxonomy import Node, Taxonomy

TREE = Taxonomy([Node("s", "", "Shoes", False), Node("b", "s", "Boots", True), Node("k", "s", "Kids", True), Node("l", "", "Lamps", True)])
ASKED = GroupQuestion("q-1", [f"p{k}" for k in range(12)], ["p0", "p3", "p5", "p7", "p9"], "batch-1", 4)
ANSWER = {"event_id": "e", "answered_at_ms": 1000, "labeller": "ann", "kind": "is", "node_id": "b", "duration_ms": 9000}


def own(product, node, kind="is", at=2000):
    return LabelEvent(f"own-{product}-{at}", at, "bob", product, kind, node)


def record(*events, answer=ANSWER):
    return question_records([*member_events(answer, ASKED), *events], TREE)["q-1"]


def test_every_member_gets_an_event_that_says_where_it_comes_from():
    events = member_events(ANSWER, ASKED)
    assert [event.product_id for event in events] == ASKED.members
    assert {(event.kind, event.node_id, event.source, event.question) for event in events} == {("is", "b", "group", "q-1")}
    assert sum(event.duration_ms for event in events) == 9000
    assert events[0].shown == {"batch": "batch-1", "version": 4, "examples": ASKED.examples}
    assert [parse_label_event(event.to_json(), "x") for event in events] == events
    assert member_events(ANSWER, ASKED) == events


@pytest.mark.parametrize("kind", ["mixed", "skip", "cannot_tell"])
def test_an_answer_that_says_nothing_of_the_members_only_remembers_that_it_was_asked(kind):
    events = member_events({**ANSWER, "kind": kind}, ASKED)
    assert [(event.product_id, event.kind, event.node_id) for event in events] == [(each, "skip", "") for each in ASKED.examples]
    assert question_records(events, TREE)["q-1"].kind == "mixed"


def test_the_examples_outweigh_one_contrary_answer_and_not_two():
    assert record().state == "stands"
    assert record(own("p1", "k")).state == "stands"
    assert record(own("p1", "k"), own("p2", "l")).state == "dropped"


def test_answers_that_agree_make_up_for_some_that_do_not():
    against, agreeing = [own("p1", "k"), own("p2", "l")], [own(f"p{k}", "b") for k in (3, 4, 5)]
    found = record(*against, *agreeing)
    assert (found.agreed, found.contradicted, found.state) == (3, 2, "stands")


def test_witnesses_agree_where_both_can_be_true():
    found = record(own("p1", "s", "under"), own("p2", "k", "not"), own("p3", "l", "under"), own("p4", "b", "not"))
    assert (found.agreed, found.contradicted) == (2, 2)
    broad = record(own("p1", "b"), own("p2", "l"), answer={**ANSWER, "kind": "under", "node_id": "s"})
    assert (broad.agreed, broad.contradicted) == (1, 1)


def test_words_that_name_no_node_witness_nothing():
    found = record(own("p1", "", "cannot_tell"), own("p2", "", "skip"), own("p3", "gone"), own("z", "l"))
    assert (found.agreed, found.contradicted, found.members) == (0, 0, 12)


def test_of_a_products_own_answers_the_latest_is_the_witness_and_a_retracted_one_is_none():
    assert record(own("p1", "k"), own("p1", "b", at=3000)).agreed == 1
    back = LabelEvent("r", 4000, "bob", "p1", "retract", retracts="own-p1-2000")
    assert record(own("p1", "k"), back).contradicted == 0


def test_a_question_whose_events_were_all_taken_back_is_retracted():
    back = [
        LabelEvent(f"r{k}", 2000, "ann", each, "retract", retracts=f"e.{k}", source="group", question="q-1")
        for k, each in enumerate(ASKED.members)
    ]
    assert record(*back).state == "retracted"
    assert record(*back[:-1]).state == "stands"


def test_a_line_about_a_question_is_read_as_the_events_of_its_members():
    line = json.dumps({**ANSWER, "question": "q-1"})
    assert parse_answer_line(line, "f:1", {"q-1": ASKED}) == member_events(ANSWER, ASKED)
    mixed = json.dumps({**ANSWER, "question": "q-1", "kind": "mixed", "node_id": ""})
    assert len(parse_answer_line(mixed, "f:1", {"q-1": ASKED})) == 5
    assert parse_answer_line(own("p", "b").to_json(), "f:1", {}) == [own("p", "b")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "q-2"}, r"f:1: question 'q-2' isn't in a batch that was named. Pass its folder: --batch BATCH."),
        ({"kind": "not"}, "f:1: kind 'not' is no answer about a group. Known: is, under, mixed, skip, cannot_tell."),
        ({"node_id": ""}, "f:1: kind 'is' needs a node_id."),
        ({"labeller": 3}, "f:1: labeller 3 must be a text that isn't empty."),
        ({"colour": "red"}, "f:1: unknown key 'colour'."),
        ({"question": ["q-1"]}, "f:1: question .* must be a text."),
    ],
)
def test_a_line_about_a_question_that_cannot_be_used_is_refused(change, message):
    with pytest.raises(LabelError, match=message):
        parse_answer_line(json.dumps({**ANSWER, "question": "q-1", **change}), "f:1", {"q-1": ASKED})


def test_members_and_ids_that_no_event_may_have_are_refused():
    with pytest.raises(LabelError, match="f:1: event_id 'eeee.* has 1,00. characters"):
        parse_answer_line(json.dumps({**ANSWER, "question": "q-1", "event_id": "e" * 1000}), "f:1", {"q-1": ASKED})
    odd = GroupQuestion("q-1", ["p" * 2000], ["p"])
    with pytest.raises(LabelError, match="f:1: product_id 'pppp.* has 2,000 characters"):
        parse_answer_line(json.dumps({**ANSWER, "question": "q-1"}), "f:1", {"q-1": odd})


@pytest.mark.parametrize("change", [{"source": "group"}, {"question": "q"}, {"source": "robot", "question": "q"}])
def test_an_event_names_source_and_question_together_or_neither(change):
    row = {**json.loads(own("p", "b").to_json()), **change}
    with pytest.raises(LabelError, match="an answer about a group has the source 'group' and the id of its question"):
        parse_label_event(json.dumps(row), "f:1")
