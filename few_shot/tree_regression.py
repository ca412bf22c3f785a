"""Fits a multinomial logistic regression whose classes share their ancestors' weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from few_shot.partial_answers import marginal_in_place
from few_shot.propagation import WeakRows
from few_shot.softmax import softmax_in_place

_MEMORY = 6
_SMALLEST = 1e-30


@dataclass(frozen=True)
class OpenRows:
    """Rows whose class is one of several.

    Attributes:
        vectors: float32 `[m, d]`.
        allowed: bool `[m, C]`, the classes that are left, one at least.
        weights: float32 `[m]`.
    """

    vectors: np.ndarray
    allowed: np.ndarray
    weights: np.ndarray


def fit_regression(
    vectors: np.ndarray,
    classes: np.ndarray,
    row_weights: np.ndarray,
    ancestry: np.ndarray,
    penalty: float,
    steps: int,
    weak: WeakRows | None = None,
    open_rows: OpenRows | None = None,
) -> np.ndarray:
    """Returns the weights of each class, the sum over the weights of the class and its ancestors.

    What one answer says about a node it says about the node's neighbours in the tree, too, in proportion to the ancestors
    they share; a penalty on every node's own part keeps what is common high up in the tree.

    Args:
        vectors: float32 `[n, d]`.
        classes: int64 `[n]`.
        row_weights: float32 `[n]`.
        ancestry: float32 `[N, C]`, 1 where the node is the class or one of its ancestors.
        penalty: half the inverse variance of a node's own weights.
        steps: of L-BFGS at most.
        weak: unanswered products to learn from as well. With an entropy weight the loss isn't convex; the steps start at zero.
        open_rows: answers that leave several classes open, by the probability of all that are left. That isn't convex either.

    Returns:
        float32 `[d + 1, C]`, the intercepts last.
    """
    num_rows, width, num_nodes = len(vectors), vectors.shape[1] + 1, ancestry.shape[0]
    inputs = _with_ones(vectors)
    rows = np.arange(num_rows)
    weak_inputs = None if weak is None else _with_ones(weak.vectors)
    open_inputs = None if open_rows is None else _with_ones(open_rows.vectors)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        own = flat.reshape(width, num_nodes).astype(np.float32)
        scores = inputs @ (own @ ancestry)
        right = scores[rows, classes]
        log_sum = softmax_in_place(scores)
        scores[rows, classes] -= 1.0
        scores *= row_weights[:, None]
        gradient = (inputs.T @ scores) @ ancestry.T + penalty * own
        value = float((row_weights * (log_sum - right)).sum(dtype=np.float64) + 0.5 * penalty * (own * own).sum(dtype=np.float64))
        if weak is not None and weak_inputs is not None:
            weak_scores = weak_inputs @ (own @ ancestry)
            value += _weak_loss_in_place(weak_scores, weak)
            gradient += (weak_inputs.T @ weak_scores) @ ancestry.T
        if open_rows is not None and open_inputs is not None:
            open_scores = open_inputs @ (own @ ancestry)
            value += float((open_rows.weights * marginal_in_place(open_scores, open_rows.allowed)).sum(dtype=np.float64))
            open_scores *= open_rows.weights[:, None]
            gradient += (open_inputs.T @ open_scores) @ ancestry.T
        return value, gradient.ravel().astype(np.float64)

    found = minimize(loss, np.zeros(width * num_nodes), jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": _MEMORY})
    shared: np.ndarray = found.x.reshape(width, num_nodes).astype(np.float32) @ ancestry
    return shared


def _with_ones(vectors: np.ndarray) -> np.ndarray:
    return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])


def _weak_loss_in_place(scores: np.ndarray, weak: WeakRows) -> float:
    """Makes scores `[m, C]` the gradient of the loss of unanswered products with respect to them, and returns that loss.

    A row's loss is its weight times the cross-entropy to its target, plus the entropy weight times its own entropy
    (Grandvalet and Bengio 2005).
    """
    of_targets = (weak.targets * scores).sum(axis=1)
    log_sum = softmax_in_place(scores)
    weights = weak.target_weights * weak.targets.sum(axis=1)
    value = float((weights * log_sum - weak.target_weights * of_targets).sum(dtype=np.float64))
    gradient = weights[:, None] * scores - weak.target_weights[:, None] * weak.targets
    if weak.entropy_weight:
        logarithms = np.log(np.maximum(scores, _SMALLEST))
        entropy = -(scores * logarithms).sum(axis=1)
        value += weak.entropy_weight * float(entropy.sum(dtype=np.float64))
        gradient -= np.float32(weak.entropy_weight) * scores * (logarithms + entropy[:, None])
    scores[...] = gradient
    return value
