"""Counts what the gate needs as TFMA metrics: one NumPy array per slice, however wide a head is.

TFMA's own metrics flatten a head into one binary problem per output, which takes minutes on hundreds of nodes. These
look at each example once, keep a handful of numbers of it, and add them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.utils import util

UNKNOWN = -1
_TRUTH, _PREDICTED, _BOTH = 0, 1, 2


class PerClassPrecisionRecallF1(metric_types.Metric):  # type: ignore[misc]
    """Accuracy, macro and micro F1, and precision, recall, F1 and support of each class.

    Without `threshold` the head is a softmax `[C]` and the label one class number; the predicted class is the highest
    output, the first one at a tie. Label -1 (a node the model doesn't know) never matches, but counts: as one more
    class in macro F1, and as a mistake elsewhere. With `threshold` the head is independent sigmoids `[N]` and the label
    0 or 1 for each; a node is predicted where its output reaches the threshold, and `accuracy` is left out.

    Macro F1 is the mean over the classes that occur in truth. How many classes there are is found in the data, so no
    taxonomy is needed when the pipeline is defined. Everything is NaN where the weights add up to 0.

    Keys: `accuracy`, `macro_f1`, `micro_f1`, `weighted_example_count`; and for each class that occurs, with a
    `class_id`, `class_precision`, `class_recall`, `class_f1`, `class_support`.

    Args:
        threshold: see above; negative means a softmax.
        code: digest of this file; only makes a changed metric a changed pipeline, see `gate.code_digest`.
    """

    def __init__(self, threshold: float = -1.0, name: str = "per_class", code: str = "") -> None:
        super().__init__(metric_util.merge_per_key_computations(_per_class), threshold=threshold, name=name, code=code)


class HierarchicalPrecisionRecallF1(metric_types.Metric):  # type: ignore[misc]
    """Hierarchical precision, recall and F1: how much of the way from the root two answers share.

    Label and output are chains: the fingerprints of the node and its ancestors, padded with 0. Shared fingerprints
    over the predicted ones is precision, over the true ones recall, both summed over the products first (micro). A
    label of zeros only (a node the model doesn't know) counts against precision. NaN where there is nothing to share.

    Keys: `hierarchical_precision`, `hierarchical_recall`, `hierarchical_f1`, and `guarded_hierarchical_f1`, which is 1
    where the weights add up to less than `min_products`: a threshold on its change can't stop a model because of a few
    products. (TFMA's own `min_slice_size` drops the slice, and then fails the threshold as "Metric not found".)

    Args:
        min_products: see above.
        code: as in `PerClassPrecisionRecallF1`.

    Source:
        Kiritchenko et al. 2005, "Functional annotation of genes using hierarchical text categorization".
    """

    def __init__(self, min_products: int = 0, name: str = "hierarchical", code: str = "") -> None:
        super().__init__(metric_util.merge_per_key_computations(_hierarchical), min_products=min_products, name=name, code=code)


def shared_chain(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int]:
    """Returns how many fingerprints two zero-padded chains share, and how long the predicted and the true one are.

    >>> shared_chain(np.array([7, 8, 0]), np.array([7, 9, 3]))
    (1, 3, 2)
    """
    true_set, found_set = set(truth[truth != 0].tolist()), set(predicted[predicted != 0].tolist())
    return len(true_set & found_set), len(found_set), len(true_set)


def f1(shared: float, predicted: float, truth: float) -> float:
    """Returns the harmonic mean of precision and recall from counts; NaN where neither is defined."""
    return 2 * shared / (predicted + truth) if predicted + truth else float("nan")


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _key_maker(model_name: str, output_name: str) -> Callable[..., metric_types.MetricKey]:
    def key(name: str, class_id: int | None = None) -> metric_types.MetricKey:
        # Thresholds named in a MetricsSpec look for example_weighted=None; the default is False ("Metric not found.").
        return metric_types.MetricKey(
            name=name,
            model_name=model_name,
            output_name=output_name,
            sub_key=None if class_id is None else metric_types.SubKey(class_id=class_id),
            example_weighted=None,
        )

    return key


class _Reducer(metric_types.Preprocessor):  # type: ignore[misc]
    """Keeps of an example only what a combiner adds up, before it is copied into its slices."""

    def __init__(self, kind: str, model_name: str, output_name: str, threshold: float, weighted: bool) -> None:
        super().__init__(name=f"{kind}/{model_name}/{output_name}/{threshold}/{weighted}")
        self._where, self._threshold, self._weighted = (model_name, output_name), threshold, weighted

    def _values(self, extracts: Any) -> tuple[np.ndarray, np.ndarray, float]:
        inputs = util.StandardExtracts(extracts)
        label, prediction = (np.asarray(get(*self._where)) for get in (inputs.get_labels, inputs.get_predictions))
        weight = np.asarray(inputs.get_example_weights(*self._where)).reshape(-1)[0] if self._weighted else 1.0
        return label.reshape(-1), prediction.reshape(-1), float(weight)


class _ClassPair(_Reducer):
    """Yields `(truth, predicted, width, weight)`: class numbers of a softmax, arrays of node numbers of sigmoids."""

    def process(self, extracts: Any) -> Iterator[Any]:
        label, prediction, weight = self._values(extracts)
        if self._threshold < 0:
            truth, predicted = int(label[0]), int(prediction.argmax())
            if not UNKNOWN <= truth < len(prediction):
                raise ValueError(
                    f"label {truth} is outside the {len(prediction)} outputs of the head; expected -1 where the node is unknown."
                )
            yield truth, predicted, len(prediction), weight
        else:
            yield np.flatnonzero(label > 0), np.flatnonzero(prediction >= self._threshold), len(prediction), weight


class _ChainPair(_Reducer):
    """Yields `[shared, predicted, true, products]` of two chains, times the weight."""

    def process(self, extracts: Any) -> Iterator[np.ndarray]:
        label, prediction, weight = self._values(extracts)
        yield weight * np.array([*shared_chain(label, prediction), 1.0])


def _add_pair(counts: np.ndarray, truth: Any, predicted: Any, weight: float) -> None:
    counts[_TRUTH, truth] += weight
    counts[_PREDICTED, predicted] += weight
    counts[_BOTH, np.intersect1d(truth, predicted)] += weight


class _ClassCounter(beam.CombineFn):
    """Adds up `[3, width + 1]` counts and the weight; the array is made when the first example says how wide."""

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> list[Any]:
        return [None, 0.0]

    def add_input(self, accumulator: list[Any], element: Any) -> list[Any]:
        truth, predicted, width, weight = element
        if accumulator[0] is None:
            accumulator[0] = np.zeros((3, width + 1))
        if weight:
            _add_pair(accumulator[0], truth, predicted, weight)
            accumulator[1] += weight
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        counts, total = None, 0.0
        for other_counts, other_total in accumulators:
            counts = other_counts if counts is None else counts if other_counts is None else counts + other_counts
            total += other_total
        return [counts, total]

    def extract_output(self, accumulator: list[Any]) -> dict[metric_types.MetricKey, Any]:
        return {self._key: accumulator}


class _ChainCounter(beam.CombineFn):
    """Adds up `[shared, predicted, true, products]`."""

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> np.ndarray:
        return np.zeros(4)

    def add_input(self, accumulator: np.ndarray, element: np.ndarray) -> np.ndarray:
        return np.asarray(accumulator + element)

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        return np.asarray(np.sum([np.zeros(4), *accumulators], axis=0))

    def extract_output(self, accumulator: np.ndarray) -> dict[metric_types.MetricKey, Any]:
        return {self._key: accumulator}


def _per_class(
    threshold: float = -1.0,
    name: str = "per_class",
    code: str = "",
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    key = _key_maker(model_name, output_name)
    counts_key = key(f"_{name}_counts")
    summary = [key(metric) for metric in ("accuracy", "macro_f1", "micro_f1", "weighted_example_count")]
    if threshold >= 0:
        summary = summary[1:]

    def derive(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        counts, total = metrics[counts_key]
        if counts is None:
            return {metric: float("nan") for metric in summary}
        found = _summary(counts, total)
        values = {metric: found[metric.name] for metric in summary}
        for class_id, scores in _by_class(counts):
            values.update({key(f"class_{score}", class_id): value for score, value in scores.items()})
        return values

    reducer = _ClassPair("class_pair", model_name, output_name, threshold, example_weighted)
    return [
        metric_types.MetricComputation(keys=[counts_key], preprocessors=[reducer], combiner=_ClassCounter(counts_key)),
        metric_types.DerivedMetricComputation(keys=summary, result=derive),
    ]


def _summary(counts: np.ndarray, total: float) -> dict[str, float]:
    truth, predicted, both = counts
    occurs = truth > 0
    both = np.append(both[:-1], 0.0)  # an unknown node never matches
    return {
        "accuracy": _ratio(both.sum(), total),
        "macro_f1": float(np.mean(2 * both[occurs] / (truth + predicted)[occurs])) if occurs.any() else float("nan"),
        "micro_f1": f1(both.sum(), predicted.sum(), truth.sum()),
        "weighted_example_count": float(total),
    }


def _by_class(counts: np.ndarray) -> Iterator[tuple[int, dict[str, float]]]:
    truth, predicted, both = (row[:-1] for row in counts)
    for class_id in np.flatnonzero((truth > 0) | (predicted > 0)).tolist():
        yield (
            class_id,
            {
                "precision": _ratio(both[class_id], predicted[class_id]),
                "recall": _ratio(both[class_id], truth[class_id]),
                "f1": f1(both[class_id], predicted[class_id], truth[class_id]),
                "support": float(truth[class_id]),
            },
        )


def _hierarchical(
    min_products: int = 0,
    name: str = "hierarchical",
    code: str = "",
    model_name: str = "",
    output_name: str = "",
    example_weighted: bool = False,
) -> metric_types.MetricComputations:
    key = _key_maker(model_name, output_name)
    sums_key = key(f"_{name}_sums")
    keys = [key(metric) for metric in ("hierarchical_precision", "hierarchical_recall", "hierarchical_f1", "guarded_hierarchical_f1")]

    def derive(metrics: dict[metric_types.MetricKey, Any]) -> dict[metric_types.MetricKey, float]:
        shared, predicted, truth, products = metrics[sums_key].tolist()
        score = f1(shared, predicted, truth)
        return dict(
            zip(keys, (_ratio(shared, predicted), _ratio(shared, truth), score, 1.0 if products < min_products else score), strict=True)
        )

    reducer = _ChainPair("chain_pair", model_name, output_name, -1.0, example_weighted)
    return [
        metric_types.MetricComputation(keys=[sums_key], preprocessors=[reducer], combiner=_ChainCounter(sums_key)),
        metric_types.DerivedMetricComputation(keys=keys, result=derive),
    ]
