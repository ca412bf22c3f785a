"""Reads from a bag which rule phrases a product holds, in the model's graph and while it is learnt."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer_module.rule_phrases import RulePhrases
from trainer_module.tree import Tree


class PhraseReading(tf.Module):
    """Compares a product with the phrases whose first column it has, and finds those all of whose columns it has.

    Args:
        tree: the category tree.
        num_columns: of the bag.
    """

    def __init__(self, tree: Tree, num_columns: int) -> None:
        super().__init__()
        self._exclusive, self._parents = tf.constant(tree.exclusive), tf.constant(tree.parents[tree.exclusive])
        self._num_nodes, self._num_columns = len(tree.node_ids), num_columns
        self._starts = tf.Variable(np.zeros(num_columns + 1, np.int64), name="phrase_starts")
        self._order = tf.Variable(np.zeros(0, np.int64), shape=[None], name="phrase_order")
        self._table = tf.Variable(np.zeros((0, 1), np.int64), shape=[None, None], name="phrase_columns")
        self._nodes = tf.Variable(np.zeros(0, np.int64), shape=[None], name="phrase_nodes")

    def assign(self, phrases: RulePhrases) -> None:
        """Replaces the phrases."""
        starts, order = phrases.by_first_column()
        self._starts.assign(starts)
        self._order.assign(order)
        self._table.assign(phrases.table)
        self._nodes.assign(phrases.nodes)

    def __call__(self, bag: tf.SparseTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns float32 `[n, C]` twice, 1 where a phrase of the class' node is held, and where one of its parent's is."""
        held = tf.pad(self.held(bag), [[0, 0], [0, 1]])  # The last one is above the roots.
        return tf.gather(held, self._exclusive, axis=1), tf.gather(held, self._parents, axis=1)

    def held(self, bag: tf.SparseTensor) -> tf.Tensor:
        """Returns float32 `[n, N]`, 1 at the nodes one of whose phrases a product holds.

        Args:
            bag: sparse `[n, num_columns]`, each column at most once a row.
        """
        owners, columns = bag.indices[:, 0], bag.indices[:, 1]
        first = tf.gather(self._starts, columns)
        count = tf.gather(self._starts, columns + 1) - first
        # Not tf.repeat, which makes a table of all columns times the most phrases that any has.
        ends = tf.cumsum(count)
        numbers = tf.range(tf.reduce_sum(count))
        entries = tf.searchsorted(ends, numbers, side="right")
        places = numbers + tf.gather(first - ends + count, entries)
        phrases, rows = tf.gather(self._order, places), tf.gather(owners, entries)
        wanted = tf.gather(self._table, phrases)
        # A key above all others, so that there is one to compare with where a batch says nothing.
        there = tf.concat([tf.sort(owners * self._num_columns + columns), [tf.int64.max]], 0)
        keys = tf.reshape(rows[:, None] * self._num_columns + wanted, [-1])
        has = tf.reshape(tf.gather(there, tf.searchsorted(there, keys)) == keys, tf.shape(wanted))
        whole = tf.reshape(tf.where(tf.reduce_all(has | (wanted < 0), axis=1)), [-1])
        held_at = tf.stack([tf.gather(rows, whole), tf.gather(self._nodes, tf.gather(phrases, whole))], 1)
        shape = tf.stack([bag.dense_shape[0], tf.constant(self._num_nodes, tf.int64)])
        return tf.minimum(tf.scatter_nd(held_at, tf.ones([tf.shape(held_at)[0]]), shape), 1.0)
