"""Proves what `aisle labels` says and does."""

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands import labels
from schemas.errors import LabelError, SettingsError, StoreError
from schemas.label_event import LabelEvent, write_label_events

ROOT = Path(__file__).parents[2]


@pytest.fixture
def aisle_labels(tmp_path, capsys):
    def call(*words, store="labels.sqlite"):
        parser = argparse.ArgumentParser(prog="aisle labels")
        labels.add_arguments(parser)
        args = parser.parse_args([*words, *(["--store", str(tmp_path / store)] if store else [])])
        code = labels.run(args)
        return code, capsys.readouterr().out

    return call


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    write_label_events(path, [LabelEvent("e1", 1000, "ann", "p", "is", "s"), LabelEvent("e2", 2000, "bob", "p", "is", "b")])
    return path


def test_import_can_be_repeated(aisle_labels, answers):
    code, said = aisle_labels("import", str(answers))
    assert code == 0
    assert said.startswith("added 2, already there 0; ")
    _, said = aisle_labels("import", str(answers), "--json")
    assert {name: value for name, value in json.loads(said).items() if name != "store"} == {"added": 0, "already_there": 2, "events": 2}


def test_export_gives_back_what_was_imported(aisle_labels, answers, tmp_path):
    aisle_labels("import", str(answers))
    assert aisle_labels("export")[1] == answers.read_text()
    assert aisle_labels("export", str(tmp_path / "copy.jsonl"))[1].startswith("exported 2 events to ")
    assert (tmp_path / "copy.jsonl").read_text() == answers.read_text()
    assert not (tmp_path / "copy.jsonl.part").exists()


def test_list_shows_the_latest_events_and_which_stand(aisle_labels, answers):
    aisle_labels("import", str(answers))
    lines = [line.split("\t") for line in aisle_labels("list")[1].splitlines()]
    assert lines[0] == ["1970-01-01T00:00:01Z", "e1", "ann", "p", "is", "s", "superseded"]
    assert [line[-1] for line in lines] == ["superseded", "stands"]
    assert len(aisle_labels("list", "--limit", "1")[1].splitlines()) == 1
    assert aisle_labels("list", "--product", "nobody")[1] == ""
    assert json.loads(aisle_labels("list", "--json", "--limit", "1")[1])["state"] == "stands"


def test_a_retraction_restores_the_answer_before(aisle_labels, answers):
    aisle_labels("import", str(answers))
    _, said = aisle_labels("retract", "e2", "--labeller", "ann")
    assert said.startswith("retracted e2 by ")
    assert said.endswith("product p now stands at: is s\n")
    assert [line.split("\t")[-1] for line in aisle_labels("list", "--product", "p")[1].splitlines()] == [
        "stands",
        "retracted",
        "retraction",
    ]
    _, said = aisle_labels("retract", "e1", "--labeller", "ann", "--json")
    assert json.loads(said)["stands"] == "nothing"


def test_a_retraction_of_nothing_is_refused(aisle_labels, answers):
    aisle_labels("import", str(answers))
    with pytest.raises(LabelError, match="there is no event 'e9' to retract. See aisle labels list for the ids."):
        aisle_labels("retract", "e9", "--labeller", "ann")


def test_a_bad_line_imports_nothing_and_names_its_place(aisle_labels, answers):
    answers.write_text(answers.read_text() + "{}\n")
    with pytest.raises(LabelError, match=r"answers.jsonl:3: event_id None must be a text"):
        aisle_labels("import", str(answers))
    with pytest.raises(StoreError, match="there is no store of label events"):
        aisle_labels("list")


def test_without_a_store_the_way_out_is_named(aisle_labels):
    with pytest.raises(SettingsError, match="Pass --store FILE, or --config with labels.store.") as refused:
        aisle_labels("list", store="")
    assert refused.value.exit_code == 2


