"""Chains the stages of one round in the order the data follows: `create_pipeline`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx.components import Evaluator, ExampleValidator, StatisticsGen, Trainer, Transform, Tuner
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2

from components.anomaly_gate import AnomalyGate
from components.baseline import BaselineModel
from components.category_evaluator import CategoryEvaluator
from components.evaluation.gate import eval_config
from components.index_builder import IndexBuilder
from components.label_join import LabelJoin
from components.pair_pusher import PairPusher
from components.pool_scorer import PoolScorer
from components.product_example_gen import ProductExampleGen
from components.sampler import Sampler
from components.smoke_tester import SmokeTester
from components.snapshots import LabelSnapshotGen, RuleSnapshotGen, TaxonomySnapshotGen
from pipeline.code_version import code_version
from pipeline.plan import RunPlan
from schemas.features import FeatureConfig, features_from_json
from schemas.product import ANSWER_NODE, DEV, RULE_NODES, TEST
from schemas.settings import EvaluationSettings
from trainer_module.preprocessing import config_for_transform

# The code each stage depends on beside its own file; a change there makes the cache run it again.
_VOCABULARY = tuple(
    f"schemas/{name}.py"
    for name in ("cleaning", "errors", "features", "grouping", "label_event", "product", "rules", "shown_title", "taxonomy", "text")
)
_FEEDS = (
    "components/feeds", "components/product_ingest.py", "components/ingest_plan.py",
    "components/example_records.py", "components/product_example_gen.py",
)  # fmt: skip
_LABELS = (
    "components/label_join.py", "components/labelling.py", "components/rule_matching.py",
    "components/rule_report.py", "components/example_bytes.py", "components/example_records.py", "components/snapshot_files.py",
)  # fmt: skip
_SNAPSHOTS = (
    "components/snapshots.py", "components/snapshot_files.py", "components/frozen_events.py",
    "components/rule_matching.py", "stores",
)  # fmt: skip
_SCORING = ("components/pool_scorer.py", "components/pool_scoring.py", "components/scored_pool.py", "components/folder_digest.py")
_SAMPLING = ("components/sampler.py", "components/sampling", "components/sampling_batch.py", "components/scored_pool.py")
_INDEX = ("components/index_builder.py", "components/index_building.py", "components/scored_pool.py", "similarity")
_SMOKE = ("components/smoke_tester.py", "components/smoke_testing.py")
_PUSH = ("components/pair_pusher.py", "components/pair_pushing.py", "components/folder_digest.py", "similarity/manifest.py")


def create_pipeline(plan: RunPlan, schema_file: Path) -> Pipeline:
    """Returns the TFX pipeline of a run.

    Args:
        plan: what to run on.
        schema_file: the fields' schema, as `write_schema` wrote it.
    """
    settings = plan.settings
    run, root = settings["run"], Path(settings["run"]["root"])

    examples = ProductExampleGen(
        feeds=json.dumps(plan.feeds),
        ingest=json.dumps(settings["ingest"]),
        seed=run["seed"],
        dense=json.dumps(_dense_fields(plan)),
        fingerprint=plan.feeds_sha256,
        code=_code(*_FEEDS),
    )
    taxonomy = TaxonomySnapshotGen(path=plan.taxonomy, sha256=plan.taxonomy_sha256, code=_code(*_SNAPSHOTS))
    rules = RuleSnapshotGen(taxonomy=taxonomy.outputs["taxonomy"], path=plan.rules, sha256=plan.rules_sha256, code=_code(*_SNAPSHOTS))
    labels = LabelSnapshotGen(
        events=json.dumps(plan.events), store=settings["labels"]["store"], sha256=plan.labels_sha256, code=_code(*_SNAPSHOTS)
    )
    schema = ImportSchemaGen(schema_file=str(schema_file))
    checks = _checks(plan, examples, schema)
    labelled = LabelJoin(
        examples=examples.outputs["examples"],
        taxonomy=taxonomy.outputs["taxonomy"],
        rules=rules.outputs["rules"],
        labels=labels.outputs["labels"],
        code=_code(*_LABELS),
    )
    labelled_examples = labelled.outputs["labelled_examples"]
    transform = Transform(
        examples=labelled_examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="trainer_module.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=[DEV], transform=[DEV]),
        custom_config={
            **config_for_transform(_features(plan), (ANSWER_NODE, RULE_NODES)),
            "code": code_version(("trainer_module/preprocessing.py", "schemas/features.py", "schemas/product.py")),
        },
        disable_statistics=True,
    )
    training: dict[str, Any] = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "train_args": trainer_pb2.TrainArgs(splits=[DEV]),
        "eval_args": trainer_pb2.EvalArgs(splits=[DEV]),
        "custom_config": training_config(plan),
    }
    tuner = Tuner(tuner_fn="trainer_module.tuner.tuner_fn", **training) if settings["tuner"]["enabled"] else None
    tuned = {"hyperparameters": tuner.outputs["best_hyperparameters"]} if tuner else {}
    trainer = Trainer(run_fn="trainer_module.trainer.run_fn", **training, **tuned)
    model = trainer.outputs["model"]
    baseline = BaselineModel(baseline_uri=plan.baseline_uri, version=plan.baseline_version) if plan.baseline_uri else None
    gate = Evaluator(
        examples=labelled_examples,
        model=model,
        schema=schema.outputs["schema"],
        eval_config=eval_config(EvaluationSettings(**settings["evaluation"]), with_baseline=baseline is not None),
        example_splits=[TEST],
        **({"baseline_model": baseline.outputs["baseline"]} if baseline else {}),
    )
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
        code=_code("components/evaluation", "components/category_evaluator.py", "components/example_records.py"),
    )
    smoke = SmokeTester(model=model, examples=labelled_examples, code=_code(*_SMOKE))
    pool = PoolScorer(
        examples=labelled_examples,
        model=model,
        model_blessing=blessing,
        baseline_uri=plan.baseline_uri,
        baseline_version=plan.baseline_version,
        block_products=settings["scoring"]["block_products"],
        code=_code(*_SCORING),
    )
    index = IndexBuilder(
        scored_pool=pool.outputs["scored_pool"],
        taxonomy=taxonomy.outputs["taxonomy"],
        **settings["index"],
        seed=run["seed"],
        code=_code(*_INDEX),
    )
    pusher = PairPusher(
        model=model,
        model_blessing=blessing,
        infra_blessing=smoke.outputs["blessing"],
        index=index.outputs["index"],
        push_folder=settings["push"]["folder"],
        name=run["name"],
        code=_code(*_PUSH),
    )
    sampler = Sampler(
        scored_pool=pool.outputs["scored_pool"],
        taxonomy=taxonomy.outputs["taxonomy"],
        pushed_model=pusher.outputs["pushed_model"],
        **settings["sampling"],
        seed=run["seed"],
        code=_code(*_SAMPLING),
    )
    optional = [component for component in (tuner, baseline) if component]
    components = [
        examples, taxonomy, rules, labels, schema, *checks, labelled, transform, *optional, trainer,
        gate, wide, smoke, pool, index, pusher, sampler,
    ]  # fmt: skip
    return Pipeline(
        pipeline_name=run["name"],
        pipeline_root=str(root / "pipeline"),
        components=components,
        enable_cache=run["cache"],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
        beam_pipeline_args=list(settings["beam"]["args"]),
    )


def training_config(plan: RunPlan) -> dict[str, Any]:
    """Returns the `custom_config` of the Trainer and the Tuner; all of it is in the cache key."""
    settings = plan.settings
    return {
        "taxonomy": plan.taxonomy,
        "features": plan.features,
        "family": settings["model"]["family"],
        "parameters": settings["model"]["parameters"],
        "phases": list(settings["phases"]),
        "seed": settings["run"]["seed"],
        "top_k": settings["scoring"]["top_k"],
        "baseline": plan.baseline_uri if settings["model"]["warm_start"] else "",
        "tuner": settings["tuner"],
        "made_from": {
            "feeds_sha256": plan.feeds_sha256,
            "taxonomy_sha256": plan.taxonomy_sha256,
            "rules_sha256": plan.rules_sha256,
            "labels_sha256": plan.labels_sha256,
        },
        "code": _code("trainer_module"),
    }


def _checks(plan: RunPlan, examples: BaseComponent, schema: BaseComponent) -> list[BaseComponent]:
    if not plan.settings["statistics"]["enabled"]:
        return []
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    gate = AnomalyGate(anomalies=validator.outputs["anomalies"], code=_code("components/anomaly_gate.py"))
    return [statistics, validator, gate]


def _features(plan: RunPlan) -> FeatureConfig:
    return features_from_json(plan.features)


def _dense_fields(plan: RunPlan) -> dict[str, int]:
    return dict(_features(plan).dense_fields)


def _code(*parts: str) -> str:
    return code_version((*_VOCABULARY, *parts))
