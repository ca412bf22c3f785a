"""Fits a network to training data: the objective schedule, early stopping, and the refit on every answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from trainer_module.gradient_steps import GradientSteps
from trainer_module.hyperparameters import HyperParameters, Phase
from trainer_module.node_texts import NodeBags
from trainer_module.schedule import epoch, epoch_steps, playable
from trainer_module.semi_supervised import SemiSupervisedSteps, learns_from_unanswered
from trainer_module.training_data import TrainingData
from trainer_module.zoo.contract import LearnsAnswers, Network

log = logging.getLogger(__name__)

# With fewer held-out answers the best epoch is chance, and the answers are worth more as answers.
MIN_VALIDATION = 300
_SCORED_AT_ONCE = 2048


@dataclass(frozen=True)
class FitReport:
    """How a fit went.

    Attributes:
        epochs: passes of each phase.
        validation: accuracy and loss on held-out answers at the best epoch; None without early stopping.
        num_answers: answers learnt from at the end.
        num_rule_products: products the rule_based head learnt from.
        trusts: how far each piece of evidence is trusted, of families that say so.
    """

    epochs: list[float]
    validation: dict[str, float] | None
    num_answers: int
    num_rule_products: int
    trusts: dict[str, float]


def held_out(data: TrainingData, share: float) -> np.ndarray:
    """Returns a mask of answered products kept for early stopping; a group is never on both sides."""
    by_group = (data.groups.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    mask = (data.answers >= 0) & (by_group < np.uint64(share * 2**24))
    return mask if mask.sum() >= MIN_VALIDATION else np.zeros(len(mask), bool)


def fit(
    build: Callable[[], Network],
    data: TrainingData,
    hyper: HyperParameters,
    phases: Sequence[Phase],
    seed: int,
    num_nodes: int,
    progress: Callable[[str], None] = log.info,
    nodes: Callable[[], NodeBags] | None = None,
) -> tuple[Network, FitReport]:
    """Fits a network.

    Args:
        build: makes a fresh network, the same one at every call.
        data: what to learn from.
        hyper: how.
        phases: the objective schedule.
        seed: of batches and dropout; the same seed on the same machine gives the same weights.
        num_nodes: N.
        progress: told one line an epoch.
        nodes: reads the names of nodes, for families that want them.

    Returns:
        the fitted network and how it went.
    """
    validation = held_out(data, hyper.validation_share)
    report = None
    if validation.any():
        network, epochs, best = _run(build, data, hyper, phases, seed, num_nodes, validation, progress, nodes)
        report = best
        if not hyper.refit:
            return network, _report(network, epochs, best, int(((data.answers >= 0) & ~validation).sum()), _rule_rows(data, hyper, seed))
        phases = [Phase(max(epochs[k], 0.01), p.rule_based, p.exclusive) for k, p in enumerate(phases)]
        progress(f"refit epochs={epochs}")
    network, epochs, _ = _run(build, data, hyper, phases, seed, num_nodes, np.zeros(len(data.answers), bool), progress, nodes)
    return network, _report(network, epochs, report, len(data.answered), _rule_rows(data, hyper, seed))


def _report(network: Network, epochs: list[float], best: dict[str, float] | None, num_answers: int, rule_rows: np.ndarray) -> FitReport:
    return FitReport(epochs, best, num_answers, len(rule_rows), network.trusts if isinstance(network, LearnsAnswers) else {})


def _rule_rows(data: TrainingData, hyper: HyperParameters, seed: int) -> np.ndarray:
    rows = np.arange(len(data.answers)) if hyper.rule_loss == "non_negative" and len(data.covered) else data.covered
    if len(rows) > hyper.max_rule_products:
        rows = np.sort(np.random.default_rng(seed).choice(rows, hyper.max_rule_products, replace=False))
    return rows


def _run(
    build: Callable[[], Network],
    data: TrainingData,
    hyper: HyperParameters,
    phases: Sequence[Phase],
    seed: int,
    num_nodes: int,
    validation: np.ndarray,
    progress: Callable[[str], None],
    nodes: Callable[[], NodeBags] | None,
) -> tuple[Network, list[float], dict[str, float] | None]:
    network = build()
    in_one_go = isinstance(network, LearnsAnswers)
    teacher = build() if learns_from_unanswered(hyper) and not in_one_go else None
    tf.random.set_seed(seed)
    rng = np.random.default_rng(seed)
    answered = data.taught[~validation[data.taught]]
    rule_rows = _rule_rows(data, hyper, seed)
    if not len(data.answers):
        return network, [0.0 for _ in phases], None
    trainer = GradientSteps(network, data, hyper, num_nodes)
    if teacher:
        trainer = SemiSupervisedSteps(network, teacher, data, hyper, num_nodes, seed)
    stopper = _Stopper(trainer.fitted, data, np.flatnonzero(validation), hyper.patience)
    epochs: list[float] = []
    for k, asked in enumerate(phases):
        phase = playable(asked, 0 if in_one_go else len(answered), len(rule_rows))
        stops_early = validation.any() and k == len(phases) - 1 and not in_one_go
        epochs.append(_run_phase(trainer, phase, answered, rule_rows, rng, stopper if stops_early else None, progress) if phase else 0.0)
    if isinstance(network, LearnsAnswers):
        taught = replace(taught_data(data, epochs), answers=np.where(validation, -1, data.answers))
        network.learn_answers(taught, nodes() if nodes else None, seed, progress)
        return network, epochs, validation_scores(network, data, np.flatnonzero(validation)) if validation.any() else None
    return trainer.fitted, epochs, stopper.best if validation.any() else None


def taught_data(data: TrainingData, epochs: Sequence[float]) -> TrainingData:
    """Returns the data without its rules where no phase was played: what wasn't learnt says nothing."""
    return data if any(epochs) else replace(data, rules=sp.csr_matrix(data.rules.shape, dtype=np.float32))


