"""Runs the component's executor on real artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import validation_result_pb2
from tfx.types.channel import Channel
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation

from components.artifacts import LabelSnapshot, Quarantine, RuleReport, TaxonomySnapshot, WideEvaluation
from components.category_evaluator import CategoryEvaluator, CategoryEvaluator_Executor
from components.evaluation.judgements import read_judgements
from components.evaluation.tfma_files import write_tfma_files
from components.evaluation.wide_metrics import wide_metrics
from few_shot.acceptance import AcceptancePolicy
from few_shot.acceptance_file import PROMISED, Acceptance, as_json
from schemas.errors import EvaluationError
from schemas.label_event import IS, LabelEvent, write_label_events
from schemas.taxonomy import write_taxonomy
from tests.support.examples import write_examples
from tests.support.scores import random_scores
from tests.support.shop import judged_products, shop_taxonomy
from tests.support.toy_model import write_toy_model

TREE = shop_taxonomy()
POLICY = Acceptance(AcceptancePolicy(0.95, 0.95, 1.0, 0.6, 0.7), PROMISED, 400, 0, 130, 0.5, 0.2)
AUDIT = {"stream": "audit", "version": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("category_evaluator")
    for name in ("examples", "unanswered", "taxonomy", "labels", "passed", "failed", "rule_report", "quarantine", "blessed", "refused"):
        (root / name).mkdir()
    write_examples(root / "examples", judged_products(TREE, 50))
    write_examples(root / "unanswered", judged_products(TREE, 9, answered=0.0))
    write_toy_model(root / "model" / "Format-Serving", TREE)
    write_toy_model(root / "live" / "7", TREE, seed=3)
    (root / "model" / "Format-Serving" / "assets.extra" / "acceptance.json").write_text(json.dumps(as_json(POLICY)))
    said = [["boots", "bags"][k % 4 == 3 :] for k in range(8)]
    audits = [LabelEvent(f"e{k}", k, "ann", f"p{k}", IS, "boots", shown={**AUDIT, "suggestions": said[k]}) for k in range(8)]
    write_label_events(root / "labels" / "label_events.jsonl", audits)
    write_taxonomy(root / "taxonomy" / "taxonomy.tsv", TREE)
    (root / "quarantine" / "summary.json").write_text(json.dumps({"rows": 60, "refused": 10, "duplicates": 0, "by_shop": {}}))
    (root / "blessed" / "BLESSED").write_text("")
    (root / "refused" / "NOT_BLESSED").write_text("")
    wide = wide_metrics(random_scores(TREE, 20, 0), TREE)
    write_tfma_files(root / "passed", wide, TREE, validation_result_pb2.ValidationResult(validation_ok=True))
    write_tfma_files(root / "failed", wide, TREE, failure("accuracy", 0.25, 0.5))
    return root


def failure(metric: str, value: float, bound: float) -> validation_result_pb2.ValidationResult:
    result = validation_result_pb2.ValidationResult(validation_ok=False)
    part = result.metric_validations_per_slice.add().failures.add()
    part.metric_key.name = metric
    part.metric_value.double_value.value = value
    part.metric_threshold.value_threshold.lower_bound.value = bound
    return result


def run(root: Path, out: Path, examples: str = "examples", passed: bool = True, baseline: str = "") -> dict:
    def at(kind, folder):
        artifact = kind()
        artifact.uri = str(folder)
        return [artifact]

    inputs = {
        "examples": at(Examples, root / examples),
        "model": at(Model, root / "model"),
        "taxonomy": at(TaxonomySnapshot, root / "taxonomy"),
        "labels": at(LabelSnapshot, root / "labels"),
        "blessing": at(ModelBlessing, root / ("blessed" if passed else "refused")),
        "validation": at(ModelEvaluation, root / ("passed" if passed else "failed")),
        "rule_report": at(RuleReport, root / "rule_report"),
        "quarantine": at(Quarantine, root / "quarantine"),
    }
    parameters = {"baseline_uri": baseline, "block_products": 16, "code": ""}
    CategoryEvaluator_Executor().Do(inputs, {"evaluation": at(WideEvaluation, out)}, parameters)
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def test_everything_the_contract_names_is_written(root, tmp_path):
    metrics = run(root, tmp_path / "out", baseline=str(root / "live" / "7"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json",
        "judgements.parquet",
        "report.html",
        "tfma.html",
        "tfma",
    }
    assert metrics["blessed"] is True
    assert metrics["reasons"] == []
    head = {"accuracy", "top_5", "macro_f1", "weighted_f1", "tree_distance", "calibration_error", "judged"}
    assert head | {f"hierarchical_{part}" for part in ("precision", "recall", "f1")} <= set(metrics["exclusive"])
    assert set(metrics["by_depth"]) == {"1", "2", "3"}
    assert {"rule_based", "by_root", "by_shop", "by_missing_field", "by_node", "confusions"} <= set(metrics)
    assert metrics["baseline"]["exclusive"]["judged"] == metrics["exclusive"]["judged"] > 0
    assert tfma.load_validation_result(str(tmp_path / "out" / "tfma")).validation_ok
    slices = dict(tfma.load_eval_result(str(tmp_path / "out" / "tfma")).slicing_metrics)
    assert slices[()]["exclusive"][""]["accuracy"]["doubleValue"] == metrics["exclusive"]["accuracy"]


def test_every_judged_product_is_kept_with_answer_and_prediction(root, tmp_path):
    metrics = run(root, tmp_path, baseline=str(root / "live" / "7"))
    judgements = read_judgements(tmp_path / "judgements.parquet")
    assert len(judgements) == len({judgement.product_id for judgement in judgements}) == metrics["exclusive"]["judged"]
    right = sum(judgement.is_right for judgement in judgements)
    assert right / len(judgements) == pytest.approx(metrics["exclusive"]["accuracy"])
    for judgement in judgements:
        assert judgement.answer_path == TREE.path(judgement.answer)
        assert judgement.predicted_path == TREE.path(judgement.predicted)
        assert judgement.root == judgement.answer_path.split(" > ")[0]
        assert 0 < judgement.probability <= 1 and judgement.title


def test_a_refused_model_says_why(root, tmp_path):
    metrics = run(root, tmp_path, passed=False)
    assert metrics["blessed"] is False
    assert metrics["reasons"] == ["accuracy over all products is 0.2500; at least 0.5000 is needed."]
    assert metrics["reasons"][0] in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert metrics["baseline"] is None


def test_what_needs_no_person_and_what_audits_say_are_in_the_metrics_and_the_report(root, tmp_path):
    metrics = run(root, tmp_path)
    accepting, audit = metrics["acceptance"], metrics["audit"]
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert accepting["says"] == "95 % promised on 50% of the products at the answer, 20% at an ancestor; from 400 held-out answers"
    assert 0 < accepting["judged"]["answer"]["products"] <= accepting["judged"]["accepted"]["products"] <= metrics["exclusive"]["judged"]
    assert (audit["versions"], audit["at_answer"]["judged"], audit["at_answer"]["value"]) == ([6], 8, 0.75)
    assert "What needs no person" in report and "95 % promised on 50%" in report
    assert "How good it was in use" in report and "8 products, by version 6" in report


def test_nothing_judged_is_written_too(root, tmp_path):
    metrics = run(root, tmp_path, examples="unanswered", passed=False)
    assert metrics["exclusive"]["judged"] == 0
    assert metrics["notes"]


def test_the_same_inputs_give_the_same_files(root, tmp_path):
    for name in ("one", "two"):
        run(root, tmp_path / name, baseline=str(root / "live" / "7"))
    for name in ("metrics.json", "judgements.parquet", "report.html", "tfma.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_missing_split_is_named(root, tmp_path):
    with pytest.raises(EvaluationError, match="Split-test: there are no examples"):
        run(root, tmp_path, examples="taxonomy")


def test_the_component_can_be_put_into_a_pipeline():
    node = CategoryEvaluator(
        examples=Channel(type=Examples),
        model=Channel(type=Model),
        taxonomy=Channel(type=TaxonomySnapshot),
        labels=Channel(type=LabelSnapshot),
        blessing=Channel(type=ModelBlessing),
        validation=Channel(type=ModelEvaluation),
        rule_report=Channel(type=RuleReport),
        quarantine=Channel(type=Quarantine),
    )
    assert node.outputs["evaluation"].type is WideEvaluation
