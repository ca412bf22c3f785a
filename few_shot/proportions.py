"""Estimates a share from judged products, with an interval that counts near-duplicates and unequal weights for what they are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from schemas.errors import SamplingError


@dataclass(frozen=True)
class Share:
    """An estimated share.

    Attributes:
        value: from 0 to 1; NaN where nothing was judged.
        low, high: its interval; 0 and 1 where nothing was judged.
        judged: products.
        effective: independent products of equal weight that would say as much.
    """

    value: float
    low: float
    high: float
    judged: int
    effective: float


def effective_count(weights: np.ndarray, groups: np.ndarray) -> float:
    """Returns how many independent products of equal weight say as much as these.

    Members of a group count as always right or wrong together, which near-duplicates all but are.

    >>> effective_count(np.ones(4), np.array([1, 2, 3, 4])), effective_count(np.ones(4), np.array([1, 1, 2, 2]))
    (4.0, 2.0)

    Args:
        weights: float `[n]`, above 0.
        groups: int64 `[n]`, equal for near-duplicates.

    Source:
        Kish 1965, Survey Sampling; applied to the sums of groups.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    sums = np.bincount(numbers, weights=weights)
    return float(sums.sum() ** 2 / (sums**2).sum()) if len(sums) else 0.0


def share_of(right: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None, confidence: float = 0.95) -> Share:
    """Returns the share of products that are right, with a two-sided interval.

    >>> found = share_of(np.array([True] * 95 + [False] * 5), np.arange(100))
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.95, 0.887, 0.984)

    Args:
        right: bool `[n]`.
        groups: int64 `[n]`, equal for near-duplicates.
        weights: float `[n]`, what each product stands for; None: all alike.
        confidence: that the interval holds the true share at least.

    Raises:
        SamplingError: a weight that isn't a number above 0, or arrays of different length.

    Source:
        Clopper and Pearson 1934, Biometrika 26; with an effective count as Korn and Graubard 1998, Survey Methodology 24.
    """
    weights = np.ones(len(right)) if weights is None else np.asarray(weights, np.float64)
    if not len(right) == len(groups) == len(weights):
        raise SamplingError(f"found {len(right)} judgements, {len(groups)} groups and {len(weights)} weights. Give one of each a product.")
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise SamplingError("a weight isn't a number above 0. Leave out products that stand for nothing.")
    if not len(right):
        return Share(float("nan"), 0.0, 1.0, 0, 0.0)
    value = float(np.average(right, weights=weights))
    effective = effective_count(weights, groups)
    tail = (1.0 - confidence) / 2
    return Share(value, lower_bound(value, effective, tail), 1.0 - lower_bound(1.0 - value, effective, tail), len(right), effective)


def lower_bound(value: float, effective: float, tail: float) -> float:
    """Returns what a share is above, but for a chance of `tail`, when `value` was seen on `effective` products."""
    count = value * effective
    return float(betaincinv(count, effective - count + 1.0, tail)) if count > 0 else 0.0
