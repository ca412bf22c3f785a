"""Training is told by artifacts what it reads and what a model is made from; a baseline may say that nothing is live."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components.artifacts import LabelSnapshot, Quarantine, RuleSnapshot, SimilarityIndex, TaxonomySnapshot
from components.baseline_artifact import baseline_folder, baseline_version, write_nothing_live
from components.baseline_lookup import BaselineLookup
from components.model_gate import Executor as GateExecutor
from components.pair_pusher import Executor as PusherExecutor
from components.pair_pushing import push_pair, read_live
from components.training import TrainerExecutor, TunerExecutor, run_config, without_snapshots
from tests.components.toy_pair import make_pair


def artifact(kind, folder: Path, **properties: str):
    made = kind()
    made.uri = str(folder)
    for name, value in properties.items():
        made.set_string_custom_property(name, value)
    return [made]


@pytest.fixture
def inputs(tmp_path):
    return {
        "examples": artifact(standard_artifacts.Examples, tmp_path / "examples"),
        "taxonomy": artifact(TaxonomySnapshot, tmp_path / "taxonomy", sha256="t" * 64),
        "rules": artifact(RuleSnapshot, tmp_path / "rules", sha256="r" * 64),
        "labels": artifact(LabelSnapshot, tmp_path / "labels", sha256="l" * 64),
        "quarantine": artifact(Quarantine, tmp_path / "quarantine", input_fingerprint="f" * 64),
    }


def config_of(inputs):
    told = run_config(inputs, {"custom_config": json.dumps({"seed": 3}), "run_fn": "a.b"})
    assert told["run_fn"] == "a.b"
    return json.loads(told["custom_config"])


def test_training_reads_the_snapshots_and_says_so(inputs, tmp_path):
    config = config_of(inputs)
    assert config["taxonomy"] == str(tmp_path / "taxonomy" / "taxonomy.tsv")
    assert config["seed"] == 3
    assert config["made_from"] == {
        "feeds_sha256": "f" * 64, "taxonomy_sha256": "t" * 64, "rules_sha256": "r" * 64, "labels_sha256": "l" * 64,
    }  # fmt: skip


def test_tfx_sees_only_the_inputs_it_knows(inputs, tmp_path):
    inputs["base_model"] = artifact(standard_artifacts.Model, tmp_path / "model")
    inputs["products"] = artifact(standard_artifacts.Examples, tmp_path / "products")
    assert set(without_snapshots(inputs)) == {"examples"}


@pytest.mark.parametrize("live", [True, False])
def test_training_starts_from_what_is_live_if_anything_is(inputs, tmp_path, live):
    inputs["base_model"] = artifact(standard_artifacts.Model, tmp_path / "model")
    if live:
        (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    else:
        write_nothing_live(inputs["base_model"][0])
    assert config_of(inputs)["baseline"] == (str(tmp_path / "model" / "Format-Serving") if live else "")


def looked_up(push_folder: Path, folder: Path):
    """Runs the stage and returns its artifact."""
    found = artifact(standard_artifacts.Model, folder)
    told = {"push_folder": str(push_folder), "name": "shop", "live": "now", "code": ""}
    BaselineLookup.EXECUTOR_SPEC.executor_class().Do({}, {"baseline": found}, told)
    return found[0]


def test_nothing_live_is_written_down(tmp_path):
    found = looked_up(tmp_path / "serving", tmp_path / "baseline")
    assert baseline_folder(found) is None
    assert baseline_version(found) == 0


def test_the_live_model_is_copied_whole(tmp_path):
    model, index = make_pair(tmp_path)
    version = push_pair(model, index, tmp_path / "serving", "shop", 7)
    found = looked_up(tmp_path / "serving", tmp_path / "baseline")
    assert baseline_version(found) == version
    copied = baseline_folder(found)
    assert {path.relative_to(copied) for path in copied.rglob("*")} == {path.relative_to(model) for path in model.rglob("*")}
    assert baseline_folder(None) is None


@pytest.mark.parametrize("live", [True, False])
def test_the_gate_compares_only_with_what_is_live(tmp_path, monkeypatch, live):
    seen = {}
    monkeypatch.setattr("tfx.components.evaluator.executor.Executor.Do", lambda self, inputs, outputs, told: seen.update(inputs))
    baseline = artifact(standard_artifacts.Model, tmp_path / "model")
    if not live:
        write_nothing_live(baseline[0])
    GateExecutor().Do({"model": artifact(standard_artifacts.Model, tmp_path), "baseline_model": baseline}, {}, {})
    assert set(seen) == ({"model", "baseline_model"} if live else {"model"})


def test_a_pair_remembers_the_version_that_was_looked_up(tmp_path):
    model, index = make_pair(tmp_path)
    before = push_pair(model, index, tmp_path / "serving", "shop", 7)
    baseline = looked_up(tmp_path / "serving", tmp_path / "baseline")
    newer, index = make_pair(tmp_path / "newer", "other weights")
    newer.rename(tmp_path / "Format-Serving")
    blessed = artifact(standard_artifacts.ModelBlessing, tmp_path), artifact(standard_artifacts.InfraBlessing, tmp_path)
    for (found,) in blessed:
        found.set_int_custom_property("blessed", 1)
    inputs = {
        "model": artifact(standard_artifacts.Model, tmp_path, tfx_version="1.16.0"),
        "model_blessing": blessed[0],
        "infra_blessing": blessed[1],
        "index": artifact(SimilarityIndex, index),
        "baseline": [baseline],
    }
    told = {"push_folder": str(tmp_path / "serving"), "name": "shop", "round": "", "baseline_version": 0, "keep": 5}
    PusherExecutor().Do(inputs, {"pushed_model": artifact(standard_artifacts.PushedModel, tmp_path / "pushed")}, told)
    live = read_live(tmp_path / "serving", "shop")
    assert live.version > before
    assert live.origin.baseline_version == before


@pytest.mark.parametrize(
    ("executor", "parent"), [(TrainerExecutor, "trainer.executor.GenericExecutor"), (TunerExecutor, "tuner.executor.Executor")]
)
def test_tfxs_executors_are_called_with_the_configuration_completed(inputs, tmp_path, monkeypatch, executor, parent):
    seen = []
    monkeypatch.setattr(f"tfx.components.{parent}.Do", lambda self, inputs, outputs, told: seen.append((set(inputs), told)))
    executor().Do(inputs, {}, {"custom_config": "{}"})
    ((names, told),) = seen
    assert names == {"examples"}
    assert json.loads(told["custom_config"])["taxonomy"] == str(tmp_path / "taxonomy" / "taxonomy.tsv")