def _run_phase(
    trainer: GradientSteps,
    phase: Phase,
    answered: np.ndarray,
    rule_rows: np.ndarray,
    rng: np.random.Generator,
    stopper: _Stopper | None,
    progress: Callable[[str], None],
) -> float:
    hyper = trainer.hyper
    per_epoch = epoch_steps(phase, len(answered), len(rule_rows), hyper.batch_size)
    total, step = max(1, round(per_epoch * phase.epochs)), 0
    rule_loss_weight = hyper.rule_loss_weight if phase.exclusive > 0 else 1.0
    while step < total:
        for batch in epoch(phase, answered, rule_rows, hyper.batch_size, rng):
            trainer.run(batch, hyper.learning_rate * (1.0 - 0.9 * step / total), rule_loss_weight, step / total)
            step += 1
            if step >= total:
                break
        if stopper:
            stop = stopper.look(step / per_epoch)
            progress(f"epoch {step / per_epoch:.0f} validation accuracy={stopper.last['accuracy']:.4f} loss={stopper.last['loss']:.4f}")
            if stop:
                break
    return stopper.restore() if stopper else step / per_epoch


class _Stopper:
    """Remembers the best epoch's weights, and says when to stop looking for a better one."""

    def __init__(self, network: Network, data: TrainingData, rows: np.ndarray, patience: int) -> None:
        self._network, self._data, self._rows, self._patience = network, data, rows, patience
        self._kept: list[np.ndarray] = []
        self._best_epoch, self._bad = 0.0, 0
        self.best: dict[str, float] | None = None
        self.last: dict[str, float] = {}

    def look(self, epoch_number: float) -> bool:
        """Judges the network; True when `patience` epochs in a row weren't better."""
        self.last = validation_scores(self._network, self._data, self._rows)
        key = (self.last["accuracy"], -self.last["loss"])
        if self.best is None or key > (self.best["accuracy"], -self.best["loss"]):
            self.best, self._best_epoch, self._bad = self.last, epoch_number, 0
            self._kept = [variable.numpy() for variable in self._network.weights.values()]
        else:
            self._bad += 1
        return self._bad >= self._patience

    def restore(self) -> float:
        """Puts the best weights back and returns their epoch."""
        for variable, value in zip(self._network.weights.values(), self._kept, strict=True):
            variable.assign(value)
        return self._best_epoch


def logits_of(network: Network, data: TrainingData, rows: np.ndarray) -> np.ndarray:
    """Returns the exclusive head's logits of these products, float32 `[len(rows), C]`."""
    blocks = [rows[start : start + _SCORED_AT_ONCE] for start in range(0, len(rows), _SCORED_AT_ONCE)]
    return np.concatenate([network(data.inputs(block)).exclusive.numpy() for block in blocks])


def validation_scores(network: Network, data: TrainingData, rows: np.ndarray) -> dict[str, float]:
    """Returns accuracy and mean cross-entropy of the exclusive head on these answered products."""
    right, loss = 0.0, 0.0
    for start in range(0, len(rows), _SCORED_AT_ONCE):
        part = rows[start : start + _SCORED_AT_ONCE]
        logits = network(data.inputs(part)).exclusive
        classes = data.answers[part]
        right += float((np.argmax(logits, 1) == classes).sum())
        loss += float(tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)))
    return {"accuracy": right / len(rows), "loss": loss / len(rows)}
