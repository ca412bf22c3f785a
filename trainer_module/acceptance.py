"""Chooses when a fitted model's word is taken without a person, on answers that models like it haven't seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from few_shot.acceptance import ASK, AcceptancePolicy, answers_needed, choose_policy, decide
from few_shot.acceptance_file import NOTHING, OFF, PROMISED, TOO_FEW, Acceptance, asking
from few_shot.held_out import answer_folds
from few_shot.partial_answers import without_groups
from few_shot.quality_estimate import AUDIT
from few_shot.subtrees import Subtrees, subtrees_of
from schemas.allowed_nodes import TELLING_KINDS
from schemas.label_event import LabelEvent, standing_events
from schemas.taxonomy import Taxonomy
from trainer_module.fitting import logits_of
from trainer_module.node_texts import NodeBags
from trainer_module.training_data import TrainingData, group_numbers
from trainer_module.tree import Tree
from trainer_module.zoo.contract import LearnsAnswers, Network

log = logging.getLogger(__name__)

# More say hardly more, and each costs a score of every class.
_MOST_ANSWERS = 10_000


@dataclass(frozen=True)
class Promise:
    """What is asked of a policy.

    Attributes:
        precision: of what is accepted; 0 asks for none.
        confidence: that it is kept.
        folds: parts of the answers that are held out in turn.
    """

    precision: float = 0.0
    confidence: float = 0.95
    folds: int = 5


def promise_of(config: Mapping[str, Any]) -> Promise:
    """Returns what a trainer's `custom_config` says under `acceptance`; no promise where it says nothing."""
    return Promise(**config.get("acceptance", {}))


def subtrees(tree: Tree, taxonomy: Taxonomy) -> Subtrees:
    """Returns the ranges of classes below each node."""
    return subtrees_of(tree.ancestry, np.asarray(taxonomy.depths), tree.exclusive)


def picked_groups(events: Iterable[LabelEvent]) -> np.ndarray:
    """Returns the numbers of the groups whose standing answers are all about products that a strategy picked, int64.

    Answers that say nothing of a batch, such as those imported from elsewhere, count as random: nobody else can tell.
    """
    picked, random = set[str](), set[str]()
    for event in standing_events(events).values():
        if event.kind in TELLING_KINDS and event.group:
            by_strategy = event.shown.get("stream", AUDIT) != AUDIT
            (picked if by_strategy else random).add(event.group)
    return group_numbers(sorted(picked - random))


def choose_acceptance(
    network: Network,
    data: TrainingData,
    tree: Subtrees,
    promise: Promise,
    picked: np.ndarray,
    seed: int,
    refit: Callable[[TrainingData], Network],
    nodes: Callable[[], NodeBags],
) -> Acceptance:
    """Returns the policy that accepts most and keeps the promise, or one that asks about everything and says why.

    It is chosen on one random answer of each group of near-duplicates, since a promise is about different products.

    Args:
        network: fitted to `data`.
        data: products with their answers; none of them is judged by later stages.
        tree: over the network's classes.
        promise: what to keep.
        picked: numbers of groups that a strategy picked, which are no fair sample.
        seed: of the sample and of the folds.
        refit: fits a network like the first one to other answers, for families that have no cheaper way.
        nodes: reads the names of nodes, for families that want them.
    """
    if not promise.precision:
        return asking(OFF, promise.precision, promise.confidence)
    rows, num_picked = _fair_rows(data, picked, np.random.default_rng(seed))
    needed = answers_needed(promise.precision, promise.confidence)
    if len(rows) < needed:
        return asking(TOO_FEW, promise.precision, promise.confidence, len(rows), num_picked, needed)
    rows, logits = held_out_logits(network, data, rows, promise.folds, seed, refit, nodes)
    policy = choose_policy(
        logits, data.answers[rows], data.groups[rows], tree, promise.precision, promise.confidence, allowed=_allowed(data, rows)
    )
    found = _described(policy, logits, tree, len(rows), num_picked, needed)
    log.info(
        "acceptance promised=%.3f answers=%d picked=%d answer_coverage=%.3f ancestor_coverage=%.3f temperature=%.3f",
        promise.precision, found.answers, found.picked, found.answer_coverage, found.ancestor_coverage, policy.temperature,
    )  # fmt: skip
    return found


def held_out_logits(
    network: Network,
    data: TrainingData,
    rows: np.ndarray,
    folds: int,
    seed: int,
    refit: Callable[[TrainingData], Network],
    nodes: Callable[[], NodeBags],
) -> tuple[np.ndarray, np.ndarray]:
    """Returns answered products, and what networks say of them that have learnt from all answers but theirs.

    Args:
        network: fitted to `data`.
        data: products with their answers.
        rows: int64, ascending, products that people said something of.
        folds: parts of the groups of near-duplicates, held out in turn.
        seed: of the folds.
        refit: as of `choose_acceptance`.
        nodes: as of `choose_acceptance`.

    Returns:
        Ascending: int64 `[m]`, all of `rows` or a random part, each itself or an answered near-duplicate; float32 `[m, C]`.
    """
    if isinstance(network, LearnsAnswers):
        return network.held_out_logits(data, nodes(), rows, seed, folds, log.info)
    fold_of = answer_folds(data.groups, data.answers, seed, folds, data.partial)
    parts = []
    for fold in range(folds):
        held = rows[fold_of[rows] == fold]
        if len(held):
            log.info("held_out fold=%d of=%d", fold + 1, folds)
            parts.append((held, logits_of(refit(_without_fold(data, fold_of == fold)), data, held)))
    found = np.concatenate([held for held, _ in parts])
    order = np.argsort(found)
    return found[order], np.concatenate([logits for _, logits in parts])[order]


def _fair_rows(data: TrainingData, picked: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Returns one answered product of each group that no strategy picked, ascending, and how many groups one picked.

    Where a product of a group has a named class it is one of these, else one of which people said less.
    """
    mixed = rng.permutation(data.answered)
    if data.partial is not None:
        mixed = np.r_[mixed, rng.permutation(data.partial.rows[data.partial.questions == 0])]
    groups, first = np.unique(data.groups[mixed], return_index=True)
    fair = mixed[first[~np.isin(groups, picked)]]
    return np.sort(fair if len(fair) <= _MOST_ANSWERS else rng.choice(fair, _MOST_ANSWERS, replace=False)), len(groups) - len(fair)


def _allowed(data: TrainingData, rows: np.ndarray) -> np.ndarray | None:
    """Returns the classes that are left for each of these products, bool `[m, C]`, where people named none; None where they always did."""
    if data.partial is None:
        return None
    allowed = np.zeros((len(rows), data.partial.allowed.shape[1]), bool)
    _, places, said = np.intersect1d(rows, data.partial.rows, return_indices=True)
    allowed[places] = data.partial.allowed[said]
    return allowed


def _without_fold(data: TrainingData, held: np.ndarray) -> TrainingData:
    partial = None if data.partial is None else without_groups(data.partial, data.groups, data.groups[held])
    return replace(data, answers=np.where(held, -1, data.answers), partial=partial)


def _described(policy: AcceptancePolicy, logits: np.ndarray, tree: Subtrees, answers: int, picked: int, needed: int) -> Acceptance:
    decisions = decide(logits, tree, policy)
    at_answer = float(decisions.is_answer.mean())
    above = float((decisions.nodes != ASK).mean()) - at_answer
    state = PROMISED if at_answer + above > 0 else NOTHING
    return Acceptance(policy, state, answers, picked, needed, round(at_answer, 4), round(above, 4))
