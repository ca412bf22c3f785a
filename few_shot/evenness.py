"""Finds what keeps a few classes from being the answer to far too many products before answers can tell."""

from __future__ import annotations

import numpy as np

from few_shot.softmax import softmax_in_place

_ROUNDS = 12
_NOBODY = 1e-4  # Share of the products below which it makes no difference how seldom a class is the answer.


def evening(scores: np.ndarray, strength: float) -> np.ndarray:
    """Returns what to add to the scores so that a class loses the more, the larger its share of the products is.

    Names of nodes that say little, such as "Accessories", are a little like every product, and rules about common words put
    too much at their node. Which classes are drawn to so is seen without any answer: by their share of the products. The
    result is the fixed point `b = -strength * log share(b)`, where `share(b)` is the mean probability of each class when b is
    added, so that classes that really are common stay so.

    >>> scores = np.log(np.array([[0.6, 0.4], [0.8, 0.2], [0.4, 0.6]]))
    >>> evening(scores, 0.0).tolist(), (np.diff(evening(scores, 0.5)) > 0).tolist()
    ([0.0, 0.0], [True])

    Args:
        scores: `[n, C]`, logits of products seldom near-duplicates of one another.
        strength: 0 changes nothing; the larger, the more alike all shares get.

    Returns:
        float32 `[C]`, of mean 0; zeros without products.

    Source:
        Sinkhorn and Knopp 1967, Pacific Journal of Mathematics 21, for shares that are all alike; Menon et al. 2021, ICLR,
        "Long-tail learning via logit adjustment", for a multiple of log shares. Stopping on the way to alike is ours.
    """
    added = np.zeros(scores.shape[1])
    if not len(scores) or strength == 0.0:
        return added.astype(np.float32)
    for _ in range(_ROUNDS):
        likely = scores + added
        softmax_in_place(likely)
        shares = likely.mean(axis=0)
        # Half a step: a whole one may swing between two extremes where the strength is near 1.
        added = 0.5 * added - 0.5 * strength * np.log(shares + _NOBODY)
    found: np.ndarray = (added - added.mean()).astype(np.float32)
    return found
