"""Logistic regression on histogram inputs: one weight for each column and node."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.tree import Tree
from trainer_module.zoo.contract import COLUMN_AXIS, EXCLUSIVE_AXIS, NODE_AXIS, NetworkOutputs, value_axis
from trainer_module.zoo.layers import FIRST_RULE_LOGIT, Bag, RulePrior, embedded, mixed_with_prior, normal, sharing_matrix, zeros


class Linear(tf.Module):
    """Both heads straight from the bag; embedded categories count as one-hot, numbers enter as they are.

    The embedding is a fixed random projection of the bag, which keeps cosines (Johnson and Lindenstrauss 1984).
    """

    def __init__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator) -> None:
        super().__init__(name="linear")
        num_nodes, num_classes = len(tree.node_ids), len(tree.exclusive)
        width = num_nodes if hyper.tree_sharing else num_classes
        last = NODE_AXIS if hyper.tree_sharing else EXCLUSIVE_AXIS
        self._sharing = sharing_matrix(tree, hyper.tree_sharing)
        self._prior_dropout = hyper.prior_dropout
        self._token_dropout = hyper.token_dropout
        self._prior = RulePrior(tree)
        self._projection = normal(rng, (layout.num_columns, hyper.embedding_size), hyper.embedding_size**-0.5, "projection")
        self.weights = {
            "exclusive": zeros((layout.num_columns, width), "exclusive"),
            "rule_based": zeros((layout.num_columns, num_nodes), "rule_based"),
            "rule_bias": tf.Variable(np.full(num_nodes, FIRST_RULE_LOGIT, np.float32), name="rule_bias"),
            "trust": self._prior.trust,
        }
        self.axes = {
            "exclusive": (COLUMN_AXIS, last),
            "rule_based": (COLUMN_AXIS, NODE_AXIS),
            "rule_bias": (NODE_AXIS,),
            "trust": ("",),
        }
        self._categories = []
        for k, feature in enumerate(layout.embedded):
            size = max(1, len(layout.vocabularies[feature.name]))
            for head, columns, axis in (("exclusive", width, last), ("rule_based", num_nodes, NODE_AXIS)):
                name = f"{value_axis(feature.name)}_{head}"
                self.weights[name] = zeros((size, columns), name)
                self.axes[name] = (value_axis(feature.name), axis)
            self._categories.append((k, value_axis(feature.name)))
        if layout.num_numbers:
            for head, columns, axis in (("exclusive", width, last), ("rule_based", num_nodes, NODE_AXIS)):
                self.weights[f"numbers_{head}"] = zeros((layout.num_numbers, columns), f"numbers_{head}")
                self.axes[f"numbers_{head}"] = ("", axis)

    def __call__(self, inputs: NetworkInputs, training: bool = False) -> NetworkOutputs:
        """Returns both heads' logits and the projected bag."""
        bag = Bag(inputs.bag, self._token_dropout if training else 0.0)
        exclusive, rules = self._head("exclusive", bag, inputs), self._head("rule_based", bag, inputs) + self.weights["rule_bias"]
        if self._sharing is not None:
            exclusive = tf.matmul(exclusive, self._sharing)
        mixed = mixed_with_prior(exclusive, self._prior(rules), self._prior_dropout, training)
        return NetworkOutputs(mixed, rules, bag.sum(self._projection))

    def _head(self, head: str, bag: Bag, inputs: NetworkInputs) -> tf.Tensor:
        logits = bag.sum(self.weights[head])
        for k, name in self._categories:
            logits += embedded(self.weights[f"{name}_{head}"], inputs.categories[:, k])
        if f"numbers_{head}" in self.weights:
            logits += tf.matmul(inputs.numbers, self.weights[f"numbers_{head}"])
        return logits
