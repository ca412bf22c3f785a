"""The losses of both heads, each over the products its mask lets in."""

from __future__ import annotations

import tensorflow as tf


def exclusive_loss(logits: tf.Tensor, classes: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of the answered products, 0 when there are none.

    Args:
        logits: float32 `[n, C]`.
        classes: int64 `[n]`; anything where the weight is 0.
        weights: float32 `[n]`, 0 where nobody answered.
    """
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(classes, 0), logits)
    return tf.reduce_sum(entropy * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def weighted_rule_loss(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, unlabelled_weight: float) -> tf.Tensor:
    """Returns the mean over products of the summed cross-entropy over nodes; what no rule said counts less.

    Args:
        logits: float32 `[n, N]`.
        targets: float32 `[n, N]`, 1 where a rule said so; 0 is unlabelled, not negative.
        weights: float32 `[n]`, 0 for products this head doesn't learn from.
        unlabelled_weight: weight of a 0, in [0, 1].
    """
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    by_product = tf.reduce_sum(entropy * (targets + unlabelled_weight * (1.0 - targets)), axis=1)
    return tf.reduce_sum(by_product * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def non_negative_rule_loss(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, priors: tf.Tensor) -> tf.Tensor:
    """Returns the non-negative risk of positive and unlabelled data, summed over nodes.

    For each node: prior x E+[loss of 1] + max(0, E[loss of 0] - prior x E+[loss of 0]), E over every product of the batch,
    E+ over those a rule put there.

    Args:
        logits: float32 `[n, N]`.
        targets: float32 `[n, N]`, 1 where a rule said so.
        weights: float32 `[n]`, 0 for products this head doesn't learn from.
        priors: float32 `[N]`, the true share of products at each node.

    Source:
        Kiryo et al. 2017, NeurIPS 30.
    """
    positive = targets * weights[:, None]
    num_positive = tf.maximum(tf.reduce_sum(positive, axis=0), 1.0)
    num_all = tf.maximum(tf.reduce_sum(weights), 1.0)
    loss_of_one, loss_of_zero = tf.nn.softplus(-logits), tf.nn.softplus(logits)
    positive_risk = priors * tf.reduce_sum(loss_of_one * positive, axis=0) / num_positive
    negative_risk = tf.reduce_sum(loss_of_zero * weights[:, None], axis=0) / num_all
    negative_risk -= priors * tf.reduce_sum(loss_of_zero * positive, axis=0) / num_positive
    return tf.reduce_sum(positive_risk + tf.maximum(negative_risk, 0.0))
