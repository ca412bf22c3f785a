"""A compiled specification holds what open-source Kubeflow runs and nothing else, and a golden file shows each change of it.

    AISLE_UPDATE_GOLDEN=1 .venv/bin/pytest tests/pipeline/kubeflow/test_compiler.py

writes the golden file anew. Digests of code are left out of it: they change with every line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.cli import main
from pipeline.kubeflow.compiler import COMMAND, compile_pipeline
from pipeline.kubeflow.interface_artifacts import BY_KEY, INTERFACE_ARTIFACTS
from pipeline.kubeflow.parameters import PARAMETERS
from schemas.errors import SettingsError
from schemas.settings_loader import load_settings
from tests.support.compiled_run import task_order

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "configs" / "kubeflow.yaml"
GOLDEN = Path(__file__).with_name("golden.yaml")
IMAGE = "registry/aisle:0a1b2c3d4e5f"
UPDATE = "AISLE_UPDATE_GOLDEN"
EVERYTHING = ("tuner.enabled=true", "model.warm_start=true", "beam.args=[--direct_num_workers=1]")


def compiled(*overrides: str, image: str = IMAGE, root: str = "") -> str:
    return compile_pipeline(load_settings(CONFIG, overrides, prefix="/nowhere"), image, root)


@pytest.fixture(scope="module")
def text() -> str:
    return compiled()


@pytest.fixture(scope="module")
def spec(text) -> dict:
    return next(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def full() -> dict:
    """Every optional stage and input."""
    return next(yaml.safe_load_all(compiled(*EVERYTHING)))


def normalized(text: str) -> str:
    r"""Returns a specification without the digests of code.

    >>> normalized('code: 0123456789abcdef, "code\\": \\"0123456789abcdef')
    'code: CODE, "code\\": \\"CODE'
    """
    return re.sub(r"\b[0-9a-f]{16}\b", "CODE", text)


def test_the_specification_is_the_golden_one(text):
    if os.environ.get(UPDATE):
        GOLDEN.write_text(normalized(text), encoding="utf-8")
    assert normalized(text) == GOLDEN.read_text(encoding="utf-8"), f"set {UPDATE}=1 to write it anew"


def test_compiling_twice_gives_the_same_text(text):
    assert compiled() == text


def test_kfps_own_loader_takes_it(text, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = components.load_component_from_file(str(path))
    assert set(loaded.component_spec.inputs) == set(PARAMETERS)
    assert all(not parameter.optional for parameter in loaded.component_spec.inputs.values())
    assert loaded.pipeline_spec.default_pipeline_root == "minio://mlpipeline/aisle"


def test_it_is_schema_2_1_without_an_unknown_field(full):
    found = json_format.ParseDict(full, pipeline_spec_pb2.PipelineSpec())
    assert found.schema_version == "2.1.0"
    json_format.ParseDict(full["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())


def test_every_stage_starts_our_image_with_our_command(full):
    executors = full["deploymentSpec"]["executors"]
    assert {component["executorLabel"] for component in full["components"].values()} == set(executors)
    for name, executor in executors.items():
        assert set(executor) == {"container"}, name  # No resolver, no importer.
        assert executor["container"]["image"] == IMAGE, name
        assert executor["container"]["command"] == COMMAND, name
        assert "lifecycle" not in executor["container"], name  # A hook of Vertex alone.


def test_nothing_in_it_needs_more_than_open_source_kubeflow(full):
    tasks = full["root"]["dag"]["tasks"]
    assert len(task_order(tasks)) == len(tasks) == len(full["components"])
    for name, task in tasks.items():
        assert set(task) <= {"cachingOptions", "componentRef", "dependentTasks", "inputs", "taskInfo"}, name
        assert all(set(artifact) == {"taskOutputArtifact"} for artifact in task.get("inputs", {}).get("artifacts", {}).values()), name
        parameters = task.get("inputs", {}).get("parameters", {}).values()
        assert all(set(parameter) <= {"runtimeValue", "componentInputParameter"} for parameter in parameters), name
    assert all("parameters" not in component.get("outputDefinitions", {}) for component in full["components"].values())


def test_no_key_of_the_interface_is_a_stages_own(full):
    assert len(BY_KEY) == sum(map(len, INTERFACE_ARTIFACTS.values()))
    for stage, artifacts in INTERFACE_ARTIFACTS.items():
        outputs = full["components"][stage]["outputDefinitions"]["artifacts"]
        for key, artifact in artifacts.items():
            assert outputs[key] == {"artifactType": {"schemaTitle": artifact.kind, "schemaVersion": "0.0.1"}}
        own = {key: found for key, found in outputs.items() if key not in artifacts}
        assert own
        assert all("instanceSchema" in found["artifactType"] for found in own.values())


def test_reading_stages_are_told_when_their_inputs_change(spec):
    told = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        sources = task.get("inputs", {}).get("parameters", {})
        found = {key: source["componentInputParameter"] for key, source in sources.items() if "componentInputParameter" in source}
        if found:
            told[name] = found
    assert told == {
        "ProductExampleGen": {"fingerprint": "feeds_sha256"},
        "TaxonomySnapshotGen": {"sha256": "taxonomy_sha256"},
        "RuleSnapshotGen": {"sha256": "rules_sha256"},
        "LabelSnapshotGen": {"sha256": "labels_sha256"},
        "BaselineModel": {"live": "live"},
    }


def test_no_path_of_the_compiling_machine_is_in_it(tmp_path):
    for text in (compiled(), compiled(f"run.root={tmp_path}/runs")):
        assert str(ROOT) not in text
        assert str(tmp_path) not in text
        assert "/nowhere" not in text


def test_every_container_gets_the_volume_and_its_limits(text, spec):
    _, platform = yaml.safe_load_all(text)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(spec["deploymentSpec"]["executors"])
    for name, config in executors.items():
        found = json_format.ParseDict(config, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
        assert [(mount.constant, mount.mount_path) for mount in found.pvc_mount] == [("aisle", "/aisle")]
        assert spec["deploymentSpec"]["executors"][name]["container"]["resources"] == {"cpuLimit": 2.0, "memoryLimit": 8.0}


def test_without_a_volume_there_is_one_document():
    assert len(list(yaml.safe_load_all(compiled("kubeflow.volume_claim=''")))) == 1


def test_image_and_root_of_the_caller_win():
    found = next(yaml.safe_load_all(compiled("kubeflow.image=other/image:1", image="mine/aisle:2", root="s3://bucket/runs")))
    assert {executor["container"]["image"] for executor in found["deploymentSpec"]["executors"].values()} == {"mine/aisle:2"}
    assert found["defaultPipelineRoot"] == "s3://bucket/runs"


@pytest.mark.parametrize(
    ("overrides", "image", "root", "message"),
    [
        ((), "", "", "kubeflow.image: no image is named. Expected such as"),
        ((), "registry/aisle", "", "'registry/aisle' names no image with a tag"),
        ((), "Registry/aisle:1; rm -rf", "", "names no image with a tag"),
        ((), IMAGE, "/var/artifacts", "kubeflow.root: '/var/artifacts' isn't on object storage"),
        ((), IMAGE, "s3://", "isn't on object storage"),
        (("catalogue.folder=/aisle/shoes",), IMAGE, "", "catalogue.folder is unpacked where a run is planned"),
        (("taxonomy.path=",), IMAGE, "", "no taxonomy is named"),
        (("taxonomy.path=taxonomy.tsv",), IMAGE, "", r"taxonomy.path: '.*taxonomy.tsv' isn't on the volume at /aisle"),
        (("push.folder=/srv/live",), IMAGE, "", "push.folder: '/srv/live' isn't on the volume"),
        (("rules.path=/aisle/../etc/rules.tsv",), IMAGE, "", "rules.path"),
        (("networks={}",), IMAGE, "", "no feeds are named"),
    ],
)
def test_what_cant_work_on_a_cluster_is_refused_by_name(overrides, image, root, message):
    with pytest.raises(SettingsError, match=message):
        compiled(*overrides, image=image, root=root)


def test_the_verb_writes_the_file_whole_and_says_what_to_tell_it(tmp_path, capsys):
    path = tmp_path / "made" / "pipeline.yaml"
    assert main(["compile", "--config", str(CONFIG), "--image", IMAGE, "--output", str(path)]) == 0
    assert f"compiled shop to {path}" in capsys.readouterr().out
    assert normalized(path.read_text(encoding="utf-8")) == GOLDEN.read_text(encoding="utf-8")
    assert [found.name for found in path.parent.iterdir()] == ["pipeline.yaml"]


def test_the_verb_does_not_write_over_its_settings(tmp_path, capsys):
    config = tmp_path / "aisle.yaml"
    config.write_bytes(CONFIG.read_bytes())
    assert main(["compile", "--config", str(config), "--image", IMAGE, "--output", str(config)]) == 2
    assert "this is the file of --config, and would be written over" in capsys.readouterr().err
    assert config.read_bytes() == CONFIG.read_bytes()


@pytest.mark.parametrize(("name", "message"), [("pipeline.json", "Kubeflow takes YAML"), ("taken/pipeline.yaml", "can't be written")])
def test_the_verb_refuses_a_file_it_cant_write(tmp_path, capsys, name, message):
    (tmp_path / "taken").write_text("")
    assert main(["compile", "--config", str(CONFIG), "--image", IMAGE, "--output", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
