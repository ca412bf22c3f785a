"""Proves that `aisle check` shows and checks everything, touches nothing and is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.pipeline.shop import tree, write_shop

ROOT = Path(__file__).parents[2]


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AISLE_PREFIX", str(tmp_path / "var"))

    def call(*words, **changed):
        config = write_shop(tmp_path / "shop", **changed)
        before = tree(tmp_path)
        code = main(["check", "--config", str(config), *words])
        assert tree(tmp_path) == before
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_every_setting_is_shown_and_what_differs_from_its_default_is_marked(check):
    code, said, errors = check("--set", "sampling.batch_size=30")
    assert (code, errors) == (0, "")
    lines = {line[2:].split()[0]: line for line in said.partition("\n\n")[0].splitlines()[1:]}
    assert lines["sampling.batch_size"].endswith("30   (--set sampling.batch_size=30; default 250)")
    assert lines["networks.lines.format"].startswith("* ") and "aisle.yaml:4; default csv)" in lines["networks.lines.format"]
    assert lines["run.seed"].startswith("  ") and lines["run.root"].startswith("  ")
    assert {line[0] for line in lines.values()} == {"*", " "}


def test_every_input_is_counted(check):
    _, said, _ = check("--json")
    found = json.loads(said)
    assert found["ok"] and found["errors"] == []
    assert found["settings"]["run.name"] == "tiny"
    assert set(found["changed"]) >= {"run.name", "taxonomy.path", "networks.awin.feeds"}
    inputs = {row["name"]: row for row in found["inputs"]}
    assert (inputs["taxonomy"]["nodes"], inputs["taxonomy"]["exclusive"], inputs["taxonomy"]["depth"]) == (3, 3, 2)
    assert (inputs["rules"]["rules"], inputs["rules"]["vetoes"], inputs["rules"]["nodes"]) == (3, 1, 3)
    assert (inputs["labels"]["events"], inputs["labels"]["answers"]) == (2, 1)
    feeds = {Path(row["file"]).name: (row["rows"], row["refused"], row["left_out"]) for row in found["inputs"] if row["name"] == "feed"}
    assert feeds == {"a.csv": (4, 1, 1), "b.jsonl": (1, 0, 0)}
    assert inputs["live"]["version"] == 0


def test_a_refused_row_and_a_share_over_the_limit_are_shown(check):
    _, said, _ = check()
    assert "look: 25% of these rows are refused, ingest.max_refused_share is 10%; " in said
    assert "a.csv:3: id '' can't be used. Expected a text that says something in column 'sku'." in said


@pytest.mark.parametrize("rules", ["", "r1\tb\ttitle\tx\t1\n"], ids=["none", "a veto alone"])
def test_rules_that_put_nothing_anywhere_are_pointed_at(check, rules):
    _, said, _ = check(rules="rule_id\tnode_id\tfield\tphrase\tveto\n" + rules)
    assert "look: without rules that put products somewhere the rule_based head learns nothing" in said


def test_all_that_is_wrong_is_said_at_once_one_line_each(check):
    code, said, errors = check(
        "--set", "model.parameters={dropuot: 1}", a="id;name\n", rules="rule_id\tnode_id\tfield\tphrase\nr1\tzz\ttitle\tx\n", answers="{}"
    )
    assert code == 2
    assert "taxonomy  3 nodes" in said
    lines = errors.splitlines()
    assert len(lines) == 4 and all(line.startswith("error: ") for line in lines)
    assert ["a.csv" in lines[0], "rules.tsv:2" in lines[1], "answers.jsonl:1" in lines[2], "dropuot" in lines[3]] == [True] * 4


def test_an_input_that_cannot_be_used_is_1_and_a_wrong_setting_is_2(check):
    assert check(answers="{}")[0] == 1
    assert check("--set", "sampling.strategy=x")[0] == 2
    assert check("--set", "model.family=x")[0] == 2
    assert check("--set", "taxonomy.path=")[0] == 2
    assert check("--set", "catalogue.folder=/nowhere")[0] == 1


def test_a_catalogue_folder_is_checked_without_writing_its_events(check, tmp_path):
    case = tmp_path / "case"
    case.mkdir()
    (case / "feed.csv").write_text("id,title\np1,Shoe\n")
    (case / "taxonomy.tsv").write_text("id\tparent_id\tname\texclusive\nn0\t\tShoes\t1\n")
    (case / "gold.tsv").write_text("product_id\tnode_id\tsplit\np1\tn0\tdev\np2\tn9\ttest\n")
    code, said, _ = check("--set", f"catalogue.folder={case}")
    assert code == 0
    assert "4 events; they put 3 of 4 products at a node" in said
    assert "2 nodes of answers aren't in the taxonomy, such as 'k'" in said


def test_check_never_loads_tensorflow_or_beam(tmp_path):
    config = write_shop(tmp_path)
    script = (
        "import sys\nfrom pipeline.cli import main\ncode = main(sys.argv[1:])\n"
        "loaded = {'tensorflow', 'tfx', 'apache_beam', 'keras'} & set(sys.modules)\nsys.exit(f'loaded {loaded}' if loaded else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "check", "--config", str(config)],
        cwd=ROOT, env=os.environ | {"AISLE_PREFIX": str(tmp_path / "var")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
