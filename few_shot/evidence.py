"""Describes what is known of products and nodes before anybody answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp

# What products of a class look like by names and rules alone: `few_shot.self_training` learns it, and naive Bayes starts from it.
CENTROIDS = "self-trained: centroids"


@dataclass(frozen=True)
class LinearEvidence:
    """A score of every product at every class that is linear in the product's features.

    Attributes:
        name: for people, such as `title ~ path`.
        start: trust in it before anybody answers.
        on_bag: float32 `[num_columns, C]` on the product's bag, or None.
        on_latent: float32 `[d, C]` on the product's latent vector, or None.
    """

    name: str
    start: float
    on_bag: sp.csr_matrix | None = None
    on_latent: np.ndarray | None = None


class RuleEvidence(Protocol):
    """What rules say of products, one score a class and way of looking at it."""

    @property
    def names(self) -> Sequence[str]:
        """What each score is called."""

    @property
    def starts(self) -> Sequence[float]:
        """Trust in each score from some answers on, before they have judged it."""

    @property
    def unconfirmed(self) -> Sequence[float]:
        """The share of that trust before anybody answered, for each."""

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, len(names)]`."""
        ...


@dataclass(frozen=True)
class NodeTexts:
    """The nodes as if they were products, one row a class.

    Attributes:
        paths: latent vectors of the names from the root down, float32 `[C, d]`.
        names: latent vectors of the names alone, float32 `[C, d]`.
    """

    paths: np.ndarray
    names: np.ndarray


@dataclass(frozen=True)
class Products:
    """n products as the learner sees them.

    Attributes:
        bag: float32 `[n, num_columns]`, the square roots of the weights of tokens and values.
        latent: float32 `[n, d]`.
        groups: `[n]`, equal for near-duplicates, which are never on both sides of a fold.
    """

    bag: sp.csr_matrix
    latent: np.ndarray
    groups: np.ndarray
