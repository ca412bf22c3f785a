"""Finds products that are far apart, and groups of products that are close: k-means++, weighted kernel k-means, k-means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from components.sampling.contract import FloatArray, IntArray

Vectors = npt.NDArray[np.float32]
_BLOCK_POINTS = 4096


def spread_points(
    squared_lengths: FloatArray, inner_products: Callable[[int], FloatArray], first: int, count: int, rng: np.random.Generator
) -> IntArray:
    """Returns `count` distinct points, each drawn with the square of its distance to the nearest drawn before: k-means++.

    Points that coincide with drawn ones are drawn evenly once nothing else is left.

    Args:
        squared_lengths: float `[num_points]`.
        inner_products: a point to its inner products with all, `[num_points]`.
        first: the point to start from.
        count: at most `num_points`.
        rng: draws.

    Source:
        Arthur and Vassilvitskii 2007, SODA, "k-means++: the advantages of careful seeding".
    """
    chosen = [first]
    distances = np.full(len(squared_lengths), np.inf)
    left = np.ones(len(squared_lengths), bool)
    left[first] = False
    while len(chosen) < count:
        last = chosen[-1]
        to_last = squared_lengths + squared_lengths[last] - 2 * inner_products(last)
        distances = np.minimum(distances, np.where(to_last > 1e-6 * squared_lengths[last], to_last, 0.0))  # Less is rounding.
        weights = np.where(left, distances, 0.0)
        if not weights.any():
            weights = left.astype(np.float64)
        sums = np.cumsum(weights)
        point = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        chosen.append(point)
        left[point] = False
    return np.array(chosen[:count], np.int64)


def kernel_clusters(gram: Vectors, weights: FloatArray, starts: IntArray, steps: int = 10) -> tuple[IntArray, FloatArray]:
    """Returns the cluster of each point and its squared distance to the cluster's weighted mean, from inner products alone.

    Args:
        gram: float32 `[n, n]`.
        weights: float `[n]`, above 0.
        starts: int `[num_clusters]`, points that clusters start from.
        steps: most passes.

    Source:
        Zhdanov 2019, arXiv:1901.05954, "Diverse mini-batch active learning", for the weights; Dhillon et al. 2004, KDD,
        "Kernel k-means, spectral clustering and normalized cuts", for k-means without coordinates.
    """
    own = np.diagonal(gram).astype(np.float64)
    distances = own[:, None] + own[starts] - 2.0 * gram[:, starts]
    clusters = np.argmin(distances, axis=1)
    clusters[starts] = np.arange(len(starts))
    for _ in range(steps):
        distances = _kernel_distances(gram, own, weights, clusters, len(starts))
        moved = np.argmin(distances, axis=1)
        if np.array_equal(moved, clusters):
            break
        clusters = moved
    distances = _kernel_distances(gram, own, weights, clusters, len(starts))
    return clusters, np.maximum(distances[np.arange(len(clusters)), clusters], 0.0)


def _kernel_distances(gram: Vectors, own: FloatArray, weights: FloatArray, clusters: IntArray, num_clusters: int) -> FloatArray:
    """Returns float64 `[n, num_clusters]`, infinite for a cluster that is empty."""
    totals = np.bincount(clusters, weights, num_clusters)
    shares = np.zeros((len(clusters), num_clusters), np.float32)
    shares[np.arange(len(clusters)), clusters] = weights / totals[clusters]
    to_means = (gram @ shares).astype(np.float64)
    of_means = np.einsum("nc,nc->c", to_means, shares)
    distances: FloatArray = np.where(totals > 0, own[:, None] - 2 * to_means + of_means, np.inf)
    return distances


def clusters_of(points: Vectors, num_clusters: int, rng: np.random.Generator, steps: int = 8) -> IntArray:
    """Returns the cluster of each point by k-means, started by k-means++; O(steps x n x num_clusters x d).

    Args:
        points: float32 `[n, d]`.
        num_clusters: at most n; some may stay empty.
        rng: draws the starts.
        steps: passes.
    """
    squared = np.einsum("nd,nd->n", points, points).astype(np.float64)
    starts = spread_points(
        squared, lambda at: np.asarray(points @ points[at], np.float64), int(rng.integers(len(points))), num_clusters, rng
    )  # fmt: skip
    means = points[starts]
    clusters = _nearest(points, means)
    for _ in range(steps):
        order = np.argsort(clusters, kind="stable")
        present, first = np.unique(clusters[order], return_index=True)
        sums = np.add.reduceat(points[order], first, axis=0)
        means[present] = sums / np.diff(np.append(first, len(order)))[:, None]
        moved = _nearest(points, means)
        if np.array_equal(moved, clusters):
            break
        clusters = moved
    return clusters


def _nearest(points: Vectors, means: Vectors) -> IntArray:
    own = np.einsum("cd,cd->c", means, means)
    blocks = [
        np.argmin(own - 2 * (points[start : start + _BLOCK_POINTS] @ means.T), axis=1) for start in range(0, len(points), _BLOCK_POINTS)
    ]
    return np.concatenate(blocks)
