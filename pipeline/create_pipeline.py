"""Chains the stages of one round in the order the data follows: `create_pipeline`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.components import ExampleValidator, StatisticsGen, Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import transform_pb2

from components.anomaly_gate import AnomalyGate
from components.baseline import BaselineModel
from components.baseline_lookup import BaselineLookup
from components.category_evaluator import CategoryEvaluator
from components.encoder import Encoder, vector_cache_path
from components.evaluation.gate import eval_config
from components.index_builder import IndexBuilder
from components.label_join import LabelJoin
from components.model_gate import ModelGate
from components.neighbour_lister import NeighbourLister
from components.pair_pusher import PairPusher
from components.pool_scorer import PoolScorer
from components.product_example_gen import ProductExampleGen
from components.product_schema_gen import ProductSchemaGen
from components.sampler import Sampler
from components.smoke_tester import SmokeTester
from components.snapshots import LabelSnapshotGen, RuleSnapshotGen, TaxonomySnapshotGen
from components.training import SnapshotTrainer, SnapshotTuner
from pipeline.code_version import stage_code
from pipeline.encoder_inputs import fed_vectors
from pipeline.plan import RunPlan
from pipeline.sampling_inputs import committee_uris
from schemas.features import FeatureConfig, features_from_json
from schemas.product import ANSWER_NODE, DEV, RULE_NODES, TEST
from schemas.settings import EvaluationSettings
from trainer_module.preprocessing import config_for_transform


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

    examples = ProductExampleGen(
        feeds=json.dumps(plan.feeds),
        ingest=json.dumps(settings["ingest"]),
        seed=run["seed"],
        dense=json.dumps(_dense_fields(plan)),
        fingerprint=told.get("feeds_sha256", plan.feeds_sha256),
        code=stage_code("ProductExampleGen"),
    )
    taxonomy = TaxonomySnapshotGen(
        path=plan.taxonomy, sha256=told.get("taxonomy_sha256", plan.taxonomy_sha256), code=stage_code("TaxonomySnapshotGen")
    )
    rules = RuleSnapshotGen(
        taxonomy=taxonomy.outputs["taxonomy"],
        path=plan.rules,
        sha256=told.get("rules_sha256", plan.rules_sha256),
        code=stage_code("RuleSnapshotGen"),
    )
    labels = LabelSnapshotGen(
        events=json.dumps(plan.events),
        store=settings["labels"]["store"],
        sha256=told.get("labels_sha256", plan.labels_sha256),
        code=stage_code("LabelSnapshotGen"),
    )
    schema = ProductSchemaGen(text=schema_file.read_text(encoding="utf-8"), code=stage_code("ProductSchemaGen"))
    checks = _checks(plan, examples, schema)
    encoder = _encoder(plan, examples)
    encoded = encoder.outputs["encoded_examples"] if encoder else examples.outputs["examples"]
    labelled = LabelJoin(
        examples=encoded,
        taxonomy=taxonomy.outputs["taxonomy"],
        rules=rules.outputs["rules"],
        labels=labels.outputs["labels"],
        code=stage_code("LabelJoin"),
    )
    labelled_examples = labelled.outputs["labelled_examples"]
    transform = Transform(
        examples=labelled_examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="trainer_module.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=[DEV], transform=[DEV]),
        custom_config={
            **config_for_transform(_features(plan), (ANSWER_NODE, RULE_NODES)),
            "code": stage_code("Transform"),
        },
        disable_statistics=True,
    )
    baseline = _baseline(plan, told.get("live"))
    compared = {"baseline": baseline.outputs["baseline"]} if baseline and told else {}
    training: dict[str, Any] = {
        "split": DEV,
        "custom_config": training_config(plan),
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "taxonomy": taxonomy.outputs["taxonomy"],
        "rules": rules.outputs["rules"],
        "labels": labels.outputs["labels"],
        "quarantine": examples.outputs["quarantine"],
        **({"base_model": baseline.outputs["baseline"]} if baseline and settings["model"]["warm_start"] else {}),
    }
    tuner = SnapshotTuner(tuner_fn="trainer_module.tuner.tuner_fn", **training).with_id("Tuner") if settings["tuner"]["enabled"] else None
    tuned = {"hyperparameters": tuner.outputs["best_hyperparameters"]} if tuner else {}
    trainer = SnapshotTrainer(run_fn="trainer_module.trainer.run_fn", products=labelled_examples, **training, **tuned).with_id("Trainer")
    model = trainer.outputs["model"]
    gate = ModelGate(
        examples=labelled_examples,
        model=model,
        schema=schema.outputs["schema"],
        eval_config=eval_config(EvaluationSettings(**settings["evaluation"]), with_baseline=baseline is not None),
        example_splits=[TEST],
        **({"baseline_model": baseline.outputs["baseline"]} if baseline else {}),
    ).with_id("Evaluator")
    blessing = gate.outputs["blessing"]
    wide = CategoryEvaluator(
        examples=labelled_examples,
        model=model,
        taxonomy=taxonomy.outputs["taxonomy"],
        blessing=blessing,
        validation=gate.outputs["evaluation"],
        rule_report=labelled.outputs["rule_report"],
        quarantine=examples.outputs["quarantine"],
        baseline_uri=plan.baseline_uri,
        block_products=settings["scoring"]["block_products"],
        code=stage_code("CategoryEvaluator"),
        **compared,
    )
    smoke = SmokeTester(model=model, examples=labelled_examples, code=stage_code("SmokeTester"))
    pool = PoolScorer(
        examples=labelled_examples,
        model=model,
        model_blessing=blessing,
        baseline_uri=plan.baseline_uri,
        baseline_version=plan.baseline_version,
        block_products=settings["scoring"]["block_products"],
        committee=json.dumps(committee_uris(settings["scoring"]["committee"], settings["push"]["folder"], run["name"])),
        code=stage_code("PoolScorer"),
        **compared,
    )
    index = IndexBuilder(
        scored_pool=pool.outputs["scored_pool"],
        taxonomy=taxonomy.outputs["taxonomy"],
        **settings["index"],
        seed=run["seed"],
        code=stage_code("IndexBuilder"),
    )
    pusher = PairPusher(
        model=model,
        model_blessing=blessing,
        infra_blessing=smoke.outputs["blessing"],
        index=index.outputs["index"],
        push_folder=settings["push"]["folder"],
        name=run["name"],
        round=plan.round,
        baseline_version=plan.baseline_version,
        keep=settings["push"]["keep"],
        code=stage_code("PairPusher"),
        **compared,
    )
    sampler = Sampler(
        scored_pool=pool.outputs["scored_pool"],
        taxonomy=taxonomy.outputs["taxonomy"],
        pushed_model=pusher.outputs["pushed_model"],
        **settings["sampling"],
        seed=run["seed"],
        code=stage_code("Sampler"),
    )
    optional = [component for component in (tuner, baseline) if component]
    encoding = [encoder] if encoder else []
    listing = _neighbour_lister(plan, pool, taxonomy)
    components = [
        examples, taxonomy, rules, labels, schema, *checks, *encoding, labelled, transform, *optional, trainer,
        gate, wide, smoke, pool, index, *listing, pusher, sampler,
    ]  # fmt: skip
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


def _neighbour_lister(plan: RunPlan, pool: BaseComponent, taxonomy: BaseComponent) -> list[BaseComponent]:
    told = dict(plan.settings["neighbours"])
    if not told.pop("enabled"):
        return []
    code = stage_code("NeighbourLister")
    return [NeighbourLister(pool.outputs["scored_pool"], taxonomy.outputs["taxonomy"], **told, code=code)]


def _checks(plan: RunPlan, examples: BaseComponent, schema: BaseComponent) -> list[BaseComponent]:
    if not plan.settings["statistics"]["enabled"]:
        return []
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    gate = AnomalyGate(anomalies=validator.outputs["anomalies"], code=stage_code("AnomalyGate"))
    return [statistics, validator, gate]


def _features(plan: RunPlan) -> FeatureConfig:
    return features_from_json(plan.features)


def _dense_fields(plan: RunPlan) -> dict[str, int]:
    return fed_vectors(_features(plan), [encoder["name"] for encoder in plan.encoders])
