"""Learns one linear separator a set of products on sparse features, so that brands and product lines aren't lost in a dense space."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

_SMALLEST_STEP = 1e-6


def fit_separators(
    bag: sp.csr_matrix,
    memberships: np.ndarray,
    passes: int,
    seed: int,
    cost: float = 1.0,
    unknown: np.ndarray | None = None,
    row_weights: np.ndarray | None = None,
) -> np.ndarray:
    """Returns one-vs-rest support vector machines with squared hinge loss.

    Dual coordinate descent (Hsieh et al. 2008): a step takes one row, solves its dual variable of every set at once, and
    writes back only the sets that moved, which soon are a few.

    Args:
        bag: float32 `[n, num_columns]`.
        memberships: bool `[n, S]`, which of the S sets a row is in; sets may overlap.
        passes: over all rows; five are about as good as the exact solution on text.
        seed: of the order of rows.
        cost: of a margin violation.
        unknown: bool `[n, S]`, where nobody knows whether a row is in a set, so that it moves none of its weights; None: nowhere.
        row_weights: float32 `[n]` above 0, of a row's violations; None: 1 for all.

    Returns:
        float32 `[num_columns + 1, S]`, the intercepts last. The columns of empty sets are zeros.
    """
    seen = np.flatnonzero(memberships.any(axis=0))
    weights = np.zeros((bag.shape[1] + 1, len(seen)), np.float32)
    duals = np.zeros((len(memberships), len(seen)), np.float32)
    signs = np.where(memberships[:, seen], np.float32(1), np.float32(-1))
    if unknown is not None:
        signs[unknown[:, seen]] = 0.0
    softnesses = [0.5 / cost] * len(memberships) if row_weights is None else (0.5 / cost / row_weights).tolist()
    lengths = np.asarray(bag.multiply(bag).sum(axis=1), np.float32).ravel() + 1.0
    rng = np.random.default_rng(seed)
    for _ in range(passes):
        for row in rng.permutation(len(memberships)):
            start, end = bag.indptr[row], bag.indptr[row + 1]
            columns, values, softness = bag.indices[start:end], bag.data[start:end], softnesses[row]
            gradient = signs[row] * (values @ weights[columns] + weights[-1]) - 1.0 + softness * duals[row]
            moved_to = np.maximum(duals[row] - gradient / (lengths[row] + softness), 0.0)
            step = (moved_to - duals[row]) * signs[row]
            moved = np.flatnonzero(np.abs(step) > _SMALLEST_STEP)
            if not len(moved):
                continue
            duals[row] = moved_to
            weights[columns[:, None], moved[None]] += values[:, None] * step[moved][None]
            weights[-1, moved] += step[moved]
    found = np.zeros((bag.shape[1] + 1, memberships.shape[1]), np.float32)
    found[:, seen] = weights
    return found
