"""A low-rank network on embedding inputs: the sum of n-gram embeddings, and two linear heads on it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.tree import Tree
from trainer_module.zoo.contract import COLUMN_AXIS, EXCLUSIVE_AXIS, NODE_AXIS, NetworkOutputs, value_axis
from trainer_module.zoo.layers import FIRST_RULE_LOGIT, Bag, RulePrior, embedded, mixed_with_prior, normal, sharing_matrix, zeros


class FeedForward(tf.Module):
    """The bag's embedding, the categories' embeddings and the numbers' projection side by side make the embedding."""

    def __init__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator) -> None:
        super().__init__(name="feed_forward")
        num_nodes, num_classes = len(tree.node_ids), len(tree.exclusive)
        self._sharing = sharing_matrix(tree, hyper.tree_sharing)
        self._dropout, self._prior_dropout = hyper.dropout, hyper.prior_dropout
        self._token_dropout = hyper.token_dropout
        self._prior = RulePrior(tree)
        self._embedded = [(k, value_axis(f.name)) for k, f in enumerate(layout.embedded)]
        width = hyper.embedding_size + sum(f.dimensions for f in layout.embedded) + (hyper.embedding_size // 2 if layout.num_numbers else 0)
        outputs, last = (num_nodes, NODE_AXIS) if hyper.tree_sharing else (num_classes, EXCLUSIVE_AXIS)
        self.weights = {
            "tokens": normal(rng, (layout.num_columns, hyper.embedding_size), 0.1, "tokens"),
            "exclusive": normal(rng, (width, outputs), 0.07, "exclusive"),
            "exclusive_bias": zeros((outputs,), "exclusive_bias"),
            "rule_based": normal(rng, (width, num_nodes), 0.07, "rule_based"),
            "rule_bias": tf.Variable(np.full(num_nodes, FIRST_RULE_LOGIT, np.float32), name="rule_bias"),
            "trust": self._prior.trust,
        }
        self.axes = {
            "tokens": (COLUMN_AXIS, ""),
            "exclusive": ("", last),
            "exclusive_bias": (last,),
            "rule_based": ("", NODE_AXIS),
            "rule_bias": (NODE_AXIS,),
            "trust": ("",),
        }
        for feature in layout.embedded:
            size, name = max(1, len(layout.vocabularies[feature.name])), value_axis(feature.name)
            self.weights[name] = normal(rng, (size, feature.dimensions), 0.1, name)
            self.axes[name] = (name, "")
        if layout.num_numbers:
            shape = (layout.num_numbers, hyper.embedding_size // 2)
            self.weights["numbers"] = normal(rng, shape, layout.num_numbers**-0.5, "numbers")
            self.axes["numbers"] = ("", "")

    def __call__(self, inputs: NetworkInputs, training: bool = False) -> NetworkOutputs:
        """Returns both heads' logits and the embedding they are read from."""
        return self.outputs(Bag(inputs.bag, self._token_dropout if training else 0.0), inputs, training)

    def outputs(self, bag: Bag, inputs: NetworkInputs, training: bool, wide: tf.Tensor | None = None) -> NetworkOutputs:
        """As a call, with `wide` `[n, outputs of the exclusive head]` added to the exclusive logits."""
        embedding = self._embedding(bag, inputs)
        hidden = tf.nn.dropout(embedding, self._dropout) if training and self._dropout > 0 else embedding
        rules = tf.matmul(hidden, self.weights["rule_based"]) + self.weights["rule_bias"]
        exclusive = tf.matmul(hidden, self.weights["exclusive"]) + self.weights["exclusive_bias"]
        if wide is not None:
            exclusive += wide
        if self._sharing is not None:
            exclusive = tf.matmul(exclusive, self._sharing)
        mixed = mixed_with_prior(exclusive, self._prior(rules), self._prior_dropout, training)
        return NetworkOutputs(mixed, rules, embedding)

    def _embedding(self, bag: Bag, inputs: NetworkInputs) -> tf.Tensor:
        parts = [bag.sum(self.weights["tokens"])]
        parts += [embedded(self.weights[name], inputs.categories[:, k]) for k, name in self._embedded]
        if "numbers" in self.weights:
            parts.append(tf.nn.tanh(tf.matmul(inputs.numbers, self.weights["numbers"])))
        return tf.concat(parts, 1)
