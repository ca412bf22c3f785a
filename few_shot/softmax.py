"""Turns logits into probabilities where they lie, row by row."""

from __future__ import annotations

import numpy as np


def softmax_in_place(scores: np.ndarray) -> np.ndarray:
    """Makes scores `[n, C]` probabilities, and returns the logarithm of what their exponentials were divided by, `[n]`."""
    highest = scores.max(axis=1, keepdims=True)
    scores -= highest
    np.exp(scores, out=scores)
    total = scores.sum(axis=1, keepdims=True)
    scores /= total
    log_total: np.ndarray = (highest + np.log(total))[:, 0]
    return log_total
