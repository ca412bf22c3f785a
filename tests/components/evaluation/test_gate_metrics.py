"""Tests the gate's combiners without a pipeline."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from components.evaluation.gate_metrics import HierarchicalPrecisionRecallF1, PerClassPrecisionRecallF1, shared_chain


def computed(metric: Any, examples: list[dict[str, Any]], output: str, parts: int = 1) -> dict[tuple[str, int | None], float]:
    """Runs preprocess, combine in `parts`, merge and derive as TFMA does; weights are on."""
    base, derived = metric.computations(model_names=[""], output_names=[output], example_weighted=True)
    accumulators = [base.combiner.create_accumulator() for _ in range(parts)]
    for number, example in enumerate(examples):
        (element,) = base.preprocessors[0].process(example)
        accumulators[number % parts] = base.combiner.add_input(accumulators[number % parts], element)
    merged = base.combiner.extract_output(base.combiner.merge_accumulators(accumulators))
    return {(key.name, key.sub_key.class_id if key.sub_key else None): value for key, value in derived.result(merged).items()}


def example(label: Any, prediction: Any, weight: float = 1.0, output: str = "exclusive") -> dict[str, Any]:
    return {
        "labels": {output: np.atleast_1d(label)},
        "predictions": {output: np.asarray(prediction)},
        "example_weights": {output: np.array([weight], np.float32)},
    }


@given(data=st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=40), parts=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_softmax_scores_equal_scikit_learns(data, parts):
    truth, found = [pair[0] for pair in data], [pair[1] for pair in data]
    ours = computed(PerClassPrecisionRecallF1(), [example(t, np.eye(4)[p]) for t, p in data], "exclusive", parts)
    assert ours["accuracy", None] == pytest.approx(np.mean(np.array(truth) == found))
    assert ours["macro_f1", None] == pytest.approx(f1_score(truth, found, average="macro", labels=sorted(set(truth)), zero_division=0))
    assert ours["micro_f1", None] == pytest.approx(ours["accuracy", None])
    assert ours["weighted_example_count", None] == len(data)
    for number in set(truth) - {-1}:
        assert ours["class_support", number] == truth.count(number)
        assert ours["class_f1", number] == pytest.approx(f1_score(truth, found, average=None, labels=[number], zero_division=0)[0])
    assert not any(number == -1 for _, number in ours if number is not None)


@given(data=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=30), parts=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_thresholded_scores_equal_scikit_learns(data, parts):
    bits = [[(number >> bit) & 1 for bit in range(3)] for number in range(8)]
    truth, found = np.array([bits[t] for t, _ in data]), np.array([bits[p] for _, p in data])
    rows = [example(t, np.where(p, 0.5, 0.49), output="rule_based") for t, p in zip(truth, found, strict=True)]
    ours = computed(PerClassPrecisionRecallF1(threshold=0.5), rows, "rule_based", parts)
    assert ("accuracy", None) not in ours
    if truth.any():
        occurs = np.flatnonzero(truth.any(0)).tolist()
        assert ours["macro_f1", None] == pytest.approx(f1_score(truth, found, average="macro", labels=occurs, zero_division=0))
    if truth.any() or found.any():
        assert ours["micro_f1", None] == pytest.approx(f1_score(truth, found, average="micro", zero_division=0))
    else:
        assert math.isnan(ours["micro_f1", None])


def test_products_without_weight_count_for_nothing():
    rows = [example(0, [1, 0]), example(1, [1, 0], weight=0.0), example(-1, [1, 0], weight=0.0)]
    ours = computed(PerClassPrecisionRecallF1(), rows, "exclusive")
    assert ours["accuracy", None] == 1.0 == ours["macro_f1", None]
    assert ours["weighted_example_count", None] == 1.0


@pytest.mark.parametrize("rows", [[], [example(1, [1, 0], weight=0.0)]])
def test_nothing_judged_is_nan(rows):
    ours = computed(PerClassPrecisionRecallF1(), rows, "exclusive")
    assert math.isnan(ours["accuracy", None])
    assert math.isnan(ours["macro_f1", None])


def test_a_label_outside_the_head_is_refused():
    with pytest.raises(ValueError, match="label 2 is outside the 2 outputs"):
        computed(PerClassPrecisionRecallF1(), [example(2, [1, 0])], "exclusive")


def chain_examples(*pairs: tuple[list[int], list[int]]) -> list[dict[str, Any]]:
    return [example(np.array(t), np.array(p), output="exclusive_chain") for t, p in pairs]


def test_hierarchical_scores_by_hand():
    rows = chain_examples(([1, 2, 3], [1, 2, 0]), ([1, 0, 0], [4, 5, 0]), ([0, 0, 0], [1, 0, 0]))
    ours = computed(HierarchicalPrecisionRecallF1(), rows, "exclusive_chain", parts=2)
    assert ours["hierarchical_precision", None] == pytest.approx(2 / 5)
    assert ours["hierarchical_recall", None] == pytest.approx(2 / 4)
    assert ours["hierarchical_f1", None] == pytest.approx(2 * 2 / 9)


def test_few_products_are_guarded():
    rows = chain_examples(([1, 2], [3, 0]), ([1, 2], [3, 0]))
    assert computed(HierarchicalPrecisionRecallF1(min_products=3), rows, "exclusive_chain")["guarded_hierarchical_f1", None] == 1.0
    assert computed(HierarchicalPrecisionRecallF1(min_products=2), rows, "exclusive_chain")["guarded_hierarchical_f1", None] == 0.0


def test_chains_of_different_depth_can_be_compared():
    assert shared_chain(np.array([1, 2, 0, 0]), np.array([1, 2])) == (2, 2, 2)
