"""`aisle batch` shows a batch to people, and answers it from a truth."""

from __future__ import annotations

import argparse
import json

import pytest

from components.sampling_batch import BatchSettings, write_batch
from pipeline.batch_drawing import draw_from_latest_run
from pipeline.commands import batch
from schemas.errors import LabelError, SamplingError, SettingsError, StoreError
from schemas.label_event import read_label_events
from schemas.settings_loader import load_settings

ITEMS = [
    {
        "product_id": f"A-{number}",
        "group": f"g{number}",
        "score": 1 - number / 100,
        "reason": "torn between Shoes and Boots",
        "stream": "audit" if number % 10 == 0 else "strategy",
        "suggestions": [
            {"node_id": "n1", "path": "Fashion > Shoes", "probability": 0.41},
            {"node_id": "n2", "path": "Fashion > Boots", "probability": 0.39},
        ],
        "rule_ids": [],
        "title": f"Brelka Nordö {number} with a very long title that goes on and on for ever",
    }
    for number in range(30)
]


@pytest.fixture
def folder(tmp_path):
    write_batch(tmp_path / "batch", ITEMS, BatchSettings("margin", 30, 0.1, 0), pool_size=4321, version=3, model="candidate")
    return tmp_path / "batch"


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "gold.tsv"
    path.write_text("product_id\tnode_id\tsplit\n" + "".join(f"A-{number}\tn{number % 3}\tdev\n" for number in range(25)))
    return path


def call(*arguments):
    parser = argparse.ArgumentParser(prog="aisle batch")
    batch.add_arguments(parser)
    return batch.run(parser.parse_args([str(argument) for argument in arguments]))


def test_show_prints_the_first_items_with_reason_and_suggestions(folder, capsys):
    assert call("show", folder, "--limit", 5) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "30 of 4,321 products, strategy margin" in lines[0]
    assert lines[1].split() == ["product", "title", "score", "stream", "reason", "suggestions"]
    assert len(lines) == 2 + 5 + 1
    assert "torn between Shoes and Boots" in lines[2]
    assert "Fashion > Shoes 41%, Fashion > Boots 39%" in lines[2]
    assert "25 more" in lines[-1]


def test_show_says_what_is_known_of_a_product_without_a_title(tmp_path, capsys):
    item = {**{name: value for name, value in ITEMS[0].items() if name != "title"}, "brand": "Brelka", "category": "Fashion"}
    write_batch(tmp_path / "batch", [item], BatchSettings("margin", 1, 0.1, 0), pool_size=9, version=3, model="candidate")
    assert call("show", tmp_path / "batch") == 0
    assert "(no title) Brelka, Fashion" in capsys.readouterr().out


