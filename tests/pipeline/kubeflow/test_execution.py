"""The compiled specification, run task by task with its own commands, makes what a local run of the same settings makes.

Artifacts go to a folder. They go to a server of the S3 protocol where one is named:

    AISLE_TEST_ROOT=minio://bucket/runs AWS_ENDPOINT_URL=http://127.0.0.1:9000 AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... \
        .venv/bin/pytest tests/pipeline/kubeflow/test_execution.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2

from components.baseline_artifact import NOTHING_LIVE
from components.folder_digest import folder_sha256
from pipeline.kubeflow.parameters import PARAMETERS
from pipeline.kubeflow.staging import Staging
from pipeline.plan import plan_run
from pipeline.results import latest_artifacts
from schemas.settings_loader import load_settings
from tests.support.compiled_run import CompiledRun, read_spec
from tests.support.quick_round import quick_settings
from tests.support.zygote import ROOT, Zygote, zygote

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PRODUCTS = 400
# What holds examples is compared record by record: their serialization has no order of fields.
SAME_RECORDS = ("ProductExampleGen.examples", "LabelJoin.labelled_examples", "Transform.transformed_examples")
SAME_BYTES = (
    "ProductExampleGen.quarantine",
    "TaxonomySnapshotGen.taxonomy",
    "RuleSnapshotGen.rules",
    "LabelSnapshotGen.labels",
    "ProductSchemaGen.schema",
    "StatisticsGen.statistics",
    "ExampleValidator.anomalies",
    "LabelJoin.rule_report",
    "Evaluator.blessing",
    "SmokeTester.blessing",
)
# The task that runs in a process of its own, from a bare interpreter, as all do in a cluster.
FROM_BARE_PYTHON = "TaxonomySnapshotGen"


class Rounds:
    """A catalogue, and ways to run the same settings on it."""

    def __init__(self, folder: Path, parent: Zygote) -> None:
        self.folder, self._parent = folder, parent
        (folder / "logs").mkdir()
        self.call("pipeline.cli", "demo-catalogue", folder / "demo", "--products", PRODUCTS)

        self.config = folder / "demo" / "aisle.yaml"

    def overrides(self, where: str) -> list[str]:
        """Returns what makes a run write into a folder of its own."""
        root = self.folder / where
        own = (f"run.root={root}", f"push.folder={root}/serving", f"labels.store={root}/answers.sqlite")
        return [*quick_settings(self.folder), *own, f"kubeflow.mount_path={self.folder}"]

    def run_locally(self, where: str) -> None:
        """Runs the round as `aisle run` does, after it has planned."""
        plan = self.folder / "plan.json"
        plan.write_text(plan_run(load_settings(self.config, self.overrides(where))).to_json())
        self.call("pipeline.local_run", plan)

    def compile(self, where: str) -> Path:
        """Returns the specification."""
        package = self.folder / "pipeline.yaml"
        options = [word for text in self.overrides(where) for word in ("--set", text)]
        self.call("pipeline.cli", "compile", "--config", self.config, *options, "--image", "registry/aisle:1", "--output", package)
        return package

    def call(self, module: str, *arguments: object, log: str = "") -> None:
        """Runs a module in a process forked from one that has loaded TFX."""
        path = self.folder / "logs" / f"{log or module}.log"
        code = self._parent.run(module, list(map(str, arguments)), path)
        assert code == 0, path.read_text()[-4000:]

    def launch(self, name: str, words: list[str]) -> None:
        """Runs a task's command."""
        assert words[:2] == ["python", "-m"]
        if name != FROM_BARE_PYTHON:
            self.call(words[2], *words[3:], log=name)
            return
        command, environment = [sys.executable, *words[1:]], os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder, check=False)
        assert done.returncode == 0, done.stderr[-4000:]


class Both:
    """The artifacts of a local run and of the compiled one, by names such as `Trainer.model`."""

    def __init__(self, rounds: Rounds) -> None:
        rounds.run_locally("local")
        told = dict.fromkeys(PARAMETERS, "a value never used before")
        root = os.environ.get("AISLE_TEST_ROOT") or str(rounds.folder / "artifacts")
        self._staging = Staging(rounds.folder / "fetched", None)
        self.volume = rounds.folder / "cluster"
        self.compiled = CompiledRun(read_spec(rounds.compile("cluster"))[0], root, told, rounds.folder / "outputs", rounds.launch)
        self.compiled.run()
        self._local: dict[str, metadata_store_pb2.Artifact] = latest_artifacts(rounds.folder / "local")
        self.names = sorted(self._local)
        # What is asked first: later runs go on from here.
        self.first = {name: dict(artifact) for name, artifact in self.compiled.artifacts.items()}

    def folders(self, name: str) -> tuple[Path, Path]:
        """Returns where the local run and the compiled run wrote an artifact."""
        return Path(self._local[name].uri), self.place(self.first[name])

    def place(self, artifact: dict) -> Path:
        """Returns where an artifact of the compiled run can be read."""
        return self._staging.fetch(artifact["uri"])

    def texts(self, name: str, key: str) -> tuple[str, str]:
        """Returns a text property of an artifact, in both runs."""
        return self._local[name].custom_properties[key].string_value, self.first[name]["metadata"][key]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Iterator[Both]:
    with zygote() as parent:
        yield Both(Rounds(tmp_path_factory.mktemp("rounds"), parent))


