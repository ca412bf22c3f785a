"""Wires the stages that read: from feeds, tree, rules and answers to labelled products."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfx.components import ExampleValidator, StatisticsGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter

from components.anomaly_gate import AnomalyGate
from components.encoder import Encoder, vector_cache_path
from components.label_join import LabelJoin
from components.product_example_gen import ProductExampleGen
from components.product_schema_gen import ProductSchemaGen
from components.snapshots import LabelSnapshotGen, RuleSnapshotGen, TaxonomySnapshotGen
from pipeline.code_version import stage_code
from pipeline.encoder_inputs import fed_vectors
from pipeline.plan import RunPlan
from schemas.features import features_from_json


@dataclass(frozen=True)
class Reading:
    """The stages that read, in the order of the data; `others` are the checks and the encoder, if there are any."""

    examples: BaseComponent
    taxonomy: BaseComponent
    rules: BaseComponent
    labels: BaseComponent
    schema: BaseComponent
    others: tuple[BaseComponent, ...]
    labelled: BaseComponent

    def stages(self) -> list[BaseComponent]:
        """Returns all of them in order."""
        return [self.examples, self.taxonomy, self.rules, self.labels, self.schema, *self.others, self.labelled]


def reading_stages(plan: RunPlan, schema_file: Path, at_runtime: Mapping[str, RuntimeParameter]) -> Reading:
    """Returns the stages that read what a plan names, with those digests of its sources that are told at run time."""
    settings = plan.settings
    examples = ProductExampleGen(
        feeds=json.dumps(plan.feeds),
        ingest=json.dumps(settings["ingest"]),
        seed=settings["run"]["seed"],
        dense=json.dumps(_dense_fields(plan)),
        fingerprint=at_runtime.get("feeds_sha256", plan.feeds_sha256),
        code=stage_code("ProductExampleGen"),
    )
    taxonomy = TaxonomySnapshotGen(
        path=plan.taxonomy, sha256=at_runtime.get("taxonomy_sha256", plan.taxonomy_sha256), code=stage_code("TaxonomySnapshotGen")
    )
    rules = RuleSnapshotGen(
        taxonomy=taxonomy.outputs["taxonomy"],
        path=plan.rules,
        sha256=at_runtime.get("rules_sha256", plan.rules_sha256),
        code=stage_code("RuleSnapshotGen"),
    )
    labels = LabelSnapshotGen(
        events=json.dumps(plan.events),
        store=settings["labels"]["store"],
        sha256=at_runtime.get("labels_sha256", plan.labels_sha256),
        code=stage_code("LabelSnapshotGen"),
    )
    schema = ProductSchemaGen(text=schema_file.read_text(encoding="utf-8"), code=stage_code("ProductSchemaGen"))
    encoder = _encoder(plan, examples)
    labelled = LabelJoin(
        examples=encoder.outputs["encoded_examples"] if encoder else examples.outputs["examples"],
        taxonomy=taxonomy.outputs["taxonomy"],
        rules=rules.outputs["rules"],
        labels=labels.outputs["labels"],
        code=stage_code("LabelJoin"),
    )
    others = (*_checks(plan, examples, schema), *([encoder] if encoder else []))
    return Reading(examples, taxonomy, rules, labels, schema, others, labelled)


def _checks(plan: RunPlan, examples: BaseComponent, schema: BaseComponent) -> list[BaseComponent]:
    if not plan.settings["statistics"]["enabled"]:
        return []
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    gate = AnomalyGate(anomalies=validator.outputs["anomalies"], code=stage_code("AnomalyGate"))
    return [statistics, validator, gate]


def _encoder(plan: RunPlan, examples: BaseComponent) -> BaseComponent | None:
    if not plan.encoders:
        return None
    return Encoder(
        examples=examples.outputs["examples"],
        encoders=json.dumps(plan.encoders, sort_keys=True),
        images=plan.images,
        images_sha256=plan.images_sha256,
        cache=vector_cache_path(plan.settings["run"]["root"]),
        cache_gb=plan.settings["encoding"]["cache_gb"],
        code=stage_code("Encoder"),
    )


def _dense_fields(plan: RunPlan) -> dict[str, Any]:
    return fed_vectors(features_from_json(plan.features), [encoder["name"] for encoder in plan.encoders])
