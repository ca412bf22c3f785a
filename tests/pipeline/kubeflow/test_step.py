"""A step turns what Kubeflow hands it into what TFX takes, and back, for a stage of three lines behind a folder of buckets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from pyarrow import fs

from pipeline.kubeflow import step
from pipeline.kubeflow.staging import Staging
from schemas.errors import ModelError

EXECUTOR = "tests.support.path_teller.PathTeller_Executor"
MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
SPEC = json.dumps({
    "artifacts": {"model": {"artifactType": MODEL}},
    "parameters": {"times": {"parameterType": "NUMBER_INTEGER"}, "refuse": {"parameterType": "STRING"}},
})  # fmt: skip


def message(root: str, output_file: Path, refuse: str = "") -> dict[str, Any]:
    """Returns what Kubeflow's driver makes: an input has a number for a name, and no type."""
    model = {"name": "17", "uri": f"{root}/Trainer/model", "metadata": {"version": 3.0, "display_name": "model"}}
    return {
        "inputs": {"artifacts": {"model": {"artifacts": [model]}}, "parameterValues": {"times": 2.0, "refuse": refuse}},
        "outputs": {
            "artifacts": {
                "copied": {"artifacts": [{"uri": f"{root}/PathTeller/copied", "type": MODEL, "metadata": {}}]},
                "executor-logs": {"artifacts": [{"uri": f"{root}/PathTeller/executor-logs", "type": {"schemaTitle": "system.Artifact"}}]},
            },
            "outputFile": str(output_file),
        },
    }


@pytest.fixture
def bucket(tmp_path) -> Path:
    """A bucket that holds a model."""
    folder = tmp_path / "store" / "bucket"
    (folder / "Trainer" / "model" / "a").mkdir(parents=True)
    (folder / "Trainer" / "model" / "a" / "b.txt").write_text("weights")
    return folder


def run(tmp_path: Path, root: str, launcher: Path | None = None, refuse: str = "") -> dict[str, Any]:
    """Runs the stage and returns its output file, which must be Kubeflow's message and nothing else."""
    output_file, scratch = tmp_path / "kfp_outputs" / "output_metadata.json", tmp_path / "scratch"
    store = fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem())
    staging = Staging(scratch, launcher, lambda scheme: store)
    step.run_step(EXECUTOR, message(root, output_file, refuse), SPEC, (), staging, scratch)
    found = json_format.Parse(output_file.read_text(), pipeline_spec_pb2.ExecutorOutput())
    return json_format.MessageToDict(found)["artifacts"]


def test_a_step_reads_and_writes_object_storage(tmp_path, bucket):
    (copied,) = run(tmp_path, "minio://bucket")["copied"]["artifacts"]
    assert (bucket / "PathTeller" / "copied" / "a" / "b.txt").read_text() == "weights"
    assert copied["uri"] == "minio://bucket/PathTeller/copied"


def test_what_a_stage_says_of_local_places_is_said_of_uris(tmp_path, bucket):
    (copied,) = run(tmp_path, "minio://bucket")["copied"]["artifacts"]
    assert copied["metadata"]["found_in"] == "minio://bucket/Trainer/model"
    assert copied["metadata"]["file"] == "minio://bucket/Trainer/model/a/b.txt"
    assert copied["metadata"]["times"] == 2
    assert copied["metadata"]["version"] == 4


def test_behind_the_launcher_nothing_but_its_folders_is_touched(tmp_path, bucket):
    (tmp_path / "minio").symlink_to(tmp_path / "store")
    (copied,) = run(tmp_path, "minio://bucket", launcher=tmp_path)["copied"]["artifacts"]
    assert (bucket / "PathTeller" / "copied" / "a" / "b.txt").read_text() == "weights"
    assert copied["metadata"]["found_in"] == "minio://bucket/Trainer/model"


def test_a_mounted_root_is_used_in_place(tmp_path, bucket):
    (copied,) = run(tmp_path, str(bucket))["copied"]["artifacts"]
    assert copied["uri"] == f"{bucket}/PathTeller/copied"
    assert copied["metadata"]["found_in"] == f"{bucket}/Trainer/model"


def test_a_stage_that_fails_leaves_no_output_file_and_delivers_nothing(tmp_path, bucket):
    with pytest.raises(ModelError, match="too small"):
        run(tmp_path, "minio://bucket", refuse="too small")
    assert not (tmp_path / "kfp_outputs").exists()
    assert not (bucket / "PathTeller").exists()


def arguments(found: object) -> list[str]:
    text = found if isinstance(found, str) else json.dumps(found)
    return ["--executor_class_path", EXECUTOR, "--json_serialized_invocation_args", text, "--json_serialized_inputs_spec_args", SPEC]


def test_an_error_is_the_last_line_and_the_exit_code(tmp_path, bucket, capsys):
    found = message(str(bucket), tmp_path / "output.json", refuse="feed.csv:7: too small. Make it bigger.")
    assert step.main(arguments(found)) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: feed.csv:7: too small. Make it bigger."


@pytest.mark.parametrize(
    "text", ["", "{{$}}", "[]", "{}", '{"outputs": {"outputFile": 1}}', '{"outputs": {"outputFile": "a"}, "inputs": 3}']
)
def test_what_isnt_kubeflows_message_is_refused_in_one_line(text, capsys):
    assert step.main(arguments(text)) == 1
    assert "isn't what Kubeflow hands a step" in capsys.readouterr().err.splitlines()[-1]


def test_a_storage_kubeflow_doesnt_know_is_refused_by_its_uri(tmp_path, capsys):
    assert step.main(arguments(message("ftp://host/runs", tmp_path / "output.json"))) == 1
    assert "error: ftp://host/runs/" in capsys.readouterr().err.splitlines()[-1]
