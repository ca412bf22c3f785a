"""Says what a model must reach to go live, as the configuration of TFX's Evaluator."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma

from schemas.product import CATEGORY_DEPTH
from schemas.settings import EvaluationSettings

CANDIDATE, BASELINE = "candidate", "baseline"
# Output of score_all to the label and the weight that transform_features gives, see docs/contracts.md.
LABEL_KEYS = {"exclusive": "answer_class", "exclusive_chain": "answer_chain", "rule_based": "rule_targets"}
WEIGHT_KEYS = {"exclusive": "answer_weight", "exclusive_chain": "answer_weight", "rule_based": "rule_weight"}
RULE_THRESHOLD = 0.5
_METRICS = "components.evaluation.gate_metrics"
# Slack for float rounding: a change of exactly what is allowed passes.
_SLACK = 1e-9


def eval_config(evaluation: EvaluationSettings, with_baseline: bool) -> tfma.EvalConfig:
    """Returns the gate: metrics of both heads over all products and by depth, and the thresholds a model must pass.

    Over all products: accuracy and hierarchical F1 must reach their minimum, and hierarchical F1 must not lose more
    than allowed against the baseline. At every depth with enough judged products: hierarchical F1 must not lose more
    than allowed. A model that nobody judged any product of isn't blessed, because its scores are undefined.

    Args:
        evaluation: the thresholds.
        with_baseline: whether the Evaluator is given a `baseline_model`. Thresholds on change need one.
    """
    config = tfma.EvalConfig(slicing_specs=[tfma.SlicingSpec(), _by_depth()])
    for name in (CANDIDATE, BASELINE) if with_baseline else (CANDIDATE,):
        config.model_specs.append(_model_spec(name))
    config.metrics_specs.append(_exclusive_spec(evaluation))
    config.metrics_specs.append(_hierarchical_spec(evaluation, with_baseline))
    config.metrics_specs.append(_metrics_spec("rule_based", "PerClassPrecisionRecallF1", threshold=RULE_THRESHOLD))
    # TFMA's own example_count would be one more combiner, and counts products nobody judged.
    config.options.include_default_metrics.value = False
    return config


def code_digest() -> str:
    """Returns a digest of the code behind the gate, so that a changed metric is never served from the cache."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("gate.py", "gate_metrics.py"))).hexdigest()[:16]


def _by_depth() -> tfma.SlicingSpec:
    return tfma.SlicingSpec(feature_keys=[CATEGORY_DEPTH])


def _model_spec(name: str) -> tfma.ModelSpec:
    return tfma.ModelSpec(
        name=name,
        is_baseline=name == BASELINE,
        signature_name="score_all",
        preprocessing_function_names=["transform_features"],
        model_type="tf_generic",
        label_keys=LABEL_KEYS,
        example_weight_keys=WEIGHT_KEYS,
    )


def _metrics_spec(output: str, metric: str, **parameters: Any) -> tfma.MetricsSpec:
    config = json.dumps({**parameters, "code": code_digest()}, sort_keys=True)
    spec = tfma.MetricsSpec(output_names=[output], metrics=[tfma.MetricConfig(class_name=metric, module=_METRICS, config=config)])
    spec.example_weights.weighted = True
    return spec


def _exclusive_spec(evaluation: EvaluationSettings) -> tfma.MetricsSpec:
    spec = _metrics_spec("exclusive", "PerClassPrecisionRecallF1")
    # A threshold without a slice would apply to every slice; a model of few deep products would never pass.
    _add_threshold(spec, "accuracy", tfma.SlicingSpec(), value=evaluation.min_accuracy)
    return spec


def _hierarchical_spec(evaluation: EvaluationSettings, with_baseline: bool) -> tfma.MetricsSpec:
    spec = _metrics_spec("exclusive_chain", "HierarchicalPrecisionRecallF1", min_products=evaluation.min_depth_products)
    loss = evaluation.max_hierarchical_f1_loss if with_baseline else None
    _add_threshold(spec, "hierarchical_f1", tfma.SlicingSpec(), value=evaluation.min_hierarchical_f1, loss=loss)
    if with_baseline:
        _add_threshold(spec, "guarded_hierarchical_f1", _by_depth(), loss=evaluation.max_depth_loss)
    return spec


def _add_threshold(
    spec: tfma.MetricsSpec, metric: str, slicing: tfma.SlicingSpec, value: float | None = None, loss: float | None = None
) -> None:
    threshold = tfma.MetricThreshold()
    if value is not None:
        threshold.value_threshold.lower_bound.value = value - _SLACK
    if loss is not None:
        threshold.change_threshold.direction = tfma.MetricDirection.HIGHER_IS_BETTER
        threshold.change_threshold.absolute.value = -loss - _SLACK
    spec.per_slice_thresholds[metric].thresholds.append(tfma.PerSliceMetricThreshold(slicing_specs=[slicing], threshold=threshold))
