"""Reads what rules say of products, by phrase and by way of a rule_based head, as evidence for exclusive nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

HEAD = ("rules: node", "rules: no child", "rules: parent")
PHRASES = ("rules: phrase", "rules: phrase of parent")
_LOWEST = -20.0  # log of a probability nobody needs to tell from zero


@dataclass(frozen=True)
class RuleReadings:
    """A linear rule_based head over an embedding, and the phrases products hold.

    The head is read as three log-probabilities of a node: on, no child on, parent on. It has learnt what rules have in common and
    knows synonyms; a phrase, held or not, at the node or its parent, knows what an analyst wrote.

    Attributes:
        embedding: float32 `[n, w]`, what the head reads of each product.
        weights: float32 `[w, N]`, of the nodes' logits.
        bias: float32 `[N]`.
        exclusive: int64 `[C]`, numbers of the exclusive nodes.
        parents: int64 `[N]`, N at a root.
        held: float32 `[n, N]`, 1 where a product holds a phrase of the node's rules; None where no phrase can be told.
    """

    embedding: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    exclusive: np.ndarray
    parents: np.ndarray
    held: sp.csr_matrix | None = None

    @property
    def names(self) -> Sequence[str]:
        """The three of the head, and the two of phrases."""
        return HEAD if self.held is None else HEAD + PHRASES

    @property
    def starts(self) -> Sequence[float]:
        """Trust in each, from some answers on."""
        # The head says again what phrases say, and was taught by the wrong ones as well.
        return (1.0, 1.0, 0.3) if self.held is None else (0.5, 0.5, 0.15, 1.0, 0.3)

    @property
    def unconfirmed(self) -> Sequence[float]:
        """The share of that trust before anybody answered."""
        return (0.65,) + (1.0,) * (len(self.names) - 1)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, len(names)]`."""
        # In doubles, rounded once, as the model's graph does it.
        exact = self.embedding[rows].astype(np.float64) @ self.weights.astype(np.float64) + self.bias
        logits = exact.astype(np.float32)
        num_nodes = logits.shape[1]
        by_parent = np.argsort(self.parents, kind="stable")
        inner, first = np.unique(self.parents[by_parent], return_index=True)
        no_child_is = np.full((len(rows), num_nodes + 1), _log_sigmoid(np.array([-_LOWEST])), np.float32)
        no_child_is[:, inner] = _log_sigmoid(-np.maximum(np.maximum.reduceat(logits[:, by_parent], first, axis=1), _LOWEST))
        is_on = _log_sigmoid(np.concatenate([logits, np.full((len(rows), 1), -_LOWEST, np.float32)], 1))
        read = [is_on[:, self.exclusive], no_child_is[:, self.exclusive], is_on[:, self.parents[self.exclusive]]]
        if self.held is not None:
            holds = np.pad(self.held[rows].toarray(), ((0, 0), (0, 1)))
            read += [holds[:, self.exclusive], holds[:, self.parents[self.exclusive]]]
        return np.stack(read, 2)


@dataclass(frozen=True)
class NoRules:
    """What a rule_based head says where no rule taught it: nothing.

    Attributes:
        num_classes: C.
    """

    num_classes: int
    names: Sequence[str] = ()
    starts: Sequence[float] = ()
    unconfirmed: Sequence[float] = ()

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, 0]`."""
        return np.zeros((len(rows), self.num_classes, 0), np.float32)


def _log_sigmoid(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    found: np.ndarray = np.minimum(wide, 0) - np.log1p(np.exp(-np.abs(wide)))
    return found.astype(np.float32)
