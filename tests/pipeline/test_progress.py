"""Proves what a person sees of a run while it goes."""

from __future__ import annotations

import io
import time

from pipeline import events
from pipeline.progress import Progress, readable


def shown(*happened, live=False):
    stream = io.StringIO()
    progress = Progress(stream, live=live)
    for event in happened:
        progress.show(event)
    return progress, stream


PLAN = {"event": events.PLAN, "stages": ["A", "B"]}


def stage(name):
    return {"event": events.STAGE, "name": name}


def test_one_line_a_stage_with_its_counts_and_time():
    _, stream = shown(
        PLAN,
        stage("A"),
        {"event": events.DETAIL, "message": "a rows=1200 seconds=3"},
        {"event": events.DONE, "name": "A", "seconds": 3.21, "cached": False},
        stage("B"),
        {"event": events.DONE, "name": "B", "seconds": 0.1, "cached": True},
    )
    assert stream.getvalue().splitlines() == [
        "[ 1/ 2] A                           3.2 s  rows 1,200",
        "[ 2/ 2] B                           0.1 s  cached",
    ]


def test_a_stage_that_failed_is_named():
    progress, stream = shown(PLAN, stage("A"))
    progress.fail()
    assert stream.getvalue().startswith("[ 1/ 2] A ") and stream.getvalue().endswith(" s  failed\n")
    progress.fail()
    assert len(stream.getvalue().splitlines()) == 1


def test_without_a_terminal_there_are_no_control_characters():
    progress, stream = shown(PLAN, stage("A"), {"event": events.DONE, "name": "A", "seconds": 1.0, "cached": False})
    progress.say("reading ...")
    progress.close()
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_terminal_has_a_live_line_that_goes_away():
    progress, stream = shown(PLAN, stage("A"), live=True)
    deadline_s = time.monotonic() + 10
    while "[ 1/ 2] A" not in stream.getvalue() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    progress.close()
    assert "[ 1/ 2] A" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")
    length = len(stream.getvalue())
    time.sleep(0.7)
    assert len(stream.getvalue()) == length


def test_messages_read_like_sentences():
    assert readable("sampler picked=250 version=1795000000 model_uri=/x/y strategy=margin uri=/x") == (
        "picked 250, version 1795000000, model uri /x/y, strategy margin"
    )
    assert readable("join files=2 left_out={} answers=3, nodes=4") == "files 2, answers 3, nodes 4"
    assert readable("fitted Report(epochs=[6.0, 5.0], loss=None) rows=15") == "rows 15"
    assert readable("nothing counted") == "nothing counted"
    assert len(readable("x" * 1000)) == 90


def test_lines_that_are_no_events_are_passed_over():
    assert events.received("WARNING: something") is None
    assert events.received('["event"]') is None
    assert events.received("3") is None
    stream = io.StringIO()
    events.send(stream, events.DETAIL, message="ä\nb")
    assert events.received(stream.getvalue()) == {"event": "detail", "message": "ä\nb"}
    assert stream.getvalue().count("\n") == 1
