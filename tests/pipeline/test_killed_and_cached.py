"""Proves on real runs that a kill costs one stage at most, that a root has one run at a time, and what a change runs again."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline import local_run
from pipeline.plan import plan_run, read_plan
from schemas.label_event import LabelEvent
from schemas.settings_loader import load_settings
from stores.sqlite_label_events import SqliteLabelEventStore
from tests.support.killable_run import ALL, PROGRAM, REPOSITORY, Shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A shop whose run was killed twice and then finished."""
    return Shop(tmp_path_factory.mktemp("shop"))


def wait_for(path, limit_s=300):
    deadline_s = time.monotonic() + limit_s
    while not path.exists():
        assert time.monotonic() < deadline_s, f"{path} never came"
        time.sleep(0.001)


def beside(shop, *words):
    """Runs the program beside a run, and returns its exit code and the end of what it said."""
    command = [sys.executable, "-m", "pipeline.cli", words[0], *shop.settings, *words[1:]]
    environment = os.environ | {"AISLE_PREFIX": str(shop.folder / "var")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
    return done.returncode, done.stderr.splitlines()[-1]


def test_a_run_killed_while_it_trains_and_again_while_it_pushes_ends_as_if_nothing_had_been(shop):
    refused = []

    def while_training(program, stages):
        if not stages or stages[-1].name != "Transform":
            return ""
        started_s = time.monotonic()
        refused.append((*beside(shop, "run"), time.monotonic() - started_s))
        return ALL

    def while_pushing(program, stages):
        if not stages or stages[-1].name != "IndexBuilder":
            return ""
        wait_for(shop.root / "serving" / "live.json")
        return PROGRAM

    assert shop.run(while_training).code == -9
    code, said, seconds = refused[0]
    assert code == 1 and said.startswith(f"error: {shop.root}: another run is going on here: process ") and seconds < 30

    killed = shop.run(while_pushing)
    assert killed.code == -9
    assert any("an earlier run ended before it was done" in line for line in killed.said)
    assert {stage.name for stage in killed.stages if stage.cached} >= {"ProductExampleGen", "LabelJoin", "Transform"}
    pushed = json.loads((shop.root / "serving" / "live.json").read_text())

    ended = shop.run()
    assert ended.code == 0 and ended.results is not None
    assert ended.results["version"] == pushed["version"] and ended.results["baseline"] is None
    assert {stage.name for stage in ended.stages if not stage.cached} <= {"PairPusher", "Sampler"}
    assert {"SnapshotTrainer"} <= set(shop.repeated()) <= {"SnapshotTrainer", "PairPusher"}
    assert shop.problems() == []


class Ran(Exception):
    """A run went as far as was wanted."""


class Listener(io.StringIO):
    """Notes the stages that ran, and stops a run before a stage."""

    def __init__(self, stop_before):
        super().__init__()
        self.stop_before = stop_before
        self.ran, self.cached = set(), set()

    def write(self, text):
        event = json.loads(text)
        if event["event"] == "done":
            (self.cached if event["cached"] else self.ran).add(event["name"])
        if event["event"] == "stage" and event["name"] == self.stop_before:
            raise Ran
        return len(text)


@pytest.fixture
def again(shop):
    """Returns a function that runs the shop again in this process, and says which stages ran and which were cached."""

    def call(*overrides, stop_before=""):
        words = [word for word in shop.settings if word != "--set"][2:]
        settings = load_settings(shop.folder / "demo" / "aisle.yaml", [*words, *overrides], prefix=str(shop.folder / "var"))
        listener = Listener(stop_before)
        plan = shop.folder / "plan.json"
        plan.write_text(plan_run(settings).to_json())  # As the program hands it to the run's own process.
        with contextlib.suppress(Ran):
            local_run.run_plan(read_plan(plan), listener)
        return listener.ran, listener.cached

    return call


@contextlib.contextmanager
def changed(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def test_the_same_command_runs_nothing_even_where_all_feeds_were_touched(shop, again):
    for path in (shop.folder / "demo").rglob("*"):
        os.utime(path, (0, 0))
    ran, cached = again()
    assert ran == set() and len(cached) == 18


def test_a_setting_of_the_sampler_runs_the_sampler(again):
    ran, _ = again("sampling.strategy=entropy")
    assert ran == {"Sampler"}


def test_an_output_that_is_gone_is_made_again_and_what_follows_it_is_not(shop, again):
    shop.forget(["RuleSnapshotGen"])
    ran, _ = again()
    assert ran == {"RuleSnapshotGen"}


def test_a_changed_rule_runs_what_depends_on_rules(shop, again):
    with changed(shop.folder / "demo" / "rules.tsv", "\n", "\nmine\tn003\ttitle\tsurely nobody sells this\t\t0\t\tann\n"):
        ran, cached = again(stop_before="Transform")
    assert ran - {"BaselineModel"} == {"RuleSnapshotGen", "LabelJoin"}
    assert cached >= {"ProductExampleGen", "TaxonomySnapshotGen", "LabelSnapshotGen", "StatisticsGen", "ExampleValidator"}


def test_a_changed_name_in_the_taxonomy_runs_what_depends_on_the_tree(shop, again):
    with changed(shop.folder / "demo" / "taxonomy.tsv", "Fashion", "Clothing"):
        ran, cached = again(stop_before="Transform")
    assert ran - {"BaselineModel"} == {"TaxonomySnapshotGen", "RuleSnapshotGen", "LabelJoin"}
    assert cached >= {"ProductExampleGen", "LabelSnapshotGen", "StatisticsGen", "ExampleValidator"}


def test_one_more_answer_runs_what_depends_on_answers(shop, again):
    with SqliteLabelEventStore(shop.root / "label_events.sqlite") as store:
        store.append([LabelEvent(event_id="one-more", answered_at_ms=1, labeller="ann", product_id="C-000001", kind="skip")])
    ran, cached = again(stop_before="Transform")
    assert ran - {"BaselineModel"} == {"LabelSnapshotGen", "LabelJoin"}
    assert cached >= {"ProductExampleGen", "TaxonomySnapshotGen", "RuleSnapshotGen", "StatisticsGen", "ExampleValidator"}


def test_nothing_of_all_this_stays_open_or_running(shop):
    assert shop.processes() == {}
    states = {execution.last_known_state for execution in shop.executions()}
    assert metadata_store_pb2.Execution.RUNNING not in states and Path(shop.root, ".run.lock").read_text() == ""
