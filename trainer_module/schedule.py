"""Deals products out to batches as the objective schedule says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainer_module.hyperparameters import Phase

# With few answers a pass is a step or two, too short to tell whether another pass helps.
MIN_STEPS = 5


@dataclass(frozen=True)
class Batch:
    """Rows of one step.

    Attributes:
        rows: int64 `[n]`, numbers of products.
        exclusive: float32 `[n]`, 1 where the row trains the exclusive head.
        rule_based: float32 `[n]`, 1 where it trains the rule_based head.
    """

    rows: np.ndarray
    exclusive: np.ndarray
    rule_based: np.ndarray


def playable(phase: Phase, num_exclusive: int, num_rule_based: int) -> Phase | None:
    """Returns the phase with the share of a head that has no rows given to the other; None if nothing is left."""
    exclusive = phase.exclusive if num_exclusive else 0.0
    rule_based = phase.rule_based if num_rule_based else 0.0
    total = exclusive + rule_based
    return Phase(phase.epochs, rule_based / total, exclusive / total) if total > 0 else None


def epoch_steps(phase: Phase, num_exclusive: int, num_rule_based: int, batch_size: int) -> int:
    """Returns the steps of one pass over the exclusive head's rows, or over the rule head's when it is alone."""
    num_rows, share = (num_exclusive, phase.exclusive) if phase.exclusive > 0 else (num_rule_based, phase.rule_based)
    return max(MIN_STEPS, int(np.ceil(num_rows / max(1, round(batch_size * share)))))


def epoch(phase: Phase, exclusive_rows: np.ndarray, rule_rows: np.ndarray, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Yields the batches of one pass.

    The rows of the leading head are dealt out in random order, each about once; the other head's rows are drawn to fill
    its share.
    """
    num_exclusive = round(batch_size * phase.exclusive)
    num_rules = batch_size - num_exclusive
    steps = epoch_steps(phase, len(exclusive_rows), len(rule_rows), batch_size)
    exclusive = _dealt(exclusive_rows, num_exclusive, steps, rng)
    rules = _dealt(rule_rows, num_rules, steps, rng)
    for step in range(steps):
        mine, theirs = exclusive[step], rules[step]
        trains_exclusive = np.r_[np.ones(len(mine), np.float32), np.zeros(len(theirs), np.float32)]
        yield Batch(np.r_[mine, theirs].astype(np.int64), trains_exclusive, 1.0 - trains_exclusive)


def joined_by(batch: Batch, rows: np.ndarray) -> Batch:
    """Returns a batch with more rows at its end, which train neither head."""
    nothing = np.zeros(len(rows), np.float32)
    return Batch(np.r_[batch.rows, rows].astype(np.int64), np.r_[batch.exclusive, nothing], np.r_[batch.rule_based, nothing])


def _dealt(rows: np.ndarray, size: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    if not size or not len(rows):
        return np.zeros([steps, 0], np.int64)
    size = min(size, len(rows))  # A head with few rows fills a smaller share rather than repeat a row in one batch.
    passes = -(-steps * size // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(passes)])[: steps * size].reshape(steps, size)
