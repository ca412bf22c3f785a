"""Measures how many of the true neighbours an index finds."""

from __future__ import annotations

import numpy as np

from similarity.arrays import FloatArray
from similarity.contract import NeighbourIndex
from similarity.exact_index import ExactIndex
from similarity.vectors import FLOAT32

_TIE = 1e-5  # Products this close to the k-th neighbour are as good as it: near-duplicate offers tie all the time.


def measured_recall(index: NeighbourIndex, queries: FloatArray, k: int) -> float:
    """Returns recall@k against exact search: the share of returned products at least as similar as the true k-th one.

    Args:
        index: what is judged.
        queries: float `[num_queries, dimension]`.
        k: neighbours asked for.

    Returns:
        From 0 to 1; 1.0 without queries.
    """
    truth = ExactIndex(index.products.stored_as(FLOAT32)).search(queries, k)
    if not truth.similarities.size:
        return 1.0
    found = index.search(queries, k)
    # The similarity an index claims isn't trusted: it is computed again from the vectors themselves.
    norms = np.linalg.norm(queries, axis=1, keepdims=True)
    unit = queries / np.where(norms > 0, norms, 1)
    similarities = np.einsum("qd,qkd->qk", unit, index.products.vectors[found.positions])  # [num_queries, k]
    return float((similarities >= truth.similarities[:, -1:] - _TIE).mean())


def query_sample(index: NeighbourIndex, size: int, rng: np.random.Generator) -> FloatArray:
    """Returns `size` of the index's own vectors, drawn at random without repetition, or all where there are fewer."""
    rows = rng.choice(len(index.products), min(size, len(index.products)), replace=False)
    return np.asarray(index.products.vectors[np.sort(rows)], np.float32)
