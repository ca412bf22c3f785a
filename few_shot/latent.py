"""Learns a dense space from unlabelled products: latent semantic analysis by a randomised singular value decomposition."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

# A vector shorter than this points nowhere.
SMALLEST_LENGTH = 1e-12
_OVERSAMPLING, _POWER_ITERATIONS = 20, 4
_SMALLEST_STRENGTH = 1e-12
_BLOCK = 4_096


def latent_space(bag: sp.csr_matrix, dimensions: int, seed: int) -> np.ndarray:
    """Returns the leading right singular vectors of a bag (Halko, Martinsson and Tropp 2011).

    Args:
        bag: float32 `[n, num_columns]`; a row seldom should appear twice, or its direction is overrated.
        dimensions: how many at most; fewer where the bag has fewer rows or columns.
        seed: of the random projection.

    Returns:
        float32 `[num_columns, d]`; `bag @ space` are the products in the latent space.
    """
    rank = min(dimensions, *bag.shape)
    if rank < 1 or not bag.nnz:
        return np.zeros((bag.shape[1], 0), np.float32)
    start = np.random.default_rng(seed).standard_normal((bag.shape[1], min(rank + _OVERSAMPLING, *bag.shape))).astype(np.float32)
    basis = _orthonormal(bag @ start)
    for _ in range(_POWER_ITERATIONS):
        basis = _orthonormal(bag @ (bag.T @ basis))
    _, strengths, right = np.linalg.svd((bag.T @ basis).T, full_matrices=False)
    kept = min(rank, int((strengths > _SMALLEST_STRENGTH * strengths[0]).sum()))
    return np.ascontiguousarray(right[:kept].T, dtype=np.float32)


def _orthonormal(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.qr(matrix)[0].astype(np.float32)


def projected(bag: sp.csr_matrix, space: np.ndarray) -> np.ndarray:
    """Returns the products in the latent space, at length 1.

    Added up in doubles and rounded once, so that a model's graph, which does the same, has the same to the bit.

    Args:
        bag: float32 `[n, num_columns]`.
        space: float32 `[num_columns, d]`.

    Returns:
        float32 `[n, d]`.
    """
    wide, found = space.astype(np.float64), np.empty((bag.shape[0], space.shape[1]), np.float32)
    for start in range(0, bag.shape[0], _BLOCK):
        found[start : start + _BLOCK] = unit_rows(bag[start : start + _BLOCK].astype(np.float64) @ wide)
    return found


def unit_rows(matrix: np.ndarray) -> np.ndarray:
    """Returns the rows at length 1; rows of zeros stay zeros."""
    lengths = np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), SMALLEST_LENGTH)
    units: np.ndarray = matrix / lengths
    return units
