"""Proves that the artifacts of the latest run are found in TFX's own metadata, failed runs passed over."""

from __future__ import annotations

import json

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.results import compared_families, latest_artifacts, latest_folder
from schemas.errors import StoreError

COMPLETE, CACHED, FAILED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED, mlmd.Execution.FAILED


class Records:
    """Writes metadata as TFX does: a context for each run and node, executions in both, artifacts as their outputs."""

    def __init__(self, root):
        self.root = root
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        self.store = metadata_store.MetadataStore(config)
        self.run_type = self.store.put_context_type(mlmd.ContextType(name="pipeline_run"))
        self.node_type = self.store.put_context_type(mlmd.ContextType(name="node"))
        self.execution_type = self.store.put_execution_type(mlmd.ExecutionType(name="Stage"))
        self.artifact_type = self.store.put_artifact_type(mlmd.ArtifactType(name="Thing"))
        self.nodes = {}

    def run(self, name, *stages):
        """Adds a run of (node, key, folder name, state)."""
        [run] = self.store.put_contexts([mlmd.Context(type_id=self.run_type, name=name)])
        for node, key, folder, state in stages:
            if node not in self.nodes:
                [self.nodes[node]] = self.store.put_contexts([mlmd.Context(type_id=self.node_type, name=f"shop.{node}")])
            contexts = [mlmd.Context(id=run, type_id=self.run_type, name=name)]
            contexts.append(mlmd.Context(id=self.nodes[node], type_id=self.node_type, name=f"shop.{node}"))
            event = mlmd.Event(type=mlmd.Event.OUTPUT, path=mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key)]))
            artifact = mlmd.Artifact(type_id=self.artifact_type, uri=str(self.root / folder))
            self.store.put_execution(mlmd.Execution(type_id=self.execution_type, last_known_state=state), [(artifact, event)], contexts)


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path)


def test_the_latest_runs_artifacts_are_found_by_stage_and_key(records, tmp_path):
    records.run("1", ("Sampler", "batch", "batch-1", COMPLETE), ("Trainer", "model", "model-1", COMPLETE))
    records.run("2", ("Sampler", "batch", "batch-2", COMPLETE), ("Trainer", "model", "model-1", CACHED))
    found = {name: artifact.uri for name, artifact in latest_artifacts(tmp_path).items()}
    assert found == {"Sampler.batch": str(tmp_path / "batch-2"), "Trainer.model": str(tmp_path / "model-1")}


def test_a_run_that_stopped_before_an_artifact_is_passed_over(records, tmp_path):
    records.run("1", ("Sampler", "batch", "batch-1", COMPLETE))
    records.run("2", ("Trainer", "model", "model-2", COMPLETE), ("Sampler", "batch", "batch-2", FAILED))
    (tmp_path / "batch-1").mkdir()
    assert latest_folder(tmp_path, "Sampler.batch") == tmp_path / "batch-1"
    assert set(latest_artifacts(tmp_path)) == {"Trainer.model"}


def test_an_artifact_that_is_gone_is_named(records, tmp_path):
    records.run("1", ("Sampler", "batch", "batch-1", COMPLETE))
    with pytest.raises(StoreError, match="batch-1: the latest Sampler.batch is gone. Run again"):
        latest_folder(tmp_path, "Sampler.batch")


def test_reading_leaves_the_metadata_as_it_is(records, tmp_path):
    records.run("1", ("Sampler", "batch", "batch-1", COMPLETE))
    before = (tmp_path / "metadata.sqlite").read_bytes()
    latest_artifacts(tmp_path)
    assert (tmp_path / "metadata.sqlite").read_bytes() == before


def test_where_nothing_has_run_the_way_out_is_named(tmp_path):
    with pytest.raises(StoreError, match="nothing has run here yet. Start with aisle run, or set run.root."):
        latest_artifacts(tmp_path)


def test_where_no_run_got_so_far_the_way_out_is_named(records, tmp_path):
    records.run("1", ("Trainer", "model", "model-1", COMPLETE))
    with pytest.raises(StoreError, match="no run has made Sampler.batch yet. Start with aisle run"):
        latest_folder(tmp_path, "Sampler.batch")


@pytest.mark.parametrize(("num_judged", "is_said"), [(0, False), (3_118, True)])
def test_families_that_were_compared_are_said(tmp_path, num_judged, is_said):
    comparison = {"winner": "linear", "scores": {"linear": {"accuracy": 0.8}, "few_shot": {"accuracy": 0.7}}, "num_judged": num_judged}
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "hyperparameters.json").write_text(json.dumps({"comparison": comparison}))
    assert compared_families(tmp_path) == (comparison if is_said else None)
