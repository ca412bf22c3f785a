"""Says what a model family is: inputs in, the logits of both heads and an embedding out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
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


class Family(Protocol):
    """Builds a fresh network."""

    def __call__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator) -> Network:
        """Returns a network whose first weights `rng` draws."""
        ...
