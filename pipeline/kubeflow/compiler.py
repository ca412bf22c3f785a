"""Compiles the pipeline to what open-source Kubeflow runs: a KFP v2 specification, schema 2.1.0, as YAML."""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

import dataclasses
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig

from pipeline.create_pipeline import create_pipeline
from pipeline.encoder_inputs import read_encoders, with_encoders
from pipeline.inputs import NetworkFeeds, check_training, read_features
from pipeline.kubeflow.interface_artifacts import INTERFACE_ARTIFACTS
from pipeline.kubeflow.parameters import PARAMETERS
from pipeline.local_run import write_schema
from pipeline.plan import RunPlan
from schemas.errors import SettingsError
from schemas.settings import Settings

COMMAND = ["python", "-m", "pipeline.kubeflow.step"]
# As container registries allow: a name of lower-case parts, and a tag or a digest.
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})")
# Behind a question mark Kubeflow takes endpoint and region.
_ROOT = re.compile(r"(minio|s3|gs)://[a-z0-9][a-z0-9._-]*(/[^?#\s]*)?(\?[^#\s]*)?")
_SYSTEM_VERSION = "0.0.1"
_LINE = 120


def compile_pipeline(settings: Settings, image: str = "", root: str = "") -> str:
    """Returns the specification, and in a second document what Kubernetes must give each container.

    The same settings, code, image and root give the same text. No input is read: digests of them are parameters of the
    compiled pipeline, see `parameters.py`.

    Args:
        settings: what to run; every path in it is on the volume of `settings.kubeflow`, or on object storage.
        image: of every stage; by default `kubeflow.image`.
        root: where artifacts go; by default `kubeflow.root`, and without that the cluster's own.

    Raises:
        SettingsError: an image, root or path that can't work on a cluster.
    """
    image, root = image or settings.kubeflow.image, root or settings.kubeflow.root
    _check(settings, image, root)
    spec = _tfx_spec(settings, image)
    _add_interface_artifacts(spec)
    _add_resources(spec, settings)
    if root:
        spec["defaultPipelineRoot"] = root
    documents = [spec, *_platform(spec, settings)]
    return _heading(settings) + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=_LINE)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines line by line, so that two versions of a specification can be compared by eye."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Returns the node of a text."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    def ignore_aliases(self, data: Any) -> bool:
        """Writes everything out: an alias saves bytes and costs the reader."""
        return True


_Dumper.add_representer(str, _Dumper.represent_str)


def _heading(settings: Settings) -> str:
    inputs = "\n".join(f"#    {name}: str, {said}" for name, said in PARAMETERS.items())
    return f"# PIPELINE DEFINITION\n# Name: {settings.run.name}\n# Inputs:\n{inputs}\n"


def _check(settings: Settings, image: str, root: str) -> None:
    if not _IMAGE.fullmatch(image):
        found = f"{image!r} names no image with a tag" if image else "no image is named"
        raise SettingsError(f"kubeflow.image: {found}. Expected such as registry/aisle:0a1b2c3d4e5f: set it, or pass --image.")
    if root and not _ROOT.fullmatch(root):
        raise SettingsError(
            f"kubeflow.root: {root!r} isn't on object storage. Expected minio://, s3:// or gs:// with a bucket, or nothing."
        )
    if settings.catalogue.folder:
        raise SettingsError("catalogue.folder is unpacked where a run is planned. Name its files in networks, taxonomy and rules.")
    if not any(network.feeds for network in settings.networks.values()):
        raise SettingsError("no feeds are named. Set networks.")
    if not settings.taxonomy.path:
        raise SettingsError("no taxonomy is named. Set taxonomy.path.")
    check_training(settings)
    for number, encoder in enumerate(settings.encoders):
        if encoder.weights.startswith("hub://"):
            raise SettingsError(f"encoders.{number}.weights: containers have no hub. Put the model on the volume and name its folder.")
    mount = PurePosixPath(settings.kubeflow.mount_path)
    for key, path in _paths(settings):
        inside = mount in PurePosixPath(path).parents and ".." not in PurePosixPath(path).parts
        if path and "://" not in path and not inside:
            raise SettingsError(f"{key}: {path!r} isn't on the volume at {mount}, where containers look. Name a path under {mount}.")


def _paths(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, network in settings.networks.items():
        yield from ((f"networks.{name}.feeds", path) for path in network.feeds)
    yield "taxonomy.path", settings.taxonomy.path
    yield "rules.path", settings.rules.path
    yield "labels.store", settings.labels.store
    yield from (("labels.events", path) for path in settings.labels.events)
    yield "ingest.split", settings.ingest.split
    yield "push.folder", settings.push.folder
    yield from ((f"encoders.{number}.weights", encoder.weights) for number, encoder in enumerate(settings.encoders))
    yield "encoding.images", settings.encoding.images


def _plan(settings: Settings) -> RunPlan:
    """Returns a plan without what only a run can know: digests, and what is live. Feeds stay patterns."""
    feeds = [NetworkFeeds(name, network, list(network.feeds)) for name, network in settings.networks.items()]
    encoders = read_encoders(settings)  # The vectors' sizes shape the pipeline, so the weights must be here, too.
    return RunPlan(
        settings=dataclasses.asdict(settings),
        feeds=[feed.plain() for feed in feeds],
        feeds_sha256="",
        features=with_encoders(read_features(settings), encoders).to_json(),
        taxonomy=settings.taxonomy.path,
        taxonomy_sha256="",
        rules=settings.rules.path,
        rules_sha256="",
        events=list(settings.labels.events),
        labels_sha256="",
        round="",
        baseline_uri="",
        baseline_version=0,
        encoders=encoders,
        images=settings.encoding.images,
    )


def _tfx_spec(settings: Settings, image: str) -> dict[str, Any]:
    plan = _plan(settings)
    at_runtime = {name: RuntimeParameter(name=name, ptype=str) for name in PARAMETERS}
    with tempfile.TemporaryDirectory(prefix="aisle-compile-") as folder:
        composed = create_pipeline(plan, write_schema(plan, Path(folder)), at_runtime)
    config = KubeflowV2DagRunnerConfig(default_image=image, default_commands=COMMAND, use_pipeline_spec_2_1=True)
    return dict(KubeflowV2DagRunner(config=config).run(composed, write_out=False)["pipelineSpec"])


def _add_interface_artifacts(spec: dict[str, Any]) -> None:
    for stage, artifacts in INTERFACE_ARTIFACTS.items():
        outputs = spec["components"][stage]["outputDefinitions"]["artifacts"]
        for key, artifact in artifacts.items():
            outputs[key] = {"artifactType": {"schemaTitle": artifact.kind, "schemaVersion": _SYSTEM_VERSION}}


def _add_resources(spec: dict[str, Any], settings: Settings) -> None:
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"]["resources"] = {"cpuLimit": settings.kubeflow.cpus, "memoryLimit": settings.kubeflow.memory_gb}


def _platform(spec: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """Returns the document of kfp-kubernetes: the volume, for every container; nothing where there is no volume."""
    if not settings.kubeflow.volume_claim:
        return []
    mount = {"constant": settings.kubeflow.volume_claim, "mountPath": settings.kubeflow.mount_path}
    executors = {name: {"pvcMount": [mount]} for name in spec["deploymentSpec"]["executors"]}
    return [{"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}]