def records(folder: Path) -> list[bytes]:
    files = sorted(str(path) for path in folder.rglob("*.gz"))
    found = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record).SerializeToString(deterministic=True) for record in found]


def without(path: Path, *keys: str) -> dict:
    return {key: value for key, value in json.loads(path.read_text()).items() if key not in keys}


def test_both_runs_have_the_same_stages(both):
    extra = {name for name in both.first if not name.endswith(("_metrics", "_page", "_table"))}
    # A local run without anything live has no baseline to look up.
    assert extra - {"BaselineModel.baseline"} == set(both.names)


@pytest.mark.parametrize("name", SAME_RECORDS)
def test_examples_are_the_same(both, name):
    local, compiled = map(records, both.folders(name))
    assert len(local) > 100
    assert local == compiled


@pytest.mark.parametrize("name", SAME_BYTES)
def test_files_are_the_same(both, name):
    local, compiled = both.folders(name)
    assert folder_sha256(local) == folder_sha256(compiled)


@pytest.mark.parametrize("name", ["ProductExampleGen.examples", "ProductExampleGen.quarantine"])
def test_a_stage_that_is_told_no_digest_computes_the_true_one(both, name):
    local, compiled = both.texts(name, "input_fingerprint")
    assert local == compiled
    assert len(local) == 64


def test_vocabularies_and_weights_are_the_same(both):
    for name, inside in (("Transform.transform_graph", "transform_fn"), ("Trainer.model", "Format-Serving")):
        local, compiled = (folder / inside for folder in both.folders(name))
        for part in ("variables", "assets"):
            assert folder_sha256(local / part) == folder_sha256(compiled / part)
    local, compiled = (np.load(folder / "Format-Serving" / "assets.extra" / "warm_start.npz") for folder in both.folders("Trainer.model"))
    assert set(local.files) == set(compiled.files) != set()
    assert all(np.array_equal(local[key], compiled[key]) for key in local.files)


def test_the_model_says_what_it_is_made_from(both):
    local, compiled = (without(folder / "Format-Serving" / "assets.extra" / "model.json") for folder in both.folders("Trainer.model"))
    assert local == compiled
    assert all(len(digest) == 64 for digest in compiled["made_from"].values())


def test_scores_index_and_batch_are_the_same(both):
    local, compiled = both.folders("CategoryEvaluator.evaluation")
    assert without(local / "metrics.json") == without(compiled / "metrics.json")
    local, compiled = both.folders("IndexBuilder.index")
    assert (local / "vectors.npy").read_bytes() == (compiled / "vectors.npy").read_bytes()
    assert without(local / "manifest.json", "model_sha256") == without(compiled / "manifest.json", "model_sha256")
    local, compiled = both.folders("Sampler.batch")
    assert (local / "batch.jsonl").read_bytes() == (compiled / "batch.jsonl").read_bytes()
    assert without(local / "manifest.json", "version") == without(compiled / "manifest.json", "version")
    local, compiled = both.folders("PoolScorer.scored_pool")
    assert [path.read_bytes() for path in sorted(local.glob("*.parquet"))] == [
        path.read_bytes() for path in sorted(compiled.glob("*.parquet"))
    ]


def test_the_pair_goes_live_on_the_volume(both):
    live = json.loads((both.volume / "serving" / "live.json").read_text())
    assert (both.volume / "serving" / live["model"] / "saved_model.pb").is_file()
    assert both.first["PairPusher.pushed_model"]["metadata"]["pushed_version"] == str(live["version"])


def test_the_interface_is_given_numbers_a_page_and_a_table(both):
    metrics = json.loads((both.folders("CategoryEvaluator.evaluation")[1] / "metrics.json").read_text())
    shown = both.first["CategoryEvaluator.score_metrics"]["metadata"]
    assert shown["accuracy"] == pytest.approx(metrics["exclusive"]["accuracy"])
    assert shown["blessed"] == 1
    summary = without(both.folders("ProductExampleGen.quarantine")[1] / "summary.json")
    assert both.first["ProductExampleGen.ingest_metrics"]["metadata"]["rows"] == summary["rows"] >= PRODUCTS
    page = both.place(both.first["CategoryEvaluator.report_page"]).read_text()
    assert page.lstrip().lower().startswith("<!doctype html")
    batch = without(both.folders("Sampler.batch")[1] / "manifest.json")
    table = both.place(both.first["Sampler.batch_table"]).read_text()
    assert batch["batch_id"] in table
    assert table.count("\n| ") == batch["num_items"] + 1


def test_what_went_live_is_the_next_rounds_baseline(both):
    assert (both.place(both.first["BaselineModel.baseline"]) / NOTHING_LIVE).exists()
    assert without(both.folders("CategoryEvaluator.evaluation")[1] / "metrics.json")["baseline"] is None
    both.compiled.run(only=("BaselineModel", "Evaluator", "CategoryEvaluator"))
    baseline = both.compiled.artifacts["BaselineModel.baseline"]
    assert str(int(baseline["metadata"]["version"])) == both.first["PairPusher.pushed_model"]["metadata"]["pushed_version"]
    again = without(both.place(both.compiled.artifacts["CategoryEvaluator.evaluation"]) / "metrics.json")
    assert again["baseline"]["exclusive"] == again["exclusive"]
    assert both.compiled.artifacts["Evaluator.blessing"]["metadata"]["baseline_model"] == baseline["uri"]
    assert again["blessed"]
