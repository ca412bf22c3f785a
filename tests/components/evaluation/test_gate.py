"""Runs the gate for real, as TFX's Evaluator, on toy models."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx.components.evaluator.executor import Executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation, Schema

import schemas
from components.evaluation.evaluate import evaluate
from components.evaluation.gate import eval_config
from components.evaluation.scoring import OPTIONAL_FIELDS
from components.evaluation.verdict import read_validation, reasons
from schemas.settings import EvaluationSettings
from schemas.taxonomy import Node, Taxonomy
from tests.support.examples import write_examples
from tests.support.shop import judged_products, shop_taxonomy
from tests.support.toy_model import write_toy_model

LOOSE = EvaluationSettings(min_hierarchical_f1=0.0, max_hierarchical_f1_loss=1.0, max_depth_loss=1.0)


@dataclass
class Folders:
    """Where the examples and models of these tests are."""

    examples: Path
    models: dict[str, Path]

    def savedmodel(self, name: str) -> Path:
        return self.models[name] / "Format-Serving"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("gate")
    tree = shop_taxonomy()
    products = judged_products(tree, 200)
    products += [{"id": "u", "title": "Nice thing", "answer_node": "gone", "category_depth": 2, "split": "test"}]
    products += [{"id": "w", "title": "Nice Women", "answer_node": "women", "category_depth": 2, "split": "test"}]
    write_examples(root / "examples", products)
    (root / "schema").mkdir()
    shutil.copy(Path(schemas.__file__).parent / "products.pbtxt", root / "schema" / "schema.pbtxt")
    write_examples(root / "unanswered", judged_products(tree, 20, answered=0.0))
    # The right words for other nodes: a model that is wrong nearly always.
    wrong = Taxonomy([Node(node.id, node.parent_id, f"zz{number}", node.exclusive) for number, node in enumerate(tree)])
    # Another version of the tree: other order, one node gone, one new.
    moved = Taxonomy([Node("hats", "", "Hats", True), *(node for node in reversed(list(tree)) if node.id != "skirts")])
    models = {"good": tree, "wrong": wrong, "moved": moved}
    for name, taxonomy in models.items():
        write_toy_model(root / name / "Format-Serving", taxonomy)
    return Folders(root, {name: root / name for name in models})


def run_gate(
    folders: Folders,
    out: Path,
    evaluation: EvaluationSettings,
    model: str,
    baseline: str = "",
    split: str = "examples",
    compare: bool = False,
):
    """Runs TFX's Evaluator and returns whether the model is blessed, its validation and the candidate's metrics."""
    examples = Examples()
    examples.uri = str(folders.examples / split)
    examples.split_names = '["dev", "test"]'
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    # As the pipeline does: with a schema, TFMA reads only the features it names, and slices by category_depth.
    schema = Schema()
    schema.uri = str(folders.examples / "schema")
    inputs = {"examples": [examples], "schema": [schema]}
    for key, name in (("model", model), ("baseline_model", baseline)):
        if name:
            artifact = Model()
            artifact.uri = str(folders.models[name])
            inputs[key] = [artifact]
    evaluated, blessing = ModelEvaluation(), ModelBlessing()
    evaluated.uri, blessing.uri = str(out / "evaluation"), str(out / "blessing")
    config = json_format.MessageToJson(eval_config(evaluation, compare or bool(baseline)), preserving_proto_field_name=True)
    executor = Executor(BaseBeamExecutor.Context(beam_pipeline_args=[], tmp_dir=str(out / "tmp"), unique_id="1"))
    executor.Do(
        inputs,
        {"evaluation": [evaluated], "blessing": [blessing]},
        {"eval_config": config, "example_splits": '["test"]', "fairness_indicator_thresholds": "null"},
    )
    return blessing.get_int_custom_property("blessed") == 1, read_validation(out / "evaluation")


def gate_metrics(folder: Path, slice_key=(), model: str | None = None) -> dict[str, float]:
    result = tfma.load_eval_result(str(folder), model_name=model) if model else tfma.load_eval_result(str(folder))
    outputs = dict(result.slicing_metrics)[slice_key]
    return {name: value["doubleValue"] for output in ("exclusive_chain", "exclusive") for name, value in outputs[output][""].items()}


@pytest.mark.slow
def test_the_gate_and_numpy_agree_over_all_and_at_every_depth(folders, tmp_path):
    blessed, validation = run_gate(folders, tmp_path, LOOSE, "good")
    assert blessed
    assert reasons(validation) == []
    wide = evaluate(folders.examples / "examples" / "Split-test", folders.savedmodel("good"), None, shop_taxonomy(), 64)
    slices = {(): wide["exclusive"]} | {(("category_depth", int(depth)),): row for depth, row in wide["by_depth"].items()}
    assert len(slices) == 4
    for key, row in slices.items():
        gate = gate_metrics(tmp_path / "evaluation", key)
        for name in ("accuracy", "macro_f1", "hierarchical_precision", "hierarchical_recall", "hierarchical_f1"):
            assert row[name] == pytest.approx(gate[name], abs=1e-6), (key, name)
        assert row["judged"] == gate["weighted_example_count"]
    assert set(wide["by_missing_field"]) <= set(OPTIONAL_FIELDS)
    assert wide["notes"] == ["1 answers name a category the model doesn't know; they count as mistakes."]


@pytest.mark.slow
def test_a_model_under_a_threshold_is_not_blessed_and_the_reason_says_which(folders, tmp_path):
    blessed, validation = run_gate(folders, tmp_path, EvaluationSettings(min_accuracy=0.999, min_hierarchical_f1=0.0), "good")
    assert not blessed
    (reason,) = reasons(validation)
    assert reason.startswith("accuracy over all products is 0.")
    assert reason.endswith("at least 0.9990 is needed.")


@pytest.mark.slow
def test_a_model_worse_than_the_blessed_one_is_not_blessed(folders, tmp_path):
    settings = EvaluationSettings(min_hierarchical_f1=0.0, max_hierarchical_f1_loss=0.01, max_depth_loss=0.05, min_depth_products=1)
    blessed, validation = run_gate(folders, tmp_path, settings, "wrong", baseline="good")
    assert not blessed
    found = reasons(validation)
    assert any(reason.startswith("hierarchical F1 over all products fell by 0.") for reason in found)
    assert {depth for depth in (1, 2, 3) if any(f"at depth {depth} fell by" in reason for reason in found)} == {1, 2, 3}


@pytest.mark.slow
def test_a_depth_with_few_judged_products_stops_no_model(folders, tmp_path):
    settings = EvaluationSettings(min_hierarchical_f1=0.0, max_hierarchical_f1_loss=1.0, max_depth_loss=0.0, min_depth_products=100_000)
    blessed, validation = run_gate(folders, tmp_path, settings, "wrong", baseline="good")
    assert blessed, reasons(validation)


@pytest.mark.slow
def test_models_of_different_trees_are_compared_each_in_its_own(folders, tmp_path):
    blessed, validation = run_gate(folders, tmp_path, LOOSE, "good", baseline="moved")
    assert blessed, reasons(validation)
    for model, name in (("candidate", "good"), ("baseline", "moved")):
        gate = gate_metrics(tmp_path / "evaluation", model=model)
        wide = evaluate(folders.examples / "examples" / "Split-test", folders.savedmodel(name), None, shop_taxonomy(), 64)
        for metric in ("accuracy", "macro_f1", "hierarchical_f1"):
            assert wide["exclusive"][metric] == pytest.approx(gate[metric], abs=1e-6), (model, metric)


@pytest.mark.slow
def test_a_model_nobody_judged_is_not_blessed(folders, tmp_path):
    blessed, validation = run_gate(folders, tmp_path, LOOSE, "good", split="unanswered")
    assert not blessed
    assert "accuracy over all products is undefined: no product there was judged by a person." in reasons(validation)


@pytest.mark.slow
def test_the_first_model_passes_a_gate_that_was_written_for_a_comparison(folders, tmp_path):
    """TFX takes the baseline and its thresholds out of the configuration when there is no baseline."""
    blessed, validation = run_gate(folders, tmp_path, LOOSE, "good", compare=True)
    assert blessed, reasons(validation)


def test_thresholds_are_per_slice_and_need_a_baseline_for_change():
    alone = eval_config(EvaluationSettings(min_accuracy=0.5), with_baseline=False)
    assert not any(
        threshold.threshold.HasField("change_threshold")
        for spec in alone.metrics_specs
        for part in spec.per_slice_thresholds.values()
        for threshold in part.thresholds
    )
    assert not any(metric.HasField("threshold") for spec in alone.metrics_specs for metric in spec.metrics)
    both = eval_config(EvaluationSettings(), with_baseline=True)
    assert [spec.is_baseline for spec in both.model_specs] == [False, True]
    assert list(both.metrics_specs[1].per_slice_thresholds["guarded_hierarchical_f1"].thresholds[0].slicing_specs[0].feature_keys) == [
        "category_depth"
    ]
