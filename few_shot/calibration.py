"""Makes the probabilities of the exclusive head mean what they say, by one temperature learnt from held-out answers."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from schemas.errors import ModelError

_LOWEST, _HIGHEST = 0.05, 20.0
# As many pretended answers for which a temperature of 1 is right: ten real ones don't make a model ten times as sure.
_PRETENDED = 20.0


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns float32 `[n, C]`, rows summing to 1, of logits divided by the temperature; doubles, rounded once."""
    scaled: np.ndarray = (logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature
    np.exp(scaled, out=scaled)
    scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled.astype(np.float32)


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Returns what to divide logits by so that held-out answers are as likely as can be.

    Above 1 the model was surer than it may be. Few answers say little, and leave it near 1.

    Args:
        logits: float `[n, C]`, of a model that hasn't seen these answers.
        classes: int64 `[n]`, the answers.

    Raises:
        ModelError: a logit isn't a number.

    Source:
        Guo et al. 2017, ICML, On Calibration of Modern Neural Networks.
    """
    if not np.isfinite(logits).all():
        raise ModelError("a logit of a held-out answer isn't a number. Train the model again.")
    logits = logits.astype(np.float64)
    rows = np.arange(len(classes))

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        likelihood = scaled[rows, classes] - logsumexp(scaled, axis=1)
        return float(0.5 * _PRETENDED * log_temperature**2 - likelihood.sum())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded").x))
