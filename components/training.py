"""Hands TFX's Trainer and Tuner the run's own snapshots, so that training reads artifacts and nothing beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx.components.trainer import executor as tfx_trainer
from tfx.components.tuner import executor as tfx_tuner
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.channel import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter
from tfx.utils import json_utils, path_utils

from components.artifacts import LabelSnapshot, Quarantine, RuleSnapshot, TaxonomySnapshot
from components.baseline_artifact import baseline_folder
from components.snapshot_files import LABELS_FILE, RULES_FILE
from components.warmup_requests import write_warmup
from schemas.product import DEV

_SNAPSHOTS = {
    "taxonomy": ChannelParameter(type=TaxonomySnapshot),
    "rules": ChannelParameter(type=RuleSnapshot),
    "labels": ChannelParameter(type=LabelSnapshot),
    "quarantine": ChannelParameter(type=Quarantine),
}
# The digest in a model's description, to the artifact and its property that say it.
_MADE_FROM = {
    "feeds_sha256": ("quarantine", "input_fingerprint"),
    "taxonomy_sha256": ("taxonomy", "sha256"),
    "rules_sha256": ("rules", "sha256"),
    "labels_sha256": ("labels", "sha256"),
}
_PRODUCTS = "products"
_CONFIG, _BASELINE = standard_component_specs.CUSTOM_CONFIG_KEY, standard_component_specs.BASE_MODEL_KEY


def run_config(input_dict: dict[str, Any], exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Returns the parameters with `custom_config` completed: the snapshots' files, the baseline, and what the model is made from."""
    found = {name: artifact_utils.get_single_instance(artifacts) for name, artifacts in input_dict.items() if artifacts}
    config = json.loads(exec_properties[_CONFIG])
    config["taxonomy"] = str(Path(found["taxonomy"].uri) / "taxonomy.tsv")
    config["rules"] = str(Path(found["rules"].uri) / RULES_FILE)
    config["labels"] = str(Path(found["labels"].uri) / LABELS_FILE)
    config["baseline"] = str(baseline_folder(found.get(_BASELINE)) or "")
    config["made_from"] = {key: found[name].get_string_custom_property(of) for key, (name, of) in _MADE_FROM.items()}
    return {**exec_properties, _CONFIG: json.dumps(config)}


def without_snapshots(input_dict: dict[str, Any]) -> dict[str, Any]:
    """Returns the inputs that TFX's own executors know; a baseline crosses in the configuration."""
    return {name: found for name, found in input_dict.items() if name not in _SNAPSHOTS and name not in (_BASELINE, _PRODUCTS)}


class TrainerExecutor(tfx_trainer.GenericExecutor):
    """TFX's executor with the snapshots in `custom_config`, and requests to warm a server up beside the model."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:
        """Calls `run_fn`, then writes the requests."""
        super().Do(without_snapshots(input_dict), output_dict, run_config(input_dict, exec_properties))
        if input_dict.get(_PRODUCTS):
            model = artifact_utils.get_single_instance(output_dict[standard_component_specs.MODEL_KEY])
            products = artifact_utils.get_single_instance(input_dict[_PRODUCTS])
            write_warmup(Path(path_utils.serving_model_path(model.uri)), Path(products.uri) / f"Split-{DEV}")


class TunerExecutor(tfx_tuner.Executor):
    """TFX's executor with the snapshots in `custom_config`."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:
        """Calls `tuner_fn`."""
        super().Do(without_snapshots(input_dict), output_dict, run_config(input_dict, exec_properties))


class TrainerSpec(standard_component_specs.TrainerSpec):
    """What TFX's Trainer reads and writes, the snapshots, and products as clients will send them."""

    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        **_SNAPSHOTS,
        _PRODUCTS: ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }


class TunerSpec(standard_component_specs.TunerSpec):
    """What TFX's Tuner reads and writes, and the snapshots."""

    INPUTS = {**standard_component_specs.TunerSpec.INPUTS, **_SNAPSHOTS}


def _told(split: str, custom_config: dict[str, Any]) -> dict[str, Any]:
    return {
        "train_args": trainer_pb2.TrainArgs(splits=[split]),
        "eval_args": trainer_pb2.EvalArgs(splits=[split]),
        "custom_config": json_utils.dumps(custom_config),
    }


class SnapshotTrainer(base_component.BaseComponent):
    """TFX's Trainer on one split.

    Args:
        run_fn: dotted path of the function that trains.
        split: the split to train on.
        custom_config: what `run_fn` is told.
        channels: `examples`, `transform_graph`, `taxonomy`, `rules`, `labels`, `quarantine`; `products`, examples that
            aren't transformed, for the warm-up; `hyperparameters` and `base_model`, the model to start from, where there are any.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TrainerExecutor)

    def __init__(self, run_fn: str, split: str, custom_config: dict[str, Any], **channels: BaseChannel) -> None:
        spec = TrainerSpec(
            run_fn=run_fn,
            **_told(split, custom_config),
            model=Channel(type=standard_artifacts.Model),
            model_run=Channel(type=standard_artifacts.ModelRun),
            **channels,
        )
        super().__init__(spec=spec)


class SnapshotTuner(base_component.BaseComponent):
    """TFX's Tuner on one split.

    Args:
        tuner_fn: dotted path of the function that searches.
        split: the split to search on.
        custom_config: what `tuner_fn` is told.
        channels: as those of `SnapshotTrainer`, without `hyperparameters`.
    """

    SPEC_CLASS = TunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(TunerExecutor)

    def __init__(self, tuner_fn: str, split: str, custom_config: dict[str, Any], **channels: BaseChannel) -> None:
        spec = TunerSpec(
            tuner_fn=tuner_fn,
            **_told(split, custom_config),
            best_hyperparameters=Channel(type=standard_artifacts.HyperParameters),
            tuner_results=Channel(type=standard_artifacts.TunerResults),
            **channels,
        )
        super().__init__(spec=spec)
