"""Draws random scores of both heads, for tests of what judges them."""

from __future__ import annotations

import numpy as np

from components.evaluation.wide_metrics import Scores
from schemas.taxonomy import Taxonomy


def random_scores(taxonomy: Taxonomy, count: int, seed: int, unknown: float = 0.0, answered: float = 1.0) -> Scores:
    """Returns random scores and truth of `count` products; shares of unknown and of answered ones as given."""
    rng = np.random.default_rng(seed)
    classes = np.asarray(taxonomy.exclusive)
    true_nodes = rng.choice(classes, count) if count else np.zeros(0, np.int64)
    true_nodes = np.where(rng.random(count) < unknown, -1, true_nodes)
    exclusive = rng.dirichlet(np.full(len(classes), 0.3), count).astype(np.float32) if count else np.zeros((0, len(classes)), np.float32)
    has_answer = rng.random(count) < answered
    depths = np.where(has_answer & (true_nodes >= 0), np.asarray(taxonomy.depths)[true_nodes], 0)
    return Scores(
        answered=has_answer,
        true_nodes=true_nodes,
        exclusive=exclusive,
        rule_based=rng.random((count, len(taxonomy)), dtype=np.float32),
        rule_pairs=np.stack([rng.integers(0, max(count, 1), count), rng.integers(0, len(taxonomy), count)], 1),
        depths=depths,
        shops=[f"shop {number % 3}" for number in range(count)],
        missing={"brand": rng.random(count) < 0.5},
    )
