"""The parts families are put together from: bag sums, tree sharing and the rule prior."""

from __future__ import annotations

import copy

import numpy as np
import tensorflow as tf

from few_shot.latent import SMALLEST_LENGTH
from trainer_module.tree import Tree

_LOWEST = -20.0  # log of a probability nobody needs to tell from zero
FIRST_RULE_LOGIT = -4.0  # a node is rare: start from a small probability


class Bag:
    """The bag of a batch with each column's rows of a table read once, which keeps gradients small.

    Args:
        bag: sparse float32 `[n, num_columns]`.
        token_dropout: share of the weights left out, 0 outside training.
    """

    def __init__(self, bag: tf.SparseTensor, token_dropout: float = 0.0) -> None:
        if token_dropout > 0:
            kept = tf.random.uniform(tf.shape(bag.values)) >= token_dropout
            bag = bag.with_values(tf.where(kept, bag.values / (1.0 - token_dropout), 0.0))
        self._columns, places = tf.unique(bag.indices[:, 1], out_idx=tf.int64)
        shape = tf.stack([bag.dense_shape[0], tf.size(self._columns, tf.int64)])
        self._compact = tf.SparseTensor(tf.stack([bag.indices[:, 0], places], 1), bag.values, shape)

    def roots(self) -> Bag:
        """Returns the bag with the square roots of its weights."""
        found = copy.copy(self)
        found._compact = self._compact.with_values(tf.sqrt(self._compact.values))
        return found

    def in_doubles(self) -> Bag:
        """Returns the bag with sums in float64, see `in_doubles`."""
        found = copy.copy(self)
        found._compact = self._compact.with_values(in_doubles(self._compact.values))
        return found

    def sum(self, table: tf.Variable) -> tf.Tensor:
        """Returns the weighted sum of the table's rows `[n, width]`; `table` is `[num_columns, width]`."""
        rows = tf.cast(tf.gather(table, self._columns), self._compact.dtype)
        return tf.sparse.sparse_dense_matmul(self._compact, rows)


def in_doubles(values: tf.Tensor) -> tf.Tensor:
    """Returns the values in float64, to be added or multiplied there and `rounded` once.

    In float32 the last digits show in what order was added, which depends on the batch, the machine and the library. In float64 they
    show some nine digits behind those a float32 has: rounded, sums are the same to the bit unless one lies as near the middle of two.
    """
    return tf.cast(values, tf.float64)


def unit_length(vectors: tf.Tensor) -> tf.Tensor:
    """Returns the rows at length 1 as `few_shot.latent.unit_rows` does; rows of zeros stay zeros."""
    return vectors / tf.maximum(tf.norm(vectors, axis=1, keepdims=True), SMALLEST_LENGTH)


def rounded(values: tf.Tensor) -> tf.Tensor:
    """Returns the values in float32."""
    return tf.cast(values, tf.float32)


def embedded(table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
    """Returns the rows of a table `[n, width]`, zeros where an id is -1."""
    return tf.gather(table, tf.maximum(ids, 0)) * tf.cast(ids >= 0, tf.float32)[:, None]


class RuleReading(tf.Module):
    """Reads the rule_based head as evidence for exclusive nodes: a node is meant unless one of its children is.

    The three log-probabilities of a node are `NAMES`: it is on, none of its children is on, its parent is on.
    """

    NAMES, TRUSTS = ("rules: node", "rules: no child", "rules: parent"), (1.0, 1.0, 0.3)

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._exclusive = tf.constant(tree.exclusive)
        self._parents = tf.constant(tree.parents)
        self._num_nodes = len(tree.node_ids)
        inner = np.unique(tree.parents)  # The last one is above the roots.
        self._inner = tf.constant(inner)
        self._inner_of_class = tf.constant(np.where(np.isin(tree.exclusive, inner), np.searchsorted(inner, tree.exclusive), len(inner)))

    def __call__(self, rule_logits: tf.Tensor) -> list[tf.Tensor]:
        """Returns the three as `[n, C]` from the rule_based head's logits `[n, N]`; no gradient flows into them."""
        by_node = tf.transpose(tf.stop_gradient(rule_logits))  # [N, n]
        best_child = tf.maximum(tf.gather(tf.math.unsorted_segment_max(by_node, self._parents, self._num_nodes + 1), self._inner), _LOWEST)
        without = tf.fill([1, tf.shape(by_node)[1]], -_LOWEST)  # Above a root the logit of a node that is on, below a leaf of no child on.
        is_on, no_child_is = (
            rounded(tf.math.log_sigmoid(in_doubles(tf.concat([logits, without], 0)))) for logits in (by_node, -best_child)
        )
        found = (
            tf.gather(is_on, self._exclusive),
            tf.gather(no_child_is, self._inner_of_class),
            tf.gather(is_on, tf.gather(self._parents, self._exclusive)),
        )
        return [tf.transpose(logarithms) for logarithms in found]


class RulePrior(tf.Module):
    """Says which exclusive node the rule_based head means, each reading trusted as much as answers show it deserves."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._reading = RuleReading(tree)
        self.trust = tf.Variable(np.array(RuleReading.TRUSTS, np.float32), name="trust")

    def __call__(self, rule_logits: tf.Tensor) -> tf.Tensor:
        """Returns `[n, C]` from the rule_based head's logits `[n, N]`; no gradient flows into them."""
        return tf.add_n([trust * found for trust, found in zip(tf.unstack(self.trust), self._reading(rule_logits), strict=True)])


def sharing_matrix(tree: Tree, share: float) -> tf.Tensor | None:
    """Returns float32 `[N, C]` that gives a class its node's logit plus `share` of each ancestor's; None for no sharing."""
    if not share:
        return None
    matrix = tree.ancestry * share
    matrix[tree.exclusive, np.arange(len(tree.exclusive))] = 1.0
    return tf.constant(matrix, tf.float32)


def mixed_with_prior(logits: tf.Tensor, prior: tf.Tensor, prior_dropout: float, training: bool) -> tf.Tensor:
    """Returns learnt logits plus prior; in training, for a random share of products the prior alone."""
    if training and prior_dropout > 0:
        kept = tf.cast(tf.random.uniform([tf.shape(logits)[0], 1]) >= prior_dropout, tf.float32)
        logits = logits * kept
    return logits + prior


def normal(rng: np.random.Generator, shape: tuple[int, ...], deviation: float, name: str) -> tf.Variable:
    """Returns a variable drawn from a normal distribution."""
    return tf.Variable(rng.normal(0, deviation, shape).astype(np.float32), name=name)


def zeros(shape: tuple[int, ...], name: str) -> tf.Variable:
    """Returns a variable of zeros."""
    return tf.Variable(np.zeros(shape, np.float32), name=name)
