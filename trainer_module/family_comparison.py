"""Compares model families on answers held out of training, and says which won."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer_module.fitting import held_out, validation_scores
from trainer_module.training_data import TrainingData
from trainer_module.zoo.contract import Network

log = logging.getLogger(__name__)

HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Comparison:
    """How families did on the answers held out.

    Attributes:
        winner: the most accurate; of equals the one named first.
        scores: family to accuracy and mean cross-entropy.
        num_judged: answers held out; 0 where there were too few to tell families apart.
    """

    winner: str
    scores: dict[str, dict[str, float]]
    num_judged: int


def compare_families(families: Sequence[str], data: TrainingData, fitted: Callable[[str, TrainingData], Network]) -> Comparison:
    """Fits each family without a part of the answers and judges it by them; near-duplicates are never on both sides.

    Args:
        families: names, the preferred first.
        data: products with their answers.
        fitted: family and what to learn from to a network.
    """
    held = held_out(data, HELD_OUT_SHARE)
    rows = np.flatnonzero(held)
    if len(families) < 2 or not len(rows):
        return Comparison(families[0], {}, 0)
    taught = replace(data, answers=np.where(held, -1, data.answers))
    scores = {name: validation_scores(fitted(name, taught), data, rows) for name in families}
    winner = max(families, key=lambda name: scores[name]["accuracy"])
    shown = ", ".join(f"{name} {found['accuracy']:.4f}" for name, found in scores.items())
    log.info("trainer compared=%s held_out=%d winner=%s", shown, len(rows), winner)
    return Comparison(winner, scores, len(rows))
