"""The TFX shell that pushes a blessed model with its index; pair_pushing.py says how."""

import logging
import time
from pathlib import Path
from typing import Any

from tfx.components.pusher import executor as tfx_pusher
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils

from components.artifacts import SimilarityIndex
from components.baseline_artifact import baseline_version
from components.pair_pushing import KEEP, MODELS, Origin, RolledBackError, push_pair

NOT_PUSHED_REASON = "reason"
log = logging.getLogger(__name__)


class Executor(tfx_pusher.Executor):
    """TFX's own check of the blessings and its own properties, around a push of two folders."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:
        """Runs the stage; see `PairPusher` for its inputs, output and parameters."""
        started_s = time.monotonic()
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            log.info("pair_pusher pushed=0 reason=%s", _refusal(input_dict))
            return
        model = Path(self.GetModelPath(input_dict))
        index = Path(artifact_utils.get_single_instance(input_dict["index"]).uri)
        folder, name = Path(exec_properties["push_folder"]), exec_properties["name"]
        run = self._context.pipeline_run_id if self._context else None
        found = input_dict.get("baseline")
        judged_against = baseline_version(artifact_utils.get_single_instance(found) if found else None)
        judged_against = judged_against or int(exec_properties.get("baseline_version") or 0)
        origin = Origin(exec_properties.get("round") or "", judged_against, run or "")
        keep = int(exec_properties.get("keep") or KEEP)
        try:
            version = push_pair(model, index, folder, name, int(time.time()), origin, keep)
        except RolledBackError as error:  # The round is fine, and people need its batch.
            self._MarkNotPushed(pushed)
            pushed.set_string_custom_property(NOT_PUSHED_REASON, str(error))
            log.warning("pair_pusher pushed=0 reason=%s", error)
            return
        io_utils.copy_dir(str(model), pushed.uri)  # As TFX's Pusher does: the artifact outlives the push folder.
        self._MarkPushed(pushed, pushed_destination=str(folder / MODELS / name / str(version)), pushed_version=str(version))
        log.info("pair_pusher pushed=1 version=%d seconds=%.1f", version, time.monotonic() - started_s)


def _refusal(input_dict: dict[str, Any]) -> str:
    for key in ("model_blessing", "infra_blessing"):
        if artifact_utils.get_single_instance(input_dict[key]).get_int_custom_property("blessed") != 1:
            return f"no_{key}"
    return "unknown"


class PairPusherSpec(ComponentSpec):
    """What the stage reads, is told and writes."""

    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        "index": ChannelParameter(type=SimilarityIndex),
        "baseline": ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"pushed_model": ChannelParameter(type=standard_artifacts.PushedModel)}
    PARAMETERS = {
        "push_folder": ExecutionParameter(type=str),
        "name": ExecutionParameter(type=str),
        "round": ExecutionParameter(type=str),
        "baseline_version": ExecutionParameter(type=int),
        "keep": ExecutionParameter(type=int),
        "code": ExecutionParameter(type=str),
    }


class PairPusher(base_component.BaseComponent):
    """Makes a model and its index live under one version; nothing unless both blessings are there.

    Args:
        model: the run's candidate.
        model_blessing: the gate's word.
        infra_blessing: the smoke test's word.
        index: built from the candidate's embeddings.
        push_folder: holds `models/`, `indexes/` and `live.json`.
        name: of the model.
        round: digest of everything the pair is made from but the baseline, by which the same round knows it again.
        baseline: the model it was judged against, where that was looked up while the run goes.
        baseline_version: otherwise its version, 0 for none.
        keep: versions that stay in the folder.
        code: digest of the code, so that the cache notices a change.
    """

    SPEC_CLASS = PairPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: BaseChannel,
        model_blessing: BaseChannel,
        infra_blessing: BaseChannel,
        index: BaseChannel,
        push_folder: str,
        name: str,
        round: str = "",
        baseline_version: int = 0,
        keep: int = KEEP,
        code: str = "",
        baseline: BaseChannel | None = None,
    ) -> None:
        spec = PairPusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            index=index,
            baseline=baseline,
            push_folder=push_folder,
            name=name,
            round=round,
            baseline_version=baseline_version,
            keep=keep,
            code=code,
            pushed_model=Channel(type=standard_artifacts.PushedModel),
        )
        super().__init__(spec=spec)
