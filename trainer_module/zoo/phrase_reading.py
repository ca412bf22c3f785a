"""Reads from a bag which rule phrases a product holds, inside the model's graph, as `RulePhrases.held` does outside it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer_module.rule_phrases import RulePhrases
from trainer_module.tree import Tree


class PhraseReading(tf.Module):
    """Phrases by column: a product holds those of whose columns it has as many as they have.

    Args:
        tree: the category tree.
        num_columns: of the bag.
    """

    def __init__(self, tree: Tree, num_columns: int) -> None:
        super().__init__()
        self._exclusive, self._parents = tf.constant(tree.exclusive), tf.constant(tree.parents[tree.exclusive])
        self._num_nodes = len(tree.node_ids)
        self._starts = tf.Variable(np.zeros(num_columns + 1, np.int64), name="phrase_starts")
        self._phrases, self._needed, self._nodes = (
            tf.Variable(np.zeros(0, np.int64), shape=[None], name=f"phrase_{name}") for name in ("numbers", "columns", "nodes")
        )

    def assign(self, phrases: RulePhrases) -> None:
        """Replaces the phrases."""
        by_column = phrases.columns.tocsc()
        self._starts.assign(by_column.indptr.astype(np.int64))
        self._phrases.assign(by_column.indices.astype(np.int64))
        self._needed.assign(np.diff(phrases.columns.indptr).astype(np.int64))
        self._nodes.assign(phrases.nodes)

    def __call__(self, bag: tf.SparseTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float32 `[n, C]` twice, 1 where a phrase of the class' node is held, and where one of its parent's is.

        Args:
            bag: sparse `[n, num_columns]`, each column at most once a row.
        """
        rows, columns = bag.indices[:, 0], bag.indices[:, 1]
        first = tf.gather(self._starts, columns)
        count = tf.gather(self._starts, columns + 1) - first
        places = tf.range(tf.reduce_sum(count)) + tf.repeat(first - tf.cumsum(count, exclusive=True), count)
        num_phrases = tf.maximum(tf.size(self._needed, tf.int64), 1)
        found = tf.unique_with_counts(tf.repeat(rows, count) * num_phrases + tf.gather(self._phrases, places), tf.int64)
        phrases = found.y % num_phrases
        whole = tf.reshape(tf.where(found.count == tf.gather(self._needed, phrases)), [-1])
        held_at = tf.stack([tf.gather(found.y // num_phrases, whole), tf.gather(self._nodes, tf.gather(phrases, whole))], 1)
        shape = tf.stack([bag.dense_shape[0], tf.constant(self._num_nodes + 1, tf.int64)])  # The last one is above the roots.
        held = tf.minimum(tf.scatter_nd(held_at, tf.ones([tf.shape(held_at)[0]]), shape), 1.0)
        return tf.gather(held, self._exclusive, axis=1), tf.gather(held, self._parents, axis=1)
