"""A low-rank network on embedding inputs: the sum of n-gram embeddings, and two linear heads on it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.tree import Tree
from trainer_module.zoo.contract import EXCLUSIVE_AXIS, NODE_AXIS, NetworkOutputs
from trainer_module.zoo.embedding_network import EmbeddingNetwork
from trainer_module.zoo.layers import Bag, RulePrior, mixed_with_prior, normal, sharing_matrix, zeros


class FeedForward(EmbeddingNetwork):
    """Both heads are linear on the embedding; the exclusive one starts from what the rule_based one says."""

    def __init__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator, name: str = "feed_forward") -> None:
        super().__init__(layout, tree, hyper, rng, name)
        self._sharing = sharing_matrix(tree, hyper.tree_sharing)
        self._prior_dropout = hyper.prior_dropout
        self._prior = RulePrior(tree)
        outputs, last = (len(tree.node_ids), NODE_AXIS) if hyper.tree_sharing else (len(tree.exclusive), EXCLUSIVE_AXIS)
        self.weights.update(
            exclusive=normal(rng, (self.width, outputs), 0.07, "exclusive"),
            exclusive_bias=zeros((outputs,), "exclusive_bias"),
            trust=self._prior.trust,
        )
        self.axes.update(exclusive=("", last), exclusive_bias=(last,), trust=("",))

    def __call__(self, inputs: NetworkInputs, training: bool = False) -> NetworkOutputs:
        """Returns both heads' logits and the embedding they are read from."""
        return self.outputs(self.bag(inputs, training), inputs, training)

    def outputs(self, bag: Bag, inputs: NetworkInputs, training: bool, wide: tf.Tensor | None = None) -> NetworkOutputs:
        """As a call, with `wide` `[n, outputs of the exclusive head]` added to the exclusive logits."""
        embedding = self.embedding(bag, inputs)
        hidden = self.hidden(embedding, training)
        rules = self.rule_logits(hidden)
        exclusive = tf.matmul(hidden, self.weights["exclusive"]) + self.weights["exclusive_bias"]
        if wide is not None:
            exclusive += wide
        if self._sharing is not None:
            exclusive = tf.matmul(exclusive, self._sharing)
        mixed = mixed_with_prior(exclusive, self._prior(rules), self._prior_dropout, training)
        return NetworkOutputs(mixed, rules, embedding)
