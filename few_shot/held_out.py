"""Says of answered products what a model thinks that hasn't seen their answers, nor those of near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from few_shot.frozen import FrozenFeatures
from few_shot.learner import DEFAULTS, FewShotParameters, learn
from few_shot.partial_answers import PartialAnswers, without_groups
from schemas.errors import ModelError

FOLDS = 5


def held_out_logits(
    features: FrozenFeatures,
    answers: np.ndarray,
    seed: int,
    folds: int = FOLDS,
    parameters: FewShotParameters = DEFAULTS,
    progress: Callable[[str], None] = lambda line: None,
    among: np.ndarray | None = None,
    trusts: Mapping[str, float] | None = None,
    partial: PartialAnswers | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Learns once a fold without the fold's answers, and returns what the model says of them.

    The trusts, a handful of numbers, are those of all answers: that saves most of the time and tells a fold next to nothing.

    Args:
        features: n products.
        answers: int64 `[n]`, a class, or -1 where nobody answered.
        seed: of the folds and of the learner.
        folds: parts of the near-duplicate groups, at least 2.
        parameters: of the learner.
        progress: told one line a fold.
        among: int64, products that people said something of, ascending, that are asked about; None: all whose class was named.
        trusts: of a model that learnt all answers; None: they are learnt here.
        partial: answers that leave several classes open; of those, too, a fold sees none about its near-duplicates.

    Returns:
        rows: int64 `[m]`, the products asked about, in ascending order.
        logits: float32 `[m, C]`, of the same products.

    Raises:
        ModelError: fewer than two groups were answered, so there is nothing to hold out.
    """
    fold_of = answer_folds(features.products.groups, answers, seed, folds, partial)
    rows = np.flatnonzero(answers >= 0) if among is None else among
    kept = learn(features, answers, seed, parameters, partial=partial).trusts if trusts is None else trusts
    groups = features.products.groups
    logits = np.empty((len(rows), features.num_classes), np.float32)
    for fold in range(fold_of.max() + 1):
        held = fold_of[rows] == fold
        progress(f"held_out fold={fold + 1} of={folds}")
        inside = np.where(fold_of == fold, -1, answers)
        said = None if partial is None else without_groups(partial, groups, groups[fold_of == fold])
        model = learn(features, inside, seed, parameters, trusts=kept, partial=said)
        logits[held] = model.logits(features.products, features.rules, rows[held])
    return rows, logits


def answer_folds(
    groups: np.ndarray, answers: np.ndarray, seed: int, folds: int = FOLDS, partial: PartialAnswers | None = None
) -> np.ndarray:
    """Returns which fold each answered product is held out with, int64 `[n]`; -1 where nobody said anything of it.

    Args:
        groups: int64 `[n]`, equal for near-duplicates, which are never apart.
        answers: int64 `[n]`, a class, or -1 where nobody answered.
        seed: of the folds.
        folds: parts of the groups at most, at least 2.
        partial: answers that leave several classes open, of which those about products themselves are in a fold, too.

    Raises:
        ModelError: fewer than two groups were answered, so there is nothing to hold out.
    """
    rows = np.flatnonzero(answers >= 0)
    if partial is not None:
        rows = np.union1d(rows, partial.rows[partial.questions == 0])
    answered, numbers = np.unique(groups[rows], return_inverse=True)
    if len(answered) < 2 or folds < 2:
        raise ModelError(
            f"found answers on {len(answered)} different products and {folds} folds, expected 2 of each. Answer more products."
        )
    found = np.full(len(answers), -1, np.int64)
    found[rows] = np.random.default_rng(seed).permutation(len(answered))[numbers] % folds
    return found
