"""Takes gradient steps: one network, its optimiser, and the loss of both heads on a batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from few_shot.partial_answers import weighed
from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import NetworkInputs
from trainer_module.losses import ExclusiveTargets, exclusive_loss, non_negative_rule_loss, weighted_rule_loss
from trainer_module.optimizer import LazyAdam
from trainer_module.schedule import Batch
from trainer_module.training_data import TrainingData
from trainer_module.zoo.contract import Network, NetworkOutputs


class StepInputs(NamedTuple):
    """What a step on n products reads.

    Attributes:
        products: as the network sees them.
        said: what people said of them.
        trains_exclusive: float32 `[n]`, the weight of each in the exclusive head's loss.
        rule_targets: float32 `[n, N]`.
        trains_rules: float32 `[n]`, the weight of each in the rule_based head's loss.
        learning_rate: of the step.
        rule_loss_weight: of the rule_based head's loss beside the other's.
    """

    products: NetworkInputs
    said: ExclusiveTargets
    trains_exclusive: tf.Tensor
    rule_targets: tf.Tensor
    trains_rules: tf.Tensor
    learning_rate: tf.Tensor
    rule_loss_weight: tf.Tensor


class GradientSteps:
    """One network, its optimiser, and the traced step."""

    def __init__(self, network: Network, data: TrainingData, hyper: HyperParameters, num_nodes: int) -> None:
        self.network, self.data, self.hyper = network, data, hyper
        self._variables = list(network.weights.values())
        self._optimizer = LazyAdam(self._variables)
        coverage = np.asarray(data.rules.mean(axis=0)).ravel() if data.rules.shape[0] else np.zeros(num_nodes)
        self._priors = tf.constant(np.minimum(coverage * hyper.class_prior, 0.9), tf.float32)
        self._class_weights = tf.constant(class_weights(data.answers[data.answered], network_width(network, data), hyper.class_weights))
        self._partial = None
        if data.partial is not None and len(data.partial):
            self._partial = weighed(data.partial, hyper.member_weight, hyper.question_weight)
        self._step = tf.function(self._one_step, reduce_retracing=True)

    @property
    def fitted(self) -> Network:
        """The network that the steps lead to."""
        return self.network

    def run(self, batch: Batch, learning_rate: float, rule_loss_weight: float, done: float) -> None:
        """Takes one step; `done` is the share of the phase's steps that were taken."""
        self._step(self.inputs(batch, learning_rate, rule_loss_weight))

    def inputs(self, batch: Batch, learning_rate: float, rule_loss_weight: float) -> StepInputs:
        """Returns what a step on a batch reads."""
        return StepInputs(
            self.data.inputs(batch.rows),
            self.targets(batch.rows),
            tf.constant(batch.exclusive),
            tf.constant(self.data.rule_targets(batch.rows)),
            tf.constant(batch.rule_based),
            tf.constant(learning_rate, tf.float32),
            tf.constant(rule_loss_weight, tf.float32),
        )

    def targets(self, rows: np.ndarray) -> ExclusiveTargets:
        """Returns what people said of these products."""
        classes, weights = self.data.answers[rows], np.ones(len(rows), np.float32)
        if self._partial is None:
            return ExclusiveTargets(tf.constant(classes), tf.zeros([len(rows), 0], tf.bool), tf.constant(weights))
        allowed = np.zeros((len(rows), self._partial.allowed.shape[1]), bool)
        places = np.minimum(np.searchsorted(self._partial.rows, rows), len(self._partial) - 1)
        is_open = (self._partial.rows[places] == rows) & (classes < 0) if len(self._partial) else np.zeros(len(rows), bool)
        allowed[is_open], weights[is_open] = self._partial.allowed[places[is_open]], self._partial.weights[places[is_open]]
        weights[(classes < 0) & ~is_open] = 0.0  # A member of a group that was left out.
        return ExclusiveTargets(tf.constant(classes), tf.constant(allowed), tf.constant(weights))

    def _one_step(self, step: StepInputs) -> None:
        with tf.GradientTape() as tape:
            loss = self._loss_of_both_heads(self.network(step.products, training=True), step)
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables, step.learning_rate)

    def _loss_of_both_heads(self, outputs: NetworkOutputs, step: StepInputs) -> tf.Tensor:
        said = step.said
        of_classes = tf.where(said.classes >= 0, tf.gather(self._class_weights, tf.maximum(said.classes, 0)), said.weights)
        loss = exclusive_loss(outputs.exclusive, said, step.trains_exclusive * of_classes)
        rules = outputs.rule_based, step.rule_targets, step.trains_rules
        if self.hyper.rule_loss == "non_negative":
            return loss + step.rule_loss_weight * non_negative_rule_loss(*rules, self._priors)
        return loss + step.rule_loss_weight * weighted_rule_loss(*rules, self.hyper.unlabelled_weight)


def network_width(network: Network, data: TrainingData) -> int:
    """Returns C, the number of exclusive nodes the network scores."""
    rows = np.zeros(1, np.int64)
    return int(network(data.inputs(rows)).exclusive.shape[1])


def class_weights(classes: np.ndarray, num_classes: int, how: str) -> np.ndarray:
    """Returns float32 `[num_classes]`, of mean 1 over the answers, within [0.1, 10]."""
    counts = np.bincount(classes, minlength=num_classes).astype(np.float64)
    power = {"none": 0.0, "balanced": 1.0, "square_root": 0.5}[how]
    weights = np.maximum(counts, 1.0) ** -power
    mean = (weights * counts).sum() / max(counts.sum(), 1.0)
    return np.clip(weights / max(mean, 1e-12), 0.1, 10.0).astype(np.float32) if counts.sum() else np.ones(num_classes, np.float32)
