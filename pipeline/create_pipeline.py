"""Chains the stages of one round in the order the data follows: `create_pipeline`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline

from pipeline.plan import RunPlan
from pipeline.stages.judging import judging_stages
from pipeline.stages.learning import learning_stages
from pipeline.stages.publishing import publishing_stages
from pipeline.stages.reading import reading_stages


def create_pipeline(
    plan: RunPlan, schema_file: Path, at_runtime: Mapping[str, RuntimeParameter] | None = None, until: str = ""
) -> Pipeline:
    """Returns the TFX pipeline of a run.

    Args:
        plan: what to run on.
        schema_file: the fields' schema, as `write_schema` wrote it.
        at_runtime: what is told when a run starts instead of planned, on Kubeflow: the digests of the plan by name, and
            `live`, which makes the live model be looked up while the run goes.
        until: the last stage, for who wants nothing that comes after it. Empty: all stages.
    """
    settings, told = plan.settings, at_runtime or {}
    run, root = settings["run"], Path(settings["run"]["root"])

    reading = reading_stages(plan, schema_file, told)
    learning = learning_stages(plan, reading, told.get("live"))
    looked_up = {"baseline": learning.baseline.outputs["baseline"]} if learning.baseline and told else {}
    judging = judging_stages(plan, reading, learning, looked_up)
    publishing = publishing_stages(plan, reading, learning, judging, looked_up)

    components = [*reading.stages(), *learning.stages(), *judging.stages(), *publishing]
    return Pipeline(
        pipeline_name=run["name"],
        pipeline_root=str(root / "pipeline"),
        components=components[: [component.id for component in components].index(until) + 1] if until else components,
        enable_cache=run["cache"],
        metadata_connection_config=_metadata_at(root / "metadata.sqlite"),
        beam_pipeline_args=list(settings["beam"]["args"]),
    )


def _metadata_at(path: Path) -> metadata_store_pb2.ConnectionConfig:
    # TFX's own helper makes the folder, and a pipeline may be compiled for folders of another machine.
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return config