def test_show_takes_the_file_as_well_as_its_folder(folder, capsys):
    assert call("show", folder / "batch.jsonl", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["strategy"] == "margin"
    assert shown["items"] == ITEMS[:20]


def test_answer_writes_one_event_an_item_and_cannot_tell_where_there_is_no_truth(folder, truth, tmp_path, capsys):
    out = tmp_path / "new" / "events.jsonl"
    assert call("answer", folder, "--truth", truth, "--out", out, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kinds"] == {"is": 25, "cannot_tell": 5}
    events = list(read_label_events(out))
    assert [event.product_id for event in events] == [item["product_id"] for item in ITEMS]
    assert events[4].node_id == "n1"
    assert events[4].group == "g4"
    assert events[4].shown == {
        "batch": said["batch_id"], "stream": "strategy", "strategy": "margin", "version": 3, "suggestions": ["n1", "n2"],
    }  # fmt: skip


def test_answer_says_what_comes_next(folder, truth, tmp_path, capsys):
    assert call("answer", folder, "--truth", truth, "--out", tmp_path / "events.jsonl") == 0
    assert "aisle labels import" in capsys.readouterr().out


def test_wrong_answers_are_the_same_for_a_seed(folder, truth, tmp_path):
    def nodes(seed):
        call("answer", folder, "--truth", truth, "--out", tmp_path / "e.jsonl", "--wrong-answer-rate", 0.5, "--seed", seed)
        return [event.node_id for event in read_label_events(tmp_path / "e.jsonl")]

    assert nodes(1) == nodes(1)
    assert nodes(1) != nodes(2)


def test_drawing_needs_settings_and_a_run(tmp_path):
    with pytest.raises(SettingsError, match=r"no settings are named. Pass --config FILE"):
        call("draw", "--size", 5)
    with pytest.raises(StoreError, match="nothing has run here yet"):
        call("draw", "--set", f"run.root={tmp_path}")


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--strategy", "marign"), "sampling.strategy 'marign' is unknown. Did you mean 'margin'"), (("--shop", "a\0b"), "sampling.shop")],
)
def test_what_cannot_be_drawn_is_refused_as_a_setting(tmp_path, words, message):
    with pytest.raises(SettingsError, match=message):
        call("draw", "--set", f"run.root={tmp_path}", *words)


@pytest.mark.parametrize("words", [("--size", "0"), ("--seed", "-1"), ("--seed", str(2**31))])
def test_a_size_or_seed_out_of_range_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        call("draw", *words)
    assert "isn't a whole number" in capsys.readouterr().err


def test_a_folder_without_a_batch_is_named(tmp_path):
    with pytest.raises(SamplingError, match=r"there is no batch\.jsonl here"):
        call("show", tmp_path)


def test_a_damaged_item_is_named_with_its_line(folder):
    (folder / "batch.jsonl").write_text('{"product_id": "A-1"}\n[1]\n')
    with pytest.raises(SamplingError, match=r"batch\.jsonl:2"):
        call("show", folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("product\tnode_id\n", "column 'product_id' is missing"),
        ("product_id\tnode_id\nA-1\t\n", ":2: product_id 'A-1'"),
        ("product_id\tnode_id\nA-1\n", ":2: product_id 'A-1'"),
    ],
)
def test_a_truth_that_cannot_be_read_is_named_with_its_row(folder, tmp_path, text, message):
    path = tmp_path / "truth.tsv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        call("answer", folder, "--truth", path, "--out", tmp_path / "e.jsonl")


def test_the_truth_is_not_written_over(folder, truth):
    before = truth.read_bytes()
    with pytest.raises(SettingsError, match="this is the file of --truth, and would be written over"):
        call("answer", folder, "--truth", truth, "--out", truth)
    assert truth.read_bytes() == before


def test_a_missing_truth_is_named(folder, tmp_path):
    with pytest.raises(LabelError, match="there is no such file of truth"):
        call("answer", folder, "--truth", tmp_path / "none.tsv", "--out", tmp_path / "e.jsonl")


@pytest.mark.parametrize("arguments", [("--wrong-answer-rate", "2"), ("--wrong-answer-rate", "much")])
def test_a_share_out_of_range_is_refused(folder, truth, tmp_path, arguments, capsys):
    with pytest.raises(SystemExit):
        call("answer", folder, "--truth", truth, "--out", tmp_path / "e.jsonl", *arguments)
    assert "isn't a share from 0 to 1" in capsys.readouterr().err


def test_a_field_of_truth_longer_than_any_is_one_line(folder, tmp_path):
    path = tmp_path / "long.tsv"
    path.write_text(f"product_id\tnode_id\nA-1\t{'n' * 200_000}\n")
    with pytest.raises(LabelError, match=r"long.tsv: field larger than .*Expected lines of product_id and node_id."):
        call("answer", folder, "--truth", path, "--out", tmp_path / "events.jsonl")


def test_more_answers_than_there_can_be_are_refused(capsys):
    with pytest.raises(SystemExit):
        call("advice", "--more", "1" + "0" * 330)
    assert "is more than 999,999,999,999,999" in capsys.readouterr().err


def test_a_batch_is_not_drawn_over_another(folder):
    before = (folder / "batch.jsonl").read_bytes()
    with pytest.raises(SamplingError, match="there is a batch here, and people may be answering it. Name another folder"):
        draw_from_latest_run(load_settings(None, []), BatchSettings("margin", 1, 0.1, 0), folder)
    assert (folder / "batch.jsonl").read_bytes() == before
