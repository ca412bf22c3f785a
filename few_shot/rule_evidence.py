"""Reads what a rule_based head says of products as evidence for exclusive nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NODE_ON = "rules: node"
_LOWEST = -20.0  # log of a probability nobody needs to tell from zero


@dataclass(frozen=True)
class RuleReadings:
    """A linear rule_based head over an embedding, read as three log-probabilities of a node: on, no child on, parent on.

    Attributes:
        embedding: float32 `[n, w]`, what the head reads of each product.
        weights: float32 `[w, N]`, of the nodes' logits.
        bias: float32 `[N]`.
        exclusive: int64 `[C]`, numbers of the exclusive nodes.
        parents: int64 `[N]`, N at a root.
        names: of the three.
        starts: trust in each before anybody answers.
    """

    embedding: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    exclusive: np.ndarray
    parents: np.ndarray
    names: Sequence[str] = (NODE_ON, "rules: no child", "rules: parent")
    starts: Sequence[float] = (1.0, 1.0, 0.3)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, 3]`."""
        logits = self.embedding[rows] @ self.weights + self.bias
        num_nodes = logits.shape[1]
        by_parent = np.argsort(self.parents, kind="stable")
        inner, first = np.unique(self.parents[by_parent], return_index=True)
        best_child = np.full((num_nodes + 1, len(rows)), _LOWEST, np.float32)
        best_child[inner] = np.maximum(np.maximum.reduceat(logits.T[by_parent], first, axis=0), _LOWEST)
        with_root = np.concatenate([logits, np.full((len(rows), 1), -_LOWEST, np.float32)], 1)
        found = (logits[:, self.exclusive], -best_child[self.exclusive].T, with_root[:, self.parents[self.exclusive]])
        return np.stack([_log_sigmoid(each) for each in found], 2)


@dataclass(frozen=True)
class NoRules:
    """What a rule_based head says where no rule taught it: nothing.

    Attributes:
        num_classes: C.
    """

    num_classes: int
    names: Sequence[str] = ()
    starts: Sequence[float] = ()

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, 0]`."""
        return np.zeros((len(rows), self.num_classes, 0), np.float32)


def _log_sigmoid(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.minimum(logits, 0) - np.log1p(np.exp(-np.abs(logits)))
    return found.astype(np.float32)
