"""Learns how far to trust each piece of evidence: a conditional logit with a Gaussian prior at trusts that need no answer."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize


def fit_trusts(
    evidence: np.ndarray,
    classes: np.ndarray,
    row_weights: np.ndarray,
    start: np.ndarray,
    deviation: np.ndarray,
    lowest: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Returns the trusts that explain the answers best, near `start` where answers say little.

    A class' logit is the sum of its evidence times trust; its softmax is the probability of the class.

    Args:
        evidence: float32 `[n, C, K]`, of answers that the evidence was made without.
        classes: int64 `[n]`, the answers.
        row_weights: float32 `[n]`.
        start: float64 `[K]`, the prior's mean.
        deviation: float64 `[K]`, the prior's standard deviation; 0 keeps a trust where it is.
        lowest: float64 `[K]`, at most `start`; no trust gets lower, so that a few answers can't turn evidence on its head.
        steps: of L-BFGS at most.

    Returns:
        float64 `[K]`.
    """
    free = deviation > 0
    if not len(classes) or not free.any():
        return start.copy()
    num_rows, num_classes, _ = evidence.shape
    flat = evidence.reshape(num_rows * num_classes, -1)
    rows = np.arange(num_rows)
    of_answers = (row_weights[:, None] * evidence[rows, classes]).sum(axis=0, dtype=np.float64)
    scale = np.where(free, deviation, 1.0)

    def loss(offsets: np.ndarray) -> tuple[float, np.ndarray]:
        trusts = start + np.where(free, offsets * scale, 0.0)
        logits = (flat @ trusts.astype(np.float32)).reshape(num_rows, num_classes)
        right = logits[rows, classes]
        highest = logits.max(axis=1, keepdims=True)
        probabilities = np.exp(logits - highest)
        total = probabilities.sum(axis=1, keepdims=True)
        value = float((row_weights * ((highest + np.log(total))[:, 0] - right)).sum(dtype=np.float64)) + 0.5 * float(offsets @ offsets)
        probabilities *= row_weights[:, None] / total
        gradient = (probabilities.reshape(1, -1) @ flat)[0].astype(np.float64) - of_answers
        return value, np.where(free, gradient * scale + offsets, 0.0)

    bounds = [(float(low), None) for low in (lowest - start) / scale]
    found = minimize(loss, np.zeros(len(start)), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps})
    trusts: np.ndarray = start + np.where(free, found.x * scale, 0.0)
    return trusts
