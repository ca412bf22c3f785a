"""Proves that label events survive their file and add up to the answers that stand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import LabelError
from schemas.label_event import (
    KINDS,
    MAX_LINE_LENGTH,
    LabelEvent,
    events_sha256,
    parse_label_event,
    read_label_events,
    standing_events,
    write_label_events,
)

WHOLE = {"event_id": "e", "answered_at_ms": 1, "labeller": "ann", "product_id": "p", "kind": "is", "node_id": "s"}

words = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8)
events = st.builds(
    LabelEvent, words, st.integers(0, 2**40), words, words, st.sampled_from(KINDS), words, words, words, st.integers(0, 10**6),
    st.dictionaries(words, st.one_of(words, st.integers(), st.lists(words)), max_size=2),
)  # fmt: skip


@given(st.lists(events, max_size=5, unique_by=lambda event: event.event_id))
def test_events_survive_their_file(tmp_path_factory, given_events):
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    assert write_label_events(path, given_events) == len(given_events)
    assert list(read_label_events(path)) == given_events


@given(st.lists(events, max_size=5), st.randoms())
def test_the_digest_of_events_knows_no_order(given_events, random):
    shuffled = list(given_events)
    random.shuffle(shuffled)
    assert events_sha256(shuffled) == events_sha256(given_events)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown key 'colour'. Known: event_id,"),
        ({"event_id": ""}, "event_id '' must be a text that isn't empty."),
        ({"labeller": 3}, "labeller 3 must be a text that isn't empty."),
        ({"group": 3}, "group 3 must be a text."),
        ({"answered_at_ms": 1.5}, "answered_at_ms 1.5 must be a whole number of milliseconds."),
        ({"answered_at_ms": True}, "answered_at_ms True must be"),
        ({"duration_ms": -1}, "duration_ms -1 must be"),
        ({"shown": []}, "shown must be a JSON object."),
        ({"kind": "maybe"}, "kind 'maybe' is unknown. Known: is, under, not,"),
        ({"node_id": ""}, "kind 'is' needs a node_id."),
        ({"kind": "retract"}, "kind 'retract' needs retracts, the id of the event it takes back."),
        ({"product_id": "\ud800"}, "a text holds half a character"),
    ],
)
def test_an_event_with_a_wrong_part_is_refused_by_place(change, message):
    with pytest.raises(LabelError) as refused:
        parse_label_event(json.dumps({**WHOLE, **change}), "labels.jsonl:7")
    assert str(refused.value).startswith("labels.jsonl:7: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("line", "message"), [("{", "this isn't a JSON object"), ("[1]", "found a list"), ("[" * 100_000, "isn't a JSON object")]
)
def test_a_line_that_is_no_object_is_refused(line, message):
    with pytest.raises(LabelError, match=message):
        parse_label_event(line, "here")


@pytest.mark.parametrize("shown", ['{"a": 1e999}', '{"a": [{"b": -1e400}]}', '{"a": 1e99999999999}'])
def test_a_number_that_no_float_holds_is_refused_however_deep(shown):
    line = json.dumps(WHOLE)[:-1] + f', "shown": {shown}}}'
    with pytest.raises(LabelError, match=r"f:1: found the number -?1e\d+, expected one that JSON can hold. Write a smaller one, or null."):
        parse_label_event(line, "f:1")


def test_half_a_character_is_refused_where_it_is_written_as_itself():
    with pytest.raises(LabelError, match="a text holds half a character"):
        parse_label_event(json.dumps({**WHOLE, "labeller": "\udcff"}, ensure_ascii=False), "f:1")


def long_line(numbers):
    return json.dumps(WHOLE)[:-1] + ',"shown":{"a":[' + ",".join(["1e15"] * numbers) + "]}}"


def test_an_event_that_is_too_long_once_it_is_written_is_refused_before(tmp_path):
    with pytest.raises(LabelError, match=f"f:1: written out, the event has 1,800,1.. characters, expected fewer than {MAX_LINE_LENGTH:,}"):
        parse_label_event(long_line(90_000), "f:1")
    kept = parse_label_event(long_line(49_990), "f:1")
    assert MAX_LINE_LENGTH - 200 < len(kept.to_json()) < MAX_LINE_LENGTH
    write_label_events(tmp_path / "events.jsonl", [kept])
    assert list(read_label_events(tmp_path / "events.jsonl")) == [kept]


def test_a_line_so_short_that_its_length_is_not_looked_at_stays_short():
    assert len(parse_label_event(long_line(24_900), "f:1").to_json()) < MAX_LINE_LENGTH


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(LabelError, match="there is no such file of label events"):
        list(read_label_events(tmp_path / "none.jsonl"))
    with pytest.raises(LabelError, match="can't be read"):
        list(read_label_events(tmp_path))
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(LabelError, match="byte 0 isn't UTF-8"):
        list(read_label_events(tmp_path / "bad.jsonl"))


def test_a_byte_order_mark_and_blank_lines_are_read_over(tmp_path):
    (tmp_path / "events.jsonl").write_text("\ufeff" + json.dumps(WHOLE) + "\n\n", encoding="utf-8")
    assert [event.event_id for event in read_label_events(tmp_path / "events.jsonl")] == ["e"]


def answer(event_id, at, node="s", kind="is", retracts=""):
    return LabelEvent(event_id, at, "ann", "p", kind, node if kind == "is" else "", retracts)


def test_the_latest_answer_wins_whatever_the_order_of_events():
    assert standing_events([answer("late", 2, "b"), answer("early", 1, "s")])["p"].node_id == "b"


def test_of_two_answers_in_the_same_millisecond_the_later_given_wins():
    assert standing_events([answer("one", 1, "s"), answer("two", 1, "b")])["p"].node_id == "b"


def test_a_retraction_restores_the_answer_before():
    given_events = [answer("one", 1, "s"), answer("two", 2, "b"), answer("three", 3, kind="retract", retracts="two")]
    assert standing_events(given_events)["p"].event_id == "one"
    assert standing_events([*given_events, answer("four", 4, kind="retract", retracts="one")]) == {}


def test_a_skip_never_takes_an_answers_place():
    assert standing_events([answer("one", 1), answer("two", 2, kind="skip")])["p"].event_id == "one"
    assert standing_events([answer("one", 1, kind="skip"), answer("two", 2, kind="skip")])["p"].event_id == "two"
    assert standing_events([answer("one", 1, kind="skip"), answer("two", 2)])["p"].event_id == "two"
