"""Says what a model family is: inputs in, the logits of both heads and an embedding out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.node_texts import NodeBags
from trainer_module.training_data import TrainingData
from trainer_module.tree import Tree

# Names of axes; rows and columns along them are matched by name at a warm start.
COLUMN_AXIS, NODE_AXIS, EXCLUSIVE_AXIS = "column", "node", "exclusive"


def value_axis(feature_name: str) -> str:
    """Returns the name of the axis along a feature's values, which no other axis or weight can have."""
    return f"value_{feature_name}"


class NetworkOutputs(NamedTuple):
    """What a network says of n products.

    Attributes:
        exclusive: logits float32 `[n, C]`; their softmax is the exclusive head.
        rule_based: logits float32 `[n, N]`; their sigmoid is the rule_based head.
        embedding: float32 `[n, d]`, of any length.
    """

    exclusive: tf.Tensor
    rule_based: tf.Tensor
    embedding: tf.Tensor


class Network(Protocol):
    """A fitted or fresh network. A `tf.Module` whose variables are listed by name."""

    weights: dict[str, tf.Variable]
    axes: dict[str, tuple[str, ...]]

    def __call__(self, inputs: NetworkInputs, training: bool = False) -> NetworkOutputs:
        """Returns both heads' logits and the embedding."""
        ...


@runtime_checkable
class LearnsAnswers(Protocol):
    """A network that learns answers in one go, after the gradient steps of its schedule."""

    trusts: dict[str, float]

    def learn_answers(self, data: TrainingData, nodes: NodeBags | None, seed: int, progress: Callable[[str], None]) -> None:
        """Fits the exclusive head to the answers of `data`; without `nodes` names say nothing."""
        ...

    def held_out_logits(
        self, data: TrainingData, nodes: NodeBags | None, rows: np.ndarray, seed: int, folds: int, progress: Callable[[str], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns answered products, all or a random part of `rows`, and what it would say of them without their answers.

        Called after `learn_answers` with the same data; changes nothing. Both ascending: int64 `[m]`, float32 `[m, C]`.
        """
        ...


class Family(Protocol):
    """Builds a fresh network."""

    def __call__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator) -> Network:
        """Returns a network whose first weights `rng` draws."""
        ...
