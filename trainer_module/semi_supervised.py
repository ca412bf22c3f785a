"""Takes gradient steps that also learn from unanswered products: entropy minimisation and a mean teacher."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer_module.gradient_steps import GradientSteps, StepInputs
from trainer_module.hyperparameters import HyperParameters
from trainer_module.losses import consistency_loss, entropy_loss
from trainer_module.schedule import Batch, joined_by
from trainer_module.training_data import TrainingData
from trainer_module.zoo.contract import Network

_RAMP_UP = 1 / 3
_DRAWS = 1  # What a source of chance is for: batches are (seed), unanswered products (seed, 1), so that neither moves the other.


def learns_from_unanswered(hyper: HyperParameters) -> bool:
    """Returns whether gradient steps want unanswered products."""
    return hyper.entropy_weight > 0 or hyper.mean_teacher_weight > 0


def ramp_up(done: float) -> float:
    """Returns the weight of the teacher at this share of a phase: near 0 at first, when it knows nothing, then 1.

    >>> [round(ramp_up(done), 3) for done in (0.0, 0.2, 1 / 3, 1.0)]
    [0.007, 0.449, 1.0, 1.0]
    """
    return float(np.exp(-5.0 * max(0.0, 1.0 - done / _RAMP_UP) ** 2))


class SemiSupervisedSteps(GradientSteps):
    """Steps whose batches have unanswered products at their end, wherever they train the exclusive head.

    Args:
        network: the student, which gradients move.
        teacher: another network with the same weights; after every step it moves a little towards the student.
        data: what to learn from.
        hyper: how.
        num_nodes: N.
        seed: of the unanswered products drawn.
    """

    def __init__(self, network: Network, teacher: Network, data: TrainingData, hyper: HyperParameters, num_nodes: int, seed: int) -> None:
        super().__init__(network, data, hyper, num_nodes)
        self._teacher = teacher
        self._unanswered = np.setdiff1d(np.arange(len(data.answers)), data.taught)
        self._num_drawn = max(1, round(hyper.batch_size * hyper.unanswered_share)) if len(self._unanswered) else 0
        self._rng = np.random.default_rng((seed, _DRAWS))
        self._num_steps = 0
        self._semi_supervised_step = tf.function(self._one_semi_supervised_step, reduce_retracing=True)

    @property
    def fitted(self) -> Network:
        """The teacher where there is one to follow, as in its paper; else the student."""
        return self._teacher if self.hyper.mean_teacher_weight > 0 else self.network

    def run(self, batch: Batch, learning_rate: float, rule_loss_weight: float, done: float) -> None:
        """Takes one step; `done` is the share of the phase's steps that were taken."""
        if not batch.exclusive.any():
            super().run(batch, learning_rate, rule_loss_weight, done)
        else:
            # One pass over both parts: the optimiser wants each row of a table once in a gradient.
            drawn = self._unanswered[self._rng.integers(len(self._unanswered), size=self._num_drawn)] if self._num_drawn else []
            self._run_with_unanswered(joined_by(batch, np.array(drawn, np.int64)), learning_rate, rule_loss_weight, done)
        if self.hyper.mean_teacher_weight > 0:
            self._num_steps += 1
            self._teach(min(self.hyper.mean_teacher_decay, 1.0 - 1.0 / self._num_steps))

    def _run_with_unanswered(self, batch: Batch, learning_rate: float, rule_loss_weight: float, done: float) -> None:
        step = self.inputs(batch, learning_rate, rule_loss_weight)
        weight = self.hyper.mean_teacher_weight
        # The teacher sees all tokens of a product, the student some. Without a teacher to follow, any logits do.
        taught = self._teacher(step.products).exclusive if weight > 0 else tf.zeros([1, 1])
        self._semi_supervised_step(step, taught, tf.constant(weight * ramp_up(done), tf.float32))

    def _one_semi_supervised_step(self, step: StepInputs, taught: tf.Tensor, teacher_weight: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            outputs = self.network(step.products, training=True)
            loss = self._loss_of_both_heads(outputs, step)
            if self.hyper.entropy_weight > 0:
                unanswered = 1.0 - step.trains_exclusive - step.trains_rules
                loss += self.hyper.entropy_weight * entropy_loss(outputs.exclusive, unanswered)
            if self.hyper.mean_teacher_weight > 0:
                loss += teacher_weight * consistency_loss(outputs.exclusive, taught, 1.0 - step.trains_rules)
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables, step.learning_rate)

    def _teach(self, decay: float) -> None:
        """Moves the teacher; the first steps count alike, so that it doesn't cling to where it started."""
        for name, variable in self._teacher.weights.items():
            variable.assign(decay * variable + (1.0 - decay) * self.network.weights[name])
