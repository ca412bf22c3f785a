"""The losses of both heads, each over the products its mask lets in."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class ExclusiveTargets(NamedTuple):
    """What people said of n products.

    Attributes:
        classes: int64 `[n]`, -1 where no class is known.
        allowed: bool `[n, C]`, the classes that are left where an answer leaves several, none elsewhere; `[n, 0]` where no answer does.
        weights: float32 `[n]` of these, 1 elsewhere.
    """

    classes: tf.Tensor
    allowed: tf.Tensor
    weights: tf.Tensor


def exclusive_loss(logits: tf.Tensor, targets: ExclusiveTargets, weights: tf.Tensor) -> tf.Tensor:
    """Returns the mean cross-entropy of the answered products, 0 when there are none.

    Of an answer that leaves several classes, the negative logarithm of the probability of all that are left.

    Args:
        logits: float32 `[n, C]`.
        targets: what people said; anything where the weight is 0.
        weights: float32 `[n]`, 0 where nobody answered.

    Source:
        Jin and Ghahramani 2003, Learning with multiple labels, NeurIPS 15.
    """
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(targets.classes, 0), logits)
    if targets.allowed.shape[1] != 0:
        is_open = (targets.classes < 0) & tf.reduce_any(targets.allowed, axis=1)
        among = tf.where(targets.allowed | ~is_open[:, None], logits, logits.dtype.min)
        marginal = tf.reduce_logsumexp(logits, axis=1) - tf.reduce_logsumexp(among, axis=1)
        entropy = tf.where(is_open, marginal, entropy)
    return tf.reduce_sum(entropy * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def entropy_loss(logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the mean entropy of the exclusive head's distribution, 0 without products.

    A boundary between nodes that runs where products are dense leaves many of them undecided; one that runs between them doesn't.

    Args:
        logits: float32 `[n, C]`.
        weights: float32 `[n]`, 0 for products that don't count.

    Source:
        Grandvalet and Bengio 2005, Semi-supervised learning by entropy minimization, NeurIPS 17.
    """
    logarithms = tf.nn.log_softmax(logits)
    entropy = -tf.reduce_sum(tf.exp(logarithms) * logarithms, axis=1)
    return tf.reduce_sum(entropy * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def consistency_loss(student: tf.Tensor, teacher: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the mean over products of the squared distance between two distributions, 0 without products.

    Args:
        student: logits float32 `[n, C]`.
        teacher: logits float32 `[n, C]`; no gradient flows into them.
        weights: float32 `[n]`, 0 for products that don't count.

    Source:
        Tarvainen and Valpola 2017, Mean teachers are better role models, NeurIPS 30.
    """
    distances = tf.reduce_sum((tf.nn.softmax(student) - tf.stop_gradient(tf.nn.softmax(teacher))) ** 2, axis=1)
    return tf.reduce_sum(distances * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


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
