"""Embeds products and reads the rule_based head from the embedding: the part that several families share."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.tree import Tree
from trainer_module.zoo.contract import COLUMN_AXIS, NODE_AXIS, value_axis
from trainer_module.zoo.layers import FIRST_RULE_LOGIT, Bag, embedded, in_doubles, normal, rounded


class EmbeddingNetwork(tf.Module):
    """The bag's embedding, the categories' embeddings and the numbers' projection side by side make the embedding."""

    def __init__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator, name: str) -> None:
        super().__init__(name=name)
        num_nodes = len(tree.node_ids)
        self._dropout, self._token_dropout = hyper.dropout, hyper.token_dropout
        self._embedded = [(k, value_axis(f.name)) for k, f in enumerate(layout.embedded)]
        self.width = (
            hyper.embedding_size + sum(f.dimensions for f in layout.embedded) + (hyper.embedding_size // 2 if layout.num_numbers else 0)
        )
        self.weights = {
            "tokens": normal(rng, (layout.num_columns, hyper.embedding_size), 0.1, "tokens"),
            "rule_based": normal(rng, (self.width, num_nodes), 0.07, "rule_based"),
            "rule_bias": tf.Variable(np.full(num_nodes, FIRST_RULE_LOGIT, np.float32), name="rule_bias"),
        }
        self.axes: dict[str, tuple[str, ...]] = {
            "tokens": (COLUMN_AXIS, ""),
            "rule_based": ("", NODE_AXIS),
            "rule_bias": (NODE_AXIS,),
        }
        for feature in layout.embedded:
            size, axis = max(1, len(layout.vocabularies[feature.name])), value_axis(feature.name)
            self.weights[axis] = normal(rng, (size, feature.dimensions), 0.1, axis)
            self.axes[axis] = (axis, "")
        if layout.num_numbers:
            shape = (layout.num_numbers, hyper.embedding_size // 2)
            self.weights["numbers"] = normal(rng, shape, layout.num_numbers**-0.5, "numbers")
            self.axes["numbers"] = ("", "")

    def embedding(self, bag: Bag, inputs: NetworkInputs) -> tf.Tensor:
        """Returns float32 `[n, width]`."""
        parts = [rounded(bag.sum(self.weights["tokens"]))]
        parts += [embedded(self.weights[name], inputs.categories[:, k]) for k, name in self._embedded]
        if "numbers" in self.weights:
            parts.append(rounded(tf.nn.tanh(tf.matmul(in_doubles(inputs.numbers), in_doubles(self.weights["numbers"])))))
        return tf.concat(parts, 1)

    def bag(self, inputs: NetworkInputs, training: bool) -> Bag:
        """Returns the batch's bag, some of its tokens left out in training."""
        return Bag(inputs.bag, self._token_dropout if training else 0.0)

    def hidden(self, embedding: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns the embedding as the heads see it."""
        return tf.nn.dropout(embedding, self._dropout) if training and self._dropout > 0 else embedding

    def rule_logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Returns the rule_based head's logits, float32 `[n, N]`."""
        return tf.matmul(hidden, self.weights["rule_based"]) + self.weights["rule_bias"]
