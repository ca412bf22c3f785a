"""Decides inside the model's graph which products need no person; `few_shot.acceptance.decide` is the same in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from few_shot.acceptance import ACCEPTED, ASKED, CLIMBED, AcceptancePolicy
from few_shot.subtrees import Subtrees
from trainer_module.zoo.layers import in_doubles, rounded


class Accepting(tf.Module):
    """A policy over a tree, as tensors.

    Args:
        policy: what is accepted.
        tree: over the C classes.
        node_ids: of the N nodes in tree order.
    """

    def __init__(self, policy: AcceptancePolicy, tree: Subtrees, node_ids: Sequence[str]) -> None:
        super().__init__()
        self._policy, self._num_inner = policy, len(tree.inner)
        self._ids, self._node_of = tf.constant(list(node_ids), tf.string), tf.constant(tree.node_of)
        self._inner, self._depths = tf.constant(tree.inner, tf.int64), tf.constant(tree.depth[tree.inner], tf.int64)
        self._first, self._end = tf.constant(tree.first[tree.inner]), tf.constant(tree.end[tree.inner])

    def __call__(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what to do with n products, given logits `[n, C]`.

        Returns:
            `decision`: string `[n]`, accept, climb or ask; `accepted_node`: string `[n]`, its id, empty where a person is asked;
            `confidence`: float32 `[n]`, calibrated probability of the accepted node, else of the best class.
        """
        # In doubles, rounded once, as NumPy computes it: a product right at a threshold is decided alike.
        probabilities = rounded(tf.nn.softmax(in_doubles(logits) / self._policy.temperature))
        best, classes = tf.reduce_max(probabilities, axis=1), tf.argmax(probabilities, axis=1)
        accepted = tf.cast(best, tf.float64) >= self._policy.answer_threshold
        climbs, above, sums = self._ancestors(probabilities)
        climbs &= ~accepted
        nodes = tf.where(accepted, tf.gather(self._node_of, classes), above)
        return {
            "decision": tf.where(accepted, ACCEPTED, tf.where(climbs, CLIMBED, ASKED)),
            "accepted_node": tf.where(accepted | climbs, tf.gather(self._ids, nodes), ""),
            "confidence": tf.where(climbs, tf.cast(sums, tf.float32), best),
        }

    def _ancestors(self, probabilities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns whether an inner node is sure enough, the deepest such node, and its probability, each `[n]`."""
        num_products = tf.shape(probabilities)[0]
        if not self._num_inner:
            nothing = tf.zeros([num_products], tf.int64)
            return tf.zeros([num_products], tf.bool), nothing, tf.cast(nothing, tf.float64)
        running = tf.pad(tf.cumsum(tf.cast(probabilities, tf.float64), axis=1), [[0, 0], [1, 0]])  # [n, C + 1]
        sums = tf.gather(running, self._end, axis=1) - tf.gather(running, self._first, axis=1)  # [n, inner nodes]
        depths = tf.where(sums >= self._policy.ancestor_threshold, self._depths[None], tf.zeros([], tf.int64))
        deepest = tf.argmax(depths, axis=1)
        return tf.reduce_max(depths, axis=1) > 0, tf.gather(self._inner, deepest), tf.gather(sums, deepest, batch_dims=1)