def test_an_export_into_a_missing_folder_is_refused(aisle_labels, answers, tmp_path):
    aisle_labels("import", str(answers))
    with pytest.raises(LabelError, match="can't be written: No such file or directory. Name a file in a folder you may write to."):
        aisle_labels("export", str(tmp_path / "no" / "copy.jsonl"))


def test_an_export_over_the_store_is_refused(aisle_labels, answers, tmp_path):
    aisle_labels("import", str(answers))
    with pytest.raises(SettingsError, match="this is the file of the store, and would be written over"):
        aisle_labels("export", str(tmp_path / "labels.sqlite"))
    assert aisle_labels("export")[1] == answers.read_text()


@pytest.mark.parametrize("words", [["list", "--limit", "0"], ["retract", "e1"], []])
def test_wrong_arguments_exit_with_two(aisle_labels, words, capsys):
    with pytest.raises(SystemExit) as left:
        aisle_labels(*words)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_write_takes_any_stream():
    stream = io.StringIO()
    labels.write("a line", stream)
    assert stream.getvalue() == "a line\n"


def test_the_verb_loads_nothing_heavy():
    code = "import sys, pipeline.commands.labels; print(sorted({'tensorflow', 'tfx', 'apache_beam', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture
def group_answers(tmp_path):
    path = tmp_path / "group.jsonl"
    write_label_events(path, [LabelEvent(f"q1.{p}", 1, "ann", p, "is", "s", source="group", question="q1") for p in "abc"])
    return path


@pytest.mark.parametrize("labeller", ["", "x" * 2000])
@pytest.mark.parametrize("words", [["q1.a"], ["--question", "q1"]])
def test_a_retraction_by_nobody_or_by_too_long_a_name_is_refused_and_not_written(aisle_labels, group_answers, words, labeller):
    aisle_labels("import", str(group_answers))
    with pytest.raises(SettingsError, match="--labeller has (0|2,000) characters, expected 1 to 1,000. Name who takes it back."):
        aisle_labels("retract", *words, "--labeller", labeller)
    assert len(aisle_labels("export")[1].splitlines()) == 3


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--question", ["list", "--question", "caf\udce9"]),
        ("--product", ["list", "--product", "caf\udce9"]),
        ("EVENT_ID", ["retract", "caf\udce9", "--labeller", "ann"]),
        ("--question", ["retract", "--question", "caf\udce9", "--labeller", "ann"]),
        ("--labeller", ["retract", "q1.a", "--labeller", "caf\udce9"]),
    ],
)
def test_an_argument_that_is_not_utf_8_is_refused(aisle_labels, group_answers, option, words):
    aisle_labels("import", str(group_answers))
    with pytest.raises(SettingsError) as refused:
        aisle_labels(*words)
    assert str(refused.value).startswith(f"{option}: 'caf\\udce9' isn't UTF-8, expected a text. ")


def test_the_name_of_a_store_may_be_any_bytes(aisle_labels, answers):
    assert aisle_labels("import", str(answers), store="caf\udce9.sqlite")[1].endswith("caf\\udce9.sqlite holds 2 events\n")


def test_a_question_that_was_taken_back_already_says_so(aisle_labels, group_answers):
    aisle_labels("import", str(group_answers))
    retract = ["retract", "--question", "q1", "--labeller", "ann"]
    assert aisle_labels(*retract) == (0, "retracted the answer to q1: 3 products\n")
    assert aisle_labels(*retract) == (0, "nothing was left to retract: every answer to q1 was taken back before\n")
    assert json.loads(aisle_labels(*retract, "--json")[1]) == {"question": "q1", "retracted": 0}


@pytest.mark.parametrize("words", [["q1.a"], ["--question", "q1"]])
def test_a_retraction_makes_no_store(aisle_labels, tmp_path, words):
    with pytest.raises(StoreError, match="there is no store of label events"):
        aisle_labels("retract", *words, "--labeller", "ann")
    assert list(tmp_path.iterdir()) == []
