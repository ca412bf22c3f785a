"""Measures both heads from every side, from scores made once. NumPy only.

Every product is first reduced to a few numbers (`ProductFacts`), block by block, so that memory is bounded by the number
of products and not by products x nodes. Any slice is then a selection of rows. A value nobody can define (no judged
product in the slice) is None.

One product's truth is a *node*; the class it stands for is the node's place among the exclusive nodes. An answer that
names an unknown or a non-exclusive node never matches, counts as a mistake, and is one more class in macro F1, exactly
as in the gate (`gate_metrics.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from schemas.errors import EvaluationError
from schemas.taxonomy import Taxonomy

IntArray = np.ndarray[Any, np.dtype[np.int64]]
FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

TOP = 5
RULE_THRESHOLD = 0.5
CALIBRATION_BINS = 15
BLOCK_PRODUCTS = 4096
# Columns sorted at once for average precision.
BLOCK_NODES = 64
MAX_CONFUSIONS = 500


@dataclass(frozen=True)
class Scores:
    """What a model said about products and what is true. Arrays may be memory-mapped; n products, C classes, N nodes.

    Args:
        answered: bool `[n]`, whether a person answered.
        true_nodes: int `[n]`, number of the answered node in tree order; -1 where the taxonomy doesn't have it.
        exclusive: float `[n, C]`, probabilities of the exclusive nodes in tree order.
        rule_based: float `[n, N]`, probabilities of all nodes in tree order.
        rule_pairs: int `[p, 2]`, the (product, node) pairs that the rules claim, closed over ancestors.
        depths: int `[n]`, depth of the answered node as the examples say it, 0 where there is none.
        shops: shop of each product, empty where unknown.
        missing: field to bool `[n]`, whether the product lacks it.
    """

    answered: BoolArray
    true_nodes: IntArray
    exclusive: FloatArray
    rule_based: FloatArray
    rule_pairs: IntArray
    depths: IntArray
    shops: Sequence[str]
    missing: Mapping[str, BoolArray]

    def check(self, taxonomy: Taxonomy) -> None:
        """Refuses arrays that don't belong together.

        Raises:
            EvaluationError: a shape or a node number that doesn't fit the taxonomy or the number of products.
        """
        count = len(self.answered)
        wanted = {
            "true_nodes": (self.true_nodes.shape, (count,)),
            "exclusive": (self.exclusive.shape, (count, len(taxonomy.exclusive))),
            "rule_based": (self.rule_based.shape, (count, len(taxonomy))),
            "rule_pairs": (self.rule_pairs.shape, (len(self.rule_pairs), 2)),
            "depths": (self.depths.shape, (count,)),
            "shops": ((len(self.shops),), (count,)),
            **{f"missing[{name!r}]": (flags.shape, (count,)) for name, flags in self.missing.items()},
        }
        for name, (found, expected) in wanted.items():
            if found != expected:
                raise EvaluationError(
                    f"scores: {name} has the shape {list(found)}, expected {list(expected)}. Score with the model of this taxonomy."
                )
        if count and not -1 <= self.true_nodes.min() <= self.true_nodes.max() < len(taxonomy):
            raise EvaluationError(f"scores: true_nodes must be -1 or a node number below {len(taxonomy)}, found {self.true_nodes.max()}.")


@dataclass(frozen=True)
class ProductFacts:
    """A few numbers of each product, `[n]` each; nothing below needs the scores again.

    `truth` and `predicted` are class numbers, `truth` C where the answer is no class. `shared`, `true_length` and
    `found_length` count nodes on the ways from the root. `rule_*` count nodes of the rule head at its threshold:
    `rule_found` predicted, `rule_true` and `rule_shared` against the rules, `people_true` and `people_shared` against
    the closure of the answer.
    """

    answered: BoolArray
    true_nodes: IntArray
    truth: IntArray
    predicted: IntArray
    confidence: FloatArray
    in_top: BoolArray
    shared: IntArray
    true_length: IntArray
    found_length: IntArray
    rule_found: IntArray
    rule_true: IntArray
    rule_shared: IntArray
    people_true: IntArray
    people_shared: IntArray

    @property
    def correct(self) -> BoolArray:
        """Bool `[n]`: the predicted class is the true one."""
        return np.asarray(self.truth == self.predicted)

    def __len__(self) -> int:
        return len(self.truth)


def ancestor_table(taxonomy: Taxonomy) -> IntArray:
    """Returns int `[N + 1, D]`: the way from the root to each node, padded with -1; the last row is "no node".

    Two nodes share exactly the columns in which their rows agree on something other than -1.
    """
    table = np.full((len(taxonomy) + 1, max(taxonomy.depths)), -1, np.int64)
    for i, parent in enumerate(taxonomy.parents):
        depth = taxonomy.depths[i]
        table[i, : depth - 1] = table[parent, : depth - 1]
        table[i, depth - 1] = i
    return table


def product_facts(scores: Scores, taxonomy: Taxonomy, block_products: int = BLOCK_PRODUCTS) -> ProductFacts:
    """Reduces scores to facts, `block_products` rows at a time."""
    scores.check(taxonomy)
    table = ancestor_table(taxonomy)
    classes = np.asarray(taxonomy.exclusive, np.int64)
    class_of = np.full(len(taxonomy) + 1, len(classes), np.int64)
    class_of[classes] = np.arange(len(classes))
    order = np.argsort(scores.rule_pairs[:, 0], kind="stable")
    pairs = scores.rule_pairs[order]
    blocks = []
    for start in range(0, max(len(scores.answered), 1), block_products):
        rows = slice(start, start + block_products)
        low, high = np.searchsorted(pairs[:, 0], (start, start + block_products))
        local = pairs[low:high] - np.array([start, 0])
        blocks.append(_block_facts(scores, rows, local, table, classes, class_of))
    return ProductFacts(**{field.name: np.concatenate([block[field.name] for block in blocks]) for field in fields(ProductFacts)})


def _block_facts(
    scores: Scores, rows: slice, pairs: IntArray, table: IntArray, classes: IntArray, class_of: IntArray
) -> dict[str, np.ndarray]:
    exclusive, rule_based = np.asarray(scores.exclusive[rows]), np.asarray(scores.rule_based[rows])
    true_nodes, count = scores.true_nodes[rows], len(exclusive)
    truth, predicted = class_of[true_nodes], exclusive.argmax(1) if count else np.zeros(0, np.int64)
    true_chain, found_chain = table[true_nodes], table[classes[predicted]]  # [block, D]
    shared = ((true_chain == found_chain) & (true_chain >= 0)).sum(1)
    found = rule_based >= RULE_THRESHOLD
    at_chain = np.take_along_axis(found, np.maximum(true_chain, 0), 1) & (true_chain >= 0)
    rule_hits = found[pairs[:, 0], pairs[:, 1]]
    true_length = (true_chain >= 0).sum(1)
    return {
        "answered": scores.answered[rows],
        "true_nodes": true_nodes,
        "truth": truth,
        "predicted": predicted,
        "confidence": exclusive.max(1) if count else np.zeros(0),
        "in_top": _in_top(exclusive, truth),
        "shared": shared,
        "true_length": true_length,
        "found_length": (found_chain >= 0).sum(1),
        "rule_found": found.sum(1),
        "rule_true": np.bincount(pairs[:, 0], minlength=count)[:count],
        "rule_shared": np.bincount(pairs[:, 0], weights=rule_hits, minlength=count)[:count].astype(np.int64),
        "people_true": true_length,
        "people_shared": at_chain.sum(1),
    }


def _in_top(exclusive: FloatArray, truth: IntArray) -> BoolArray:
    """Whether fewer than five classes score higher than the true one, ties broken by class number."""
    known = truth < exclusive.shape[1]
    at = np.where(known, truth, 0)
    own = np.take_along_axis(exclusive, at[:, None], 1)
    before = np.arange(exclusive.shape[1])[None, :] < at[:, None]
    higher = (exclusive > own).sum(1) + ((exclusive == own) & before).sum(1)
    return np.asarray(known & (higher < TOP))


def summarise(facts: ProductFacts, rows: np.ndarray | None = None) -> dict[str, Any]:
    """Returns the exclusive head's scores over the answered products among `rows` (all by default).

    `calibration_error` is the expected calibration error of the highest probability over 15 bins of equal width: the
    mean gap between how sure the model is and how often it is right, weighted by products. `tree_distance` is the mean
    number of steps in the tree between prediction and answer, through a root above the roots where needed; answers the
    taxonomy doesn't have are left out of it.

    Source:
        Guo et al. 2017, "On calibration of modern neural networks"; Kiritchenko et al. 2005 for hierarchical F1.
    """
    rows = np.arange(len(facts)) if rows is None else np.flatnonzero(rows) if rows.dtype == bool else rows
    rows = rows[facts.answered[rows]]
    correct = facts.correct[rows]
    shared, found, true = (int(values[rows].sum()) for values in (facts.shared, facts.found_length, facts.true_length))
    known = rows[facts.true_length[rows] > 0]
    steps = facts.true_length[known] + facts.found_length[known] - 2 * facts.shared[known]
    macro, weighted = _class_f1(facts.truth[rows], facts.predicted[rows])
    return {
        "judged": len(rows),
        "accuracy": _mean(correct),
        f"top_{TOP}": _mean(facts.in_top[rows]),
        "macro_f1": macro,
        "weighted_f1": weighted,
        "hierarchical_precision": _ratio(shared, found),
        "hierarchical_recall": _ratio(shared, true),
        "hierarchical_f1": _ratio(2 * shared, found + true),
        "tree_distance": _mean(steps),
        "calibration_error": _calibration_error(facts.confidence[rows], correct),
        "rule_based_f1": _ratio(2 * facts.people_shared[rows].sum(), facts.rule_found[rows].sum() + facts.people_true[rows].sum()),
    }


def _class_f1(truth: IntArray, predicted: IntArray) -> tuple[float | None, float | None]:
    """Returns macro and support-weighted F1 over the classes that occur in truth."""
    if not len(truth):
        return None, None
    width = int(max(truth.max(), predicted.max())) + 1
    support, found = np.bincount(truth, minlength=width), np.bincount(predicted, minlength=width)
    both = np.bincount(truth[truth == predicted], minlength=width)
    occurs = support > 0
    scores = 2 * both[occurs] / (support + found)[occurs]
    return float(scores.mean()), float((scores * support[occurs]).sum() / len(truth))


def calibration_table(confidence: FloatArray, correct: BoolArray) -> list[dict[str, Any]]:
    """Returns, for each of 15 bins of equal width with a product in it: its ends, products, confidence and accuracy.

    A bin holds its upper end and not its lower one.
    """
    bins = np.clip(np.ceil(np.asarray(confidence, np.float64) * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    return [
        {
            "from": number / CALIBRATION_BINS,
            "to": (number + 1) / CALIBRATION_BINS,
            "products": int((bins == number).sum()),
            "confidence": float(np.mean(confidence[bins == number], dtype=np.float64)),
            "accuracy": float(correct[bins == number].mean()),
        }
        for number in np.unique(bins).tolist()
    ]


def _calibration_error(confidence: FloatArray, correct: BoolArray) -> float | None:
    gaps = [row["products"] * abs(row["confidence"] - row["accuracy"]) for row in calibration_table(confidence, correct)]
    return float(sum(gaps) / len(correct)) if len(correct) else None


def average_precisions(scores: FloatArray, pairs: IntArray, rows: IntArray) -> FloatArray:
    """Returns float `[N]`: how well each node's score ranks its products first; NaN where a node has none.

    Exact, 64 nodes at a time. Products with the same score count as found together, so their order doesn't matter.

    >>> average_precisions(np.array([[0.9], [0.8], [0.7]]), np.array([[0, 0], [2, 0]]), np.arange(3)).round(3)
    array([0.833])

    Args:
        scores: float `[n, N]`.
        pairs: int `[p, 2]`, the (product, node) pairs that are true.
        rows: numbers of the products that are ranked; pairs of others are ignored.
    """
    num_nodes = scores.shape[1]
    result = np.full(num_nodes, np.nan)
    if not len(rows):
        return result
    position = np.full(scores.shape[0], -1, np.int64)
    position[rows] = np.arange(len(rows))
    kept = pairs[position[pairs[:, 0]] >= 0]
    kept = kept[np.argsort(kept[:, 1], kind="stable")]
    bounds = np.searchsorted(kept[:, 1], np.arange(num_nodes + 1))
    for first in range(0, num_nodes, BLOCK_NODES):
        last = min(first + BLOCK_NODES, num_nodes)
        if bounds[first] == bounds[last]:
            continue
        columns = np.asarray(scores[:, first:last])[rows]
        for node in range(first, last):
            if bounds[node] < bounds[node + 1]:
                positives = position[np.unique(kept[bounds[node] : bounds[node + 1], 0])]
                result[node] = _average_precision(columns[:, node - first], positives)
    return result


def _average_precision(scores: FloatArray, positives: IntArray) -> float:
    ordered, wanted = np.sort(scores), np.sort(scores[positives])
    # Products, and true ones, that score at least as high as each true one.
    found = len(ordered) - np.searchsorted(ordered, wanted, "left")
    true = len(wanted) - np.searchsorted(wanted, wanted, "left")
    return float((true / found).mean())


def answer_pairs(facts: ProductFacts, taxonomy: Taxonomy) -> IntArray:
    """Returns int `[p, 2]`: the closure of the answers as (product, node) pairs."""
    rows = np.flatnonzero(facts.answered & (facts.true_nodes >= 0))
    chains = ancestor_table(taxonomy)[facts.true_nodes[rows]]  # [rows, D]
    at, column = np.nonzero(chains >= 0)
    return np.stack([rows[at], chains[at, column]], 1)


def wide_metrics(scores: Scores, taxonomy: Taxonomy, facts: ProductFacts | None = None) -> dict[str, Any]:
    """Returns both heads' metrics over all products and by every slice, ready for JSON: None where undefined.

    Keys: `exclusive`, `rule_based`, `calibration`, `by_depth` (keys "1", "2", ...), `by_root` and `by_node` (node ids),
    `by_shop`, `by_missing_field` (`missing` and `present` of each field), `confusions` (`truth`, `predicted`, `count`).

    Args:
        scores: the model's scores and the truth.
        taxonomy: the tree that the model's outputs are in the order of.
        facts: `product_facts` of the same scores, when they are at hand.
    """
    facts = product_facts(scores, taxonomy) if facts is None else facts
    depths = {str(depth): summarise(facts, scores.depths == depth) for depth in np.unique(scores.depths[scores.answered]).tolist() if depth}
    rows = np.flatnonzero(facts.answered)
    precisions = _rule_precisions(scores, facts, taxonomy)
    found: dict[str, Any] = clean(
        {
            "exclusive": summarise(facts) | {"weighted_f1_over_depths": _mean_of([row["weighted_f1"] for row in depths.values()])},
            "rule_based": _rule_based(facts, precisions, taxonomy),
            "calibration": calibration_table(facts.confidence[rows], facts.correct[rows]),
            "by_depth": depths,
            "by_root": dict(_by_root(facts, precisions, taxonomy)),
            "by_shop": dict(_by_shop(facts, scores.shops)),
            "by_missing_field": {
                name: {"missing": summarise(facts, flags), "present": summarise(facts, ~flags)} for name, flags in scores.missing.items()
            },
            "by_node": dict(_by_node(facts, precisions, taxonomy)),
            "confusions": _confusions(facts, taxonomy),
        }
    )
    return found


def _rule_precisions(scores: Scores, facts: ProductFacts, taxonomy: Taxonomy) -> dict[str, FloatArray]:
    by_rule = np.unique(scores.rule_pairs[:, 0])
    return {
        "rules": average_precisions(scores.rule_based, scores.rule_pairs, by_rule),
        "people": average_precisions(scores.rule_based, answer_pairs(facts, taxonomy), np.flatnonzero(facts.answered)),
    }


def _rule_based(facts: ProductFacts, precisions: Mapping[str, FloatArray], taxonomy: Taxonomy) -> dict[str, Any]:
    ruled = facts.rule_true > 0
    against = {
        "rules": (ruled, facts.rule_shared, facts.rule_true),
        "people": (facts.answered, facts.people_shared, facts.people_true),
    }
    depths = np.asarray(taxonomy.depths)
    result: dict[str, Any] = {"threshold": RULE_THRESHOLD}
    for judge, (rows, shared, true) in against.items():
        hits, found, wanted = (int(values[rows].sum()) for values in (shared, facts.rule_found, true))
        scores = precisions[judge]
        result[f"against_{judge}"] = {
            "products": int(rows.sum()),
            "nodes": int(np.isfinite(scores).sum()),
            "mean_average_precision": _mean_defined(scores),
            "precision": _ratio(hits, found),
            "recall": _ratio(hits, wanted),
            "f1": _ratio(2 * hits, found + wanted),
            "by_depth": {str(depth): _mean_defined(scores[depths == depth]) for depth in np.unique(depths).tolist()},
        }
    return result


def _by_root(facts: ProductFacts, precisions: Mapping[str, FloatArray], taxonomy: Taxonomy) -> Iterator[tuple[str, dict[str, Any]]]:
    for root in (node for node in taxonomy if not node.parent_id):
        nodes = taxonomy.subtree(root.id)
        row = summarise(facts, (facts.true_nodes >= nodes.start) & (facts.true_nodes < nodes.stop))
        row |= {f"average_precision_{judge}": _mean_defined(scores[nodes.start : nodes.stop]) for judge, scores in precisions.items()}
        if row["judged"]:
            yield root.id, {"name": root.name} | row


def _by_shop(facts: ProductFacts, shops: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    names, codes = np.unique(np.asarray(shops, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for number, name in enumerate(names.tolist()):
        row = summarise(facts, order[bounds[number] : bounds[number + 1]])
        if row["judged"]:
            yield name, row


def _by_node(facts: ProductFacts, precisions: Mapping[str, FloatArray], taxonomy: Taxonomy) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every node an answer names or the model predicts; `loss` is its share of the weighted F1 that is lost."""
    rows = np.flatnonzero(facts.answered)
    classes = np.asarray(taxonomy.exclusive)
    found_nodes, true_nodes = classes[facts.predicted[rows]], facts.true_nodes[rows]
    support = np.bincount(true_nodes[true_nodes >= 0], minlength=len(taxonomy))
    found = np.bincount(found_nodes, minlength=len(taxonomy))
    both = np.bincount(found_nodes[facts.correct[rows]], minlength=len(taxonomy))
    for i in np.flatnonzero(support + found).tolist():
        score = _ratio(2 * both[i], support[i] + found[i])
        yield (
            taxonomy[i].id,
            {
                "path": taxonomy.path(taxonomy[i].id),
                "depth": taxonomy.depths[i],
                "judged": int(support[i]),
                "predicted": int(found[i]),
                "precision": _ratio(both[i], found[i]),
                "recall": _ratio(both[i], support[i]),
                "f1": score if support[i] else None,
                "loss": float(support[i] * (1 - (score or 0)) / len(rows)),
                "average_precision_rules": float(precisions["rules"][i]),
                "average_precision_people": float(precisions["people"][i]),
            },
        )


def _confusions(facts: ProductFacts, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Returns the most frequent wrong (answer, prediction) pairs, at most 500; ties in tree order."""
    rows = np.flatnonzero(facts.answered & (facts.true_nodes >= 0) & ~facts.correct)
    found_nodes = np.asarray(taxonomy.exclusive)[facts.predicted[rows]]
    pairs, counts = np.unique(facts.true_nodes[rows] * len(taxonomy) + found_nodes, return_counts=True)
    best = np.argsort(-counts, kind="stable")[:MAX_CONFUSIONS]
    return [
        {"truth": taxonomy[pair // len(taxonomy)].id, "predicted": taxonomy[pair % len(taxonomy)].id, "count": count}
        for pair, count in zip(pairs[best].tolist(), counts[best].tolist(), strict=True)
    ]


def clean(value: Any) -> Any:
    """Returns a value that JSON can hold: NaN and infinities become None, NumPy scalars plain numbers.

    >>> clean({"a": [float("nan"), np.int64(2)]})
    {'a': [None, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): clean(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values, dtype=np.float64)) if len(values) else None


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _mean_defined(values: FloatArray) -> float | None:
    return _mean(values[np.isfinite(values)])


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
