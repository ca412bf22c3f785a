"""Holds which classes lie below each node as ranges of the tree order, so that P(node) is a difference of running sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.errors import ModelError


@dataclass(frozen=True)
class Subtrees:
    """N nodes in tree order, and C classes in the same order.

    Attributes:
        first, end: int64 `[N]`, the classes below a node, the node itself included, are `first` to `end - 1`.
        depth: int64 `[N]`, 1 at a root.
        node_of: int64 `[C]`, number of each class' own node.
    """

    first: np.ndarray
    end: np.ndarray
    depth: np.ndarray
    node_of: np.ndarray

    @property
    def inner(self) -> np.ndarray:
        """Int64, numbers of the nodes that hold more than one class, in tree order."""
        return np.flatnonzero(self.end - self.first > 1)

    def sums(self, probabilities: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        """Returns P(node), float64 `[n, len(nodes)]`, of class probabilities `[n, C]`."""
        running = np.zeros((len(probabilities), probabilities.shape[1] + 1))
        np.cumsum(probabilities, axis=1, dtype=np.float64, out=running[:, 1:])
        found: np.ndarray = running[:, self.end[nodes]] - running[:, self.first[nodes]]
        return found

    def holds(self, nodes: np.ndarray, classes: np.ndarray, last: np.ndarray | None = None) -> np.ndarray:
        """Returns bool, element by element: whether a class lies below a node or is the node's own; with `last`, all classes up to it."""
        found: np.ndarray = (self.first[nodes] <= classes) & ((classes if last is None else last) < self.end[nodes])
        return found


def subtrees_of(ancestry: np.ndarray, depths: np.ndarray, class_nodes: np.ndarray) -> Subtrees:
    """Returns the ranges of a tree.

    >>> tree = subtrees_of(np.array([[1, 1], [1, 0], [0, 1]]), np.array([1, 2, 2]), np.array([1, 2]))
    >>> tree.first.tolist(), tree.end.tolist(), tree.inner.tolist()
    ([0, 0, 1], [2, 1, 2], [0])

    Args:
        ancestry: float `[N, C]`, 1 where the node is the class or one of its ancestors.
        depths: int64 `[N]`, 1 at a root.
        class_nodes: int64 `[C]`, number of each class' own node.

    Raises:
        ModelError: the classes below a node aren't next to one another.
    """
    below = np.asarray(ancestry) > 0
    count = below.sum(axis=1)
    first = below.argmax(axis=1).astype(np.int64)
    last = below.shape[1] - 1 - below[:, ::-1].argmax(axis=1)
    broken = np.flatnonzero((count > 0) & (last - first + 1 != count))
    if len(broken):
        raise ModelError(f"the classes below node number {broken[0]} aren't next to one another. Number nodes and classes depth-first.")
    return Subtrees(first, first + count, np.asarray(depths, np.int64), np.asarray(class_nodes, np.int64))
