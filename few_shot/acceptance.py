"""Decides for each product: accept the model's answer, climb to an ancestor that is sure enough, or ask a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from few_shot.calibration import fit_temperature, softmax
from few_shot.proportions import effective_count, lower_bound
from few_shot.subtrees import Subtrees
from schemas.errors import ModelError

ASK = -1
NEVER = 2.0  # A threshold that no probability reaches.
# What is done with a product, as files and served models spell it.
ACCEPTED, CLIMBED, ASKED = "accept", "climb", "ask"
# A search begins where that share is accepted, so that an odd answer can't end it, with most of the chance of error there is; another
# begins with the surest few, for models that are seldom sure. No search begins before two mistakes would still pass.
_STARTS = ((0.25, 0.8), (0.0, 0.2))
_SPARE_MISTAKES = 2
_STEPS = 100
# From here up the nodes that are sure enough lie on one way down the tree, so "the deepest" is one node.
_LEAST_ANCESTOR = 0.5


@dataclass(frozen=True)
class AcceptancePolicy:
    """When to take the model's word.

    Attributes:
        promised: the precision that both kinds of acceptance keep, each by itself.
        confidence: that they keep it, over the chance of which answers were given.
        temperature: what logits are divided by.
        answer_threshold: the best class is accepted from this probability on; `NEVER`: no answer can be promised.
        ancestor_threshold: else the deepest inner node from this probability on; `NEVER`: none can be promised.
    """

    promised: float
    confidence: float
    temperature: float
    answer_threshold: float
    ancestor_threshold: float


@dataclass(frozen=True)
class Decisions:
    """What to do with n products.

    Attributes:
        nodes: int64 `[n]`, number of the accepted node in tree order, or `ASK`.
        is_answer: bool `[n]`, whether the accepted node is the model's own answer, not an ancestor.
    """

    nodes: np.ndarray
    is_answer: np.ndarray


def decide(logits: np.ndarray, tree: Subtrees, policy: AcceptancePolicy) -> Decisions:
    """Returns what a policy does with products, given logits `[n, C]` of the exclusive head."""
    probabilities = softmax(logits, policy.temperature)
    is_answer = probabilities.max(axis=1) >= policy.answer_threshold
    ancestors = _ancestors(tree.sums(probabilities, tree.inner), tree, policy.ancestor_threshold)
    return Decisions(np.where(is_answer, tree.node_of[probabilities.argmax(axis=1)], ancestors), is_answer)


def is_right(decisions: Decisions, tree: Subtrees, classes: np.ndarray) -> np.ndarray:
    """Returns bool `[n]`: an answer is right if it is the truth, an ancestor if the truth lies below; asking a person never is.

    Args:
        decisions: of n products.
        tree: the tree.
        classes: int64 `[n]`, the true classes; -1 where the tree doesn't have the truth, which nothing can match.
    """
    asked = decisions.nodes == ASK
    exact = tree.node_of[np.maximum(classes, 0)] == decisions.nodes
    above = tree.holds(np.maximum(decisions.nodes, 0), classes)
    found: np.ndarray = ~asked & (classes >= 0) & np.where(decisions.is_answer, exact, above)
    return found


def choose_policy(
    logits: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    tree: Subtrees,
    promised: float = 0.95,
    confidence: float = 0.95,
    weights: np.ndarray | None = None,
    tolerance: float = 0.0,
    allowed: np.ndarray | None = None,
) -> AcceptancePolicy:
    """Returns the policy that accepts most and keeps its promise.

    Thresholds are tested from strict to lenient, each on what it accepts, and the last one is taken before the first that fails: with
    an order fixed beforehand, testing many costs no confidence. The promise is for products drawn like these answers: draw them at
    random, as the audit share of a batch is, or weigh them to the products they stand for.

    An answer that leaves several classes open counts as a mistake wherever it doesn't show that the model is right: those products are
    harder than others, so that to leave them out would promise too much.

    Args:
        logits: float `[n, C]`, of models that haven't seen these answers, see `few_shot.held_out`.
        classes: int64 `[n]`, the answers; -1 where several classes are left.
        groups: int64 `[n]`, equal for near-duplicates.
        tree: the tree.
        promised: least precision of what is accepted, above 0 and below 1.
        confidence: that it is kept by answers, and that it is kept by ancestors.
        weights: float `[n]`, above 0, what each answer stands for; None: all alike.
        tolerance: how far below the promise a precision may still be, from 0; some accepts more where answers are few.
        allowed: bool `[n, C]`, the classes that are left; read where `classes` is -1. None: no class is known to be possible there.

    Raises:
        ModelError: a promise or confidence that can't be, or arrays that don't belong together.

    Source:
        Angelopoulos et al. 2021, arXiv 2110.01052, Learn then Test (fixed-sequence testing); climbing as in Goren et al. 2024,
        NeurIPS, Hierarchical Selective Classification.
    """
    if not (0 <= tolerance < promised < 1 and 0 < confidence < 1):
        raise ModelError(
            f"found promised {promised}, confidence {confidence} and tolerance {tolerance}, expected shares such as 0.95, 0.95 and 0.005."
        )
    if not (len(logits) == len(classes) == len(groups)) or (len(logits) and logits.shape[1] != len(tree.node_of)):
        raise ModelError(
            f"found logits {logits.shape}, {len(classes)} answers, {len(groups)} groups, {len(tree.node_of)} classes; they don't match."
        )
    named = classes >= 0
    temperature = fit_temperature(logits[named], classes[named])
    probabilities = softmax(logits, temperature)
    best, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    weights = np.ones(len(classes)) if weights is None else weights
    least, tail = promised - tolerance, 1.0 - confidence
    tested = [_tested(each, sure >= each, best == classes, len(sure), groups, weights) for each in _answer_grid(sure).tolist()]
    answers = _lowest(tested, least, tail)
    left, sums, tested = sure < answers, tree.sums(probabilities, tree.inner), []
    lowest, highest = _spans(classes, allowed)
    for each in np.linspace(0.999, _LEAST_ANCESTOR, _STEPS).tolist():
        nodes = _ancestors(sums, tree, each)
        right = tree.holds(np.maximum(nodes, 0), lowest, highest)
        tested.append(_tested(each, left & (nodes != ASK), right, int(left.sum()), groups, weights))
    ancestors = _lowest(tested, least, tail)
    return AcceptancePolicy(promised, confidence, temperature, answers, ancestors)


def _spans(classes: np.ndarray, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and the last class that each product may be of, both -1 where nothing is known, int64 `[n]` each."""
    first, last = classes.copy(), classes.copy()
    if allowed is not None:
        some = np.flatnonzero((classes < 0) & allowed.any(axis=1))
        first[some] = allowed[some].argmax(axis=1)
        last[some] = allowed.shape[1] - 1 - allowed[some, ::-1].argmax(axis=1)
    return first, last


