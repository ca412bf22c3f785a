"""Passes answers on to unanswered products along a neighbour graph: label propagation, after which a few answers are many weak ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from few_shot.latent import unit_rows

_BLOCK = 1024
_ROUNDS = 30
_SMALLEST = 1e-9


@dataclass(frozen=True)
class WeakRows:
    """Unanswered products as rows to learn from.

    Attributes:
        vectors: float32 `[m, d]`.
        targets: float32 `[m, C]`, what each is believed to be, rows summing to 1, or to 0 where nothing is believed.
        target_weights: float32 `[m]`, of the cross-entropy to the targets, where an answer weighs 1.
        entropy_weight: of every row's own entropy, which draws the boundary between classes away from where products are dense.
    """

    vectors: np.ndarray
    targets: np.ndarray
    target_weights: np.ndarray
    entropy_weight: float


def neighbour_graph(vectors: np.ndarray, num_neighbours: int) -> sp.csr_matrix:
    """Returns the symmetric, degree-normalised graph of nearest neighbours by cosine.

    Args:
        vectors: float32 `[m, d]`, of any length; a vector of zeros has no neighbours.
        num_neighbours: of each vector, itself not counted. An edge that either end asks for is there for both.

    Returns:
        CSR float32 `[m, m]`, `D^-1/2 W D^-1/2` of the positive cosines W between neighbours, zeros on the diagonal.
    """
    units = unit_rows(vectors).astype(np.float32)
    count, width = len(units), min(num_neighbours, len(units) - 1)
    if width < 1:
        return sp.csr_matrix((count, count), dtype=np.float32)
    rows, columns, cosines = [], [], []
    for start in range(0, count, _BLOCK):
        found = units[start : start + _BLOCK] @ units.T  # [block, m]
        own = np.arange(len(found))
        found[own, start + own] = -1.0
        nearest = np.argpartition(-found, width - 1, axis=1)[:, :width]
        rows.append(np.repeat(start + own, width))
        columns.append(nearest.ravel())
        cosines.append(np.take_along_axis(found, nearest, 1).ravel())
    weights = np.maximum(np.concatenate(cosines), 0.0)
    directed = sp.csr_matrix((weights, (np.concatenate(rows), np.concatenate(columns))), shape=(count, count))
    edges = directed.maximum(directed.T)
    roots = sp.diags(1.0 / np.sqrt(np.maximum(np.asarray(edges.sum(axis=1)).ravel(), _SMALLEST)))
    return (roots @ edges @ roots).tocsr().astype(np.float32)


def propagated(graph: sp.csr_matrix, seeds: np.ndarray, reach: float) -> np.ndarray:
    """Returns how much of each class arrives at each row when seeds spread over the graph until they settle.

    Args:
        graph: CSR float32 `[m, m]`, of `neighbour_graph`.
        seeds: float32 `[m, C]`, what rows are known to be; zeros where nothing is known.
        reach: share of a row that comes from its neighbours rather than from its own seed, in [0, 1).

    Returns:
        float32 `[m, C]`, `(1 - reach) (I - reach graph)^-1 seeds` to within `reach^30`.

    Source:
        Zhou et al. 2004, Learning with local and global consistency, NeurIPS 16.
    """
    own = ((1.0 - reach) * seeds).astype(np.float32)
    found = own
    for _ in range(_ROUNDS):
        found = np.float32(reach) * (graph @ found) + own
    return np.asarray(found, np.float32)


def soft_targets(arrived: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what arrived as beliefs, and how sure they are.

    >>> beliefs, sure = soft_targets(np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 0.0], [0.0, 0.0]]))
    >>> beliefs.tolist(), sure.round(2).tolist()
    ([[0.75, 0.25], [0.5, 0.5], [1.0, 0.0], [0.0, 0.0]], [0.19, 0.0, 1.0, 0.0])

    Args:
        arrived: `[m, C]`, not negative.

    Returns:
        beliefs `[m, C]`, rows summing to 1, or to 0 where nothing arrived; and `[m]` in [0, 1], 1 minus the entropy of a row
        over that of knowing nothing (Iscen et al. 2019), 0 where nothing arrived.
    """
    total = arrived.sum(axis=1, keepdims=True)
    beliefs: np.ndarray = np.where(total > _SMALLEST, arrived / np.maximum(total, _SMALLEST), 0.0)
    entropy = -(beliefs * np.log(np.maximum(beliefs, _SMALLEST))).sum(axis=1)
    sure = np.where(total[:, 0] > _SMALLEST, 1.0 - entropy / max(np.log(arrived.shape[1]), _SMALLEST), 0.0)
    return beliefs, np.clip(sure, 0.0, 1.0)
