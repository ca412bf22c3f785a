"""Wires the stages that learn: features, the model to beat, the search for parameters, the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfx.components import Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import transform_pb2

from components.baseline import BaselineModel
from components.baseline_lookup import BaselineLookup
from components.training import SnapshotTrainer, SnapshotTuner
from pipeline.code_version import stage_code
from pipeline.plan import RunPlan
from pipeline.stages.reading import Reading
from schemas.features import features_from_json
from schemas.product import ANSWER_NODE, DEV, PARTIAL_FEATURES, RULE_NODES
from trainer_module.preprocessing import config_for_transform


@dataclass(frozen=True)
class Learning:
    """The stages that learn, in the order of the data. Without a live model there is no `baseline`."""

    transform: BaseComponent
    tuner: BaseComponent | None
    baseline: BaseComponent | None
    trainer: BaseComponent

    def stages(self) -> list[BaseComponent]:
        """Returns those that there are, in order."""
        return [stage for stage in (self.transform, self.tuner, self.baseline, self.trainer) if stage]


def learning_stages(plan: RunPlan, reading: Reading, live: RuntimeParameter | None) -> Learning:
    """Returns the stages that learn from labelled products; `live` makes the live model be looked up while the run goes."""
    settings = plan.settings
    products = reading.labelled.outputs["labelled_examples"]
    transform = Transform(
        examples=products,
        schema=reading.schema.outputs["schema"],
        preprocessing_fn="trainer_module.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=[DEV], transform=[DEV]),
        custom_config={
            **config_for_transform(features_from_json(plan.features), (ANSWER_NODE, RULE_NODES, *PARTIAL_FEATURES)),
            "code": stage_code("Transform"),
        },
        disable_statistics=True,
    )
    baseline = _baseline(plan, live)
    training: dict[str, Any] = {
        "split": DEV,
        "custom_config": training_config(plan),
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "taxonomy": reading.taxonomy.outputs["taxonomy"],
        "rules": reading.rules.outputs["rules"],
        "labels": reading.labels.outputs["labels"],
        "quarantine": reading.examples.outputs["quarantine"],
        **({"base_model": baseline.outputs["baseline"]} if baseline and settings["model"]["warm_start"] else {}),
    }
    tuner = SnapshotTuner(tuner_fn="trainer_module.tuner.tuner_fn", **training).with_id("Tuner") if settings["tuner"]["enabled"] else None
    tuned = {"hyperparameters": tuner.outputs["best_hyperparameters"]} if tuner else {}
    trainer = SnapshotTrainer(run_fn="trainer_module.trainer.run_fn", products=products, **training, **tuned).with_id("Trainer")
    return Learning(transform, tuner, baseline, trainer)


def training_config(plan: RunPlan) -> dict[str, Any]:
    """Returns the `custom_config` of the Trainer and the Tuner; all of it is in the cache key.

    `components.training` adds what the snapshots say: the taxonomy, the baseline, and what the model is made from.
    """
    settings = plan.settings
    return {
        "features": plan.features,
        "family": settings["model"]["family"],
        "compare_with": list(settings["model"]["compare_with"]),
        "compare_above": settings["model"]["compare_above"],
        "parameters": settings["model"]["parameters"],
        "phases": list(settings["phases"]),
        "seed": settings["run"]["seed"],
        "top_k": settings["scoring"]["top_k"],
        "acceptance": settings["acceptance"],
        "tuner": settings["tuner"],
        **({"encoders": plan.encoders} if plan.encoders else {}),
        "code": stage_code("Trainer", *(("Tuner",) if settings["tuner"]["enabled"] else ())),
    }


def _baseline(plan: RunPlan, live: RuntimeParameter | None) -> BaseComponent | None:
    if live:
        folder, name = plan.settings["push"]["folder"], plan.settings["run"]["name"]
        return BaselineLookup(push_folder=folder, name=name, live=live, code=stage_code("BaselineLookup")).with_id("BaselineModel")
    if not plan.baseline_uri:
        return None
    return BaselineModel(baseline_uri=plan.baseline_uri, version=plan.baseline_version, code=stage_code("BaselineModel"))
