"""Says of every answered product what a model thinks that hasn't seen its answer, nor that of a near-duplicate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from few_shot.frozen import FrozenFeatures
from few_shot.learner import DEFAULTS, FewShotParameters, learn
from schemas.errors import ModelError

FOLDS = 5


def held_out_logits(
    features: FrozenFeatures,
    answers: np.ndarray,
    seed: int,
    folds: int = FOLDS,
    parameters: FewShotParameters = DEFAULTS,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Learns once a fold without the fold's answers, and returns what the model says of them.

    The trusts, a handful of numbers, are learnt once from all answers: that saves a third of the time and tells a fold next to nothing.

    Args:
        features: n products.
        answers: int64 `[n]`, a class, or -1 where nobody answered.
        seed: of the folds and of the learner.
        folds: parts of the near-duplicate groups, at least 2.
        parameters: of the learner.
        progress: told one line a fold.

    Returns:
        rows: int64 `[m]`, the answered products whose group isn't the only one of its fold, in ascending order.
        logits: float32 `[m, C]`, of the same products.

    Raises:
        ModelError: fewer than two groups were answered, so there is nothing to hold out.
    """
    rows = np.flatnonzero(answers >= 0)
    groups, numbers = np.unique(features.products.groups[rows], return_inverse=True)
    if len(groups) < 2 or folds < 2:
        raise ModelError(f"found answers on {len(groups)} different products and {folds} folds, expected 2 of each. Answer more products.")
    fold_of = np.random.default_rng(seed).permutation(len(groups))[numbers] % folds
    trusts = learn(features, answers, seed, parameters).trusts
    logits = np.empty((len(rows), features.num_classes), np.float32)
    for fold in range(min(folds, len(groups))):
        held = fold_of == fold
        progress(f"held_out fold={fold + 1} of={folds}")
        inside = answers.copy()
        inside[rows[held]] = -1
        logits[held] = learn(features, inside, seed, parameters, trusts=trusts).logits(features.products, features.rules, rows[held])
    return rows, logits
