"""Proves the labelling loop on a small demo catalogue, through the program alone: run, predict, export, answer, run again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.quick_round import quick_settings
from tests.support.tiny_bert import write_tiny_bert

ROOT = Path(__file__).parents[2]


class Program:
    """The program on one catalogue; every call is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "demo" / "aisle.yaml"
        self.settings = ["--config", str(self.config)]
        encoder = f"{{name: title_vector, field: title, weights: {write_tiny_bert(folder / 'bert')}}}"
        for text in (*quick_settings(folder, exclusive_epochs=2), f"encoders=[{encoder}]"):
            self.settings += ["--set", text]

    def __call__(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.cli", *map(str, words)]
        environment = os.environ | {"AISLE_PREFIX": str(self.folder / "var"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        assert done.returncode == code, done.stderr[-3000:]
        return done

    def run(self, *more: str) -> tuple[dict, dict[str, str]]:
        """Returns the results of a run, and what the terminal said of each stage."""
        done = self("run", *self.settings, *(word for text in more for word in ("--set", text)), "--json")
        said = re.findall(r"^\[ *\d+/ *\d+\] (\w+) +[\d.]+ s *(.*)$", done.stderr, re.MULTILINE)
        assert len(done.stdout.splitlines()) == 1
        return json.loads(done.stdout), dict(said)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_labelling_loop_closes(tmp_path):
    aisle = Program(tmp_path)
    aisle("demo-catalogue", tmp_path / "demo", "--products", 400)

    first, _ = aisle.run()
    assert first["blessed"] and first["version"] and first["baseline"] is None
    assert {"accuracy", "hierarchical_f1", "macro_f1"} <= set(first["exclusive"])
    assert first["by_depth"] and first["seconds"] > 0 and 500 < first["peak_rss_mb"] < 4000
    assert all(Path(path).exists() for path in first["paths"].values())

    second, said = aisle.run("statistics.enabled=false")
    assert second["version"] == first["version"]
    assert set(said.values()) == {"cached"} and {"Trainer", "Evaluator", "PairPusher", "Sampler"} <= set(said)
    assert second["exclusive"] == first["exclusive"] and second["baseline"] is None

    check_predictions(aisle, first)
    scores = json.loads(aisle("evaluate", *aisle.settings, "--json").stdout)
    assert scores["exclusive"] == second["exclusive"]
    check_export(aisle, tmp_path / "release", first)

    shown = json.loads(aisle("batch", "show", *aisle.settings, "--json", "--limit", 100).stdout)
    assert shown["batch_id"] == second["batch"]["batch_id"] and len(shown["items"]) == second["batch"]["num_items"]
    answers = tmp_path / "answers.jsonl"
    aisle("batch", "answer", *aisle.settings, "--truth", tmp_path / "demo" / "truth.tsv", "--out", answers)
    assert aisle("labels", "import", answers, *aisle.settings).stdout.startswith(f"added {len(shown['items'])}, already there 0; ")
    check_another_batch(aisle, shown["items"])

    third, said = aisle.run("statistics.enabled=false")
    assert said["ProductExampleGen"] == "cached" and said["Trainer"] != "cached"
    assert third["labels"]["joined"] > first["labels"]["joined"]
    assert third["baseline"]["exclusive"] == first["exclusive"]
    assert third["blessed"] and third["version"] > first["version"]
    assert first["audit"]["at_answer"]["judged"] == 0 < third["audit"]["at_answer"]["judged"]
    assert first["acceptance"]["says"] and set(first["acceptance"]["judged"]) == {"answer", "ancestor", "accepted"}
    assert third["batch"]["batch_id"] != second["batch"]["batch_id"]
    check_lineage(aisle, first, third, len(shown["items"]))


def check_another_batch(aisle: Program, answered: list[dict]) -> None:
    """A batch drawn between two runs leaves out what was answered since, and keeps to the shop that was named."""
    everywhere, items = draw(aisle)
    shop = items[0]["shop"]
    there, items_there = draw(aisle, "--shop", shop)
    assert {item["shop"] for item in items_there} == {shop}
    assert there["pool"] < everywhere["pool"]
    assert not {item["group"] for item in items + items_there} & {item["group"] for item in answered}


def draw(aisle: Program, *words: str) -> tuple[dict, list[dict]]:
    """Draws a batch of 20, or as many as there are questions: each group of near-duplicates is one, whatever the strategy."""
    hunted, everything = (
        json.loads(aisle("batch", "draw", *aisle.settings, *words, "--strategy", strategy, "--size", size, "--json").stdout)
        for strategy, size in (("rare_nodes", 20), ("random", 1000))
    )
    asked, askable = (
        json.loads(aisle("batch", "show", drawn["folder"], "--json", "--limit", 1000).stdout)["items"] for drawn in (hunted, everything)
    )
    assert (hunted["strategy"], hunted["num_items"], len(asked)) == ("rare_nodes", min(20, len(askable)), min(20, len(askable)))
    assert 0 < len({item["group"] for item in askable}) == len(askable) <= everything["pool"] == hunted["pool"]
    assert {item["group"] for item in asked} <= {item["group"] for item in askable}
    return hunted, asked


def check_predictions(aisle: Program, results: dict) -> None:
    feed = next((aisle.folder / "demo" / "feeds" / "alpha").glob("elektro*.csv"))
    refused = aisle.folder / "refused.jsonl"
    done = aisle("predict", feed, *aisle.settings, "--top", 2, "--quarantine", refused)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows and {row["version"] for row in rows} == {results["version"]}
    assert all(len(row["top"]) == 2 and row["node_id"] == row["top"][0]["node_id"] and 0 < row["probability"] <= 1 for row in rows)
    assert {row["decision"] for row in rows} <= {"accept", "climb", "ask"}
    assert all((row["decision"] == "ask") == (not row["accepted_node"]) and 0 < row["confidence"] <= 1.000001 for row in rows)
    assert any(row["rules"] for row in rows)
    assert len(refused.read_text().splitlines()) + len(rows) == len(feed.read_text("latin-1").splitlines()) - 1


def check_lineage(aisle: Program, before: dict, after: dict, num_answers: int) -> None:
    """What the verbs say of two versions is what their runs said; going back makes the earlier one live again."""
    runs = json.loads(aisle("runs", *aisle.settings, "--json").stdout)
    assert [(row["version"], row["state"], row["is_live"]) for row in runs["runs"]] == [
        (after["version"], "finished", True),
        (before["version"], "finished", False),
        (before["version"], "finished", False),
    ]
    found = json.loads(aisle("lineage", "live", *aisle.settings, "--json").stdout)
    assert found["version"] == after["version"] and found["run"] == runs["runs"][0]["run"]
    assert found["answers"] == after["learnt_from"]["now"] and found["metrics"][-1]["accuracy"] == after["exclusive"]["accuracy"]
    assert found["data"]["rows"] == after["products"]["rows"] and found["settings"]["model"]["family"] == "linear"
    assert {"PoolScorer", "Sampler", "PairPusher"} <= {row["name"].split(".")[0] for row in found["made"]} and found["notes"] == []
    diff = json.loads(aisle("diff", before["version"], "live", *aisle.settings, "--json").stdout)
    assert len(diff["data"]["labels"]["added"]) == num_answers and not diff["data"]["rules"] and not diff["data"]["data"]
    assert diff["settings"] == {"statistics.enabled": [True, False]}
    assert diff["scores"]["all"]["accuracy"][1] == after["exclusive"]["accuracy"] and diff["products"]["compared"] > 0
    undone = json.loads(aisle("rollback", *aisle.settings, "--json").stdout)
    assert undone == {"before": after["version"], "version": before["version"], "changed": True, "dry_run": False}
    check_predictions(aisle, before)


def check_export(aisle: Program, folder: Path, results: dict) -> None:
    aisle("export", folder, *aisle.settings)
    live = json.loads((folder / "live.json").read_text())
    assert live["version"] == results["version"]
    assert (folder / live["model"] / "saved_model.pb").is_file() and (folder / live["index"] / "manifest.json").is_file()
    assert "isn't empty" in aisle("export", folder, *aisle.settings, code=1).stderr