def answers_needed(promised: float, confidence: float) -> int:
    """Returns the least number of different products whose answers can keep a promise, were all but two of the model's right.

    >>> answers_needed(0.95, 0.95), answers_needed(0.8, 0.95)
    (130, 31)
    """
    tail = max(part for _, part in _STARTS) * (1.0 - confidence)
    answers = _SPARE_MISTAKES + 1
    while lower_bound(1.0 - _SPARE_MISTAKES / answers, answers, tail) < promised:
        answers += 1
    return answers


def _ancestors(sums: np.ndarray, tree: Subtrees, threshold: float) -> np.ndarray:
    """Returns the deepest inner node that is at least so probable, or `ASK`, int64 `[n]`; `sums` are of the inner nodes."""
    inner = tree.inner
    if threshold > 1 or not len(inner):
        return np.full(len(sums), ASK, np.int64)
    depths = np.where(sums >= threshold, tree.depth[inner], 0)  # [n, inner nodes]
    found: np.ndarray = np.where(depths.max(axis=1) > 0, inner[depths.argmax(axis=1)], ASK)
    return found


def _answer_grid(sure: np.ndarray) -> np.ndarray:
    """Returns thresholds from strict to lenient that accept ever larger equal shares of the products."""
    return np.unique(np.quantile(sure, np.linspace(0, 1, _STEPS)))[::-1] if len(sure) else np.empty(0)


@dataclass(frozen=True)
class _Tested:
    """What a threshold accepts: its share of the products in question, its precision, and the products that precision is worth."""

    threshold: float
    share: float
    precision: float
    effective: float


def _tested(threshold: float, accepted: np.ndarray, right: np.ndarray, possible: int, groups: np.ndarray, weights: np.ndarray) -> _Tested:
    if not accepted.any():
        return _Tested(threshold, 0.0, 0.0, 0.0)
    precision = float(np.average(right[accepted], weights=weights[accepted]))
    return _Tested(threshold, float(accepted.sum() / possible), precision, effective_count(weights[accepted], groups[accepted]))


def _lowest(tested: Sequence[_Tested], least: float, tail: float) -> float:
    """Returns the lowest threshold that a search ended on; `NEVER` where the first one tested may break the promise."""
    return min(_search(tested, first, least, part * tail) for first, part in _STARTS)


def _search(tested: Sequence[_Tested], first: float, least: float, tail: float) -> float:
    found = NEVER
    for each in tested:
        most = 1.0 - _SPARE_MISTAKES / max(each.effective, _SPARE_MISTAKES)
        if each.share < first or lower_bound(most, each.effective, tail) < least:
            continue
        if lower_bound(each.precision, each.effective, tail) < least:
            break
        found = each.threshold
    return found
