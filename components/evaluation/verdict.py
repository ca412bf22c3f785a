"""Says in words why TFMA's gate did not bless a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import validation_result_pb2

from schemas.product import CATEGORY_DEPTH

_NAMES = {
    "accuracy": "accuracy",
    "hierarchical_f1": "hierarchical F1",
    "guarded_hierarchical_f1": "hierarchical F1",
    "macro_f1": "macro F1",
}


def read_validation(folder: Path) -> validation_result_pb2.ValidationResult | None:
    """Returns what the Evaluator wrote about its thresholds, or None where it validated nothing."""
    if not list(folder.glob("validations*")):
        return None
    return tfma.load_validation_result(str(folder))


def reasons(validation: validation_result_pb2.ValidationResult | None) -> list[str]:
    """Returns a sentence for each threshold that was missed; empty when the gate was passed.

    >>> reasons(None)
    ['The gate checked nothing: the Evaluator wrote no validation result.']
    """
    if validation is None:
        return ["The gate checked nothing: the Evaluator wrote no validation result."]
    if validation.validation_ok:
        return []
    found = [_sentence(part.slice_key, failure) for part in validation.metric_validations_per_slice for failure in part.failures]
    if validation.missing_slices:
        found.append("No test product has an answer that says how deep its category is, so the change by depth can't be checked.")
    # TFMA repeats a failure that isn't about a slice in every slice.
    return sorted(set(found)) or ["The gate refused the model without saying why."]


def _sentence(slice_key: Any, failure: Any) -> str:
    metric = _NAMES.get(failure.metric_key.name, failure.metric_key.name)
    where = _where(slice_key)
    if failure.message.strip():
        return f"{metric} {where} could not be checked: {' '.join(failure.message.split())}"
    value = failure.metric_value.double_value.value
    if math.isnan(value):
        return f"{metric} {where} is undefined: no product there was judged by a person."
    threshold = failure.metric_threshold
    if threshold.HasField("change_threshold"):
        allowed = -threshold.change_threshold.absolute.value
        return f"{metric} {where} fell by {-value:.4f} against the blessed model; at most {allowed:.4f} is allowed."
    return f"{metric} {where} is {value:.4f}; at least {threshold.value_threshold.lower_bound.value:.4f} is needed."


def _where(slice_key: Any) -> str:
    for part in slice_key.single_slice_keys:
        if part.column == CATEGORY_DEPTH:
            return f"at depth {part.int64_value}"
        return f"where {part.column} is {part.bytes_value.decode() or part.int64_value}"
    return "over all products"
