"""Wires the stages that judge a model: the gate by category depth, the wide picture, the smoke test."""

from __future__ import annotations

from dataclasses import dataclass

from tfx.dsl.components.base.base_component import BaseComponent

from components.category_evaluator import CategoryEvaluator
from components.evaluation.gate import eval_config
from components.model_gate import ModelGate
from components.smoke_tester import SmokeTester
from pipeline.code_version import stage_code
from pipeline.plan import RunPlan
from pipeline.stages.learning import Learning
from pipeline.stages.reading import Reading
from schemas.product import TEST
from schemas.settings import EvaluationSettings


@dataclass(frozen=True)
class Judging:
    """The stages that judge, in the order of the data."""

    gate: BaseComponent
    wide: BaseComponent
    smoke: BaseComponent

    def stages(self) -> list[BaseComponent]:
        """Returns all of them in order."""
        return [self.gate, self.wide, self.smoke]


def judging_stages(plan: RunPlan, reading: Reading, learning: Learning, looked_up: dict[str, object]) -> Judging:
    """Returns the stages that judge; `looked_up` holds the baseline where it is known only while the run goes."""
    products, model, baseline = reading.labelled.outputs["labelled_examples"], learning.trainer.outputs["model"], learning.baseline
    gate = ModelGate(
        examples=products,
        model=model,
        schema=reading.schema.outputs["schema"],
        eval_config=eval_config(EvaluationSettings(**plan.settings["evaluation"]), with_baseline=baseline is not None),
        example_splits=[TEST],
        **({"baseline_model": baseline.outputs["baseline"]} if baseline else {}),
    ).with_id("Evaluator")
    wide = CategoryEvaluator(
        examples=products,
        model=model,
        taxonomy=reading.taxonomy.outputs["taxonomy"],
        labels=reading.labels.outputs["labels"],
        blessing=gate.outputs["blessing"],
        validation=gate.outputs["evaluation"],
        rule_report=reading.labelled.outputs["rule_report"],
        quarantine=reading.examples.outputs["quarantine"],
        baseline_uri=plan.baseline_uri,
        block_products=plan.settings["scoring"]["block_products"],
        code=stage_code("CategoryEvaluator"),
        **looked_up,
    )
    smoke = SmokeTester(model=model, examples=products, code=stage_code("SmokeTester"))
    return Judging(gate, wide, smoke)
