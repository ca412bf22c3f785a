"""Holds answers that leave several classes open, and the loss of knowing no more than which classes are possible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from few_shot.softmax import softmax_in_place

_IMPOSSIBLE = np.float32(-np.inf)


# Of members of one group, enough to say where it lies.
_MEMBERS = 30


@dataclass(frozen=True)
class PartialAnswers:
    """What people said of m products short of naming the class of each.

    Attributes:
        rows: int64 `[m]`, numbers of the products, each once.
        allowed: bool `[m, C]`, the classes that are left.
        questions: int64 `[m]`, which question about a group says so; 0 where the product itself was asked about.
        weights: float32 `[m]`, beside 1 for an answer that names a class.
    """

    rows: np.ndarray
    allowed: np.ndarray
    questions: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, places: np.ndarray) -> PartialAnswers:
        """Returns some of them, by place or mask."""
        return PartialAnswers(self.rows[places], self.allowed[places], self.questions[places], self.weights[places])


def partial_answers(rows: np.ndarray, allowed: np.ndarray, questions: np.ndarray | None = None) -> PartialAnswers:
    """Returns answers that all weigh 1, about single products unless `questions` says otherwise."""
    asked = np.zeros(len(rows), np.int64) if questions is None else questions
    return PartialAnswers(rows, allowed, asked, np.ones(len(rows), np.float32))


def no_partial_answers(num_classes: int) -> PartialAnswers:
    """Returns none."""
    return partial_answers(np.zeros(0, np.int64), np.zeros((0, num_classes), bool))


def informative(partial: PartialAnswers, answers: np.ndarray) -> PartialAnswers:
    """Returns those that say something, by product: no class of it is known, and some class is possible but not every one.

    Args:
        partial: as people gave them.
        answers: int64 `[n]`, the class of each product, -1 where nobody named one.
    """
    left = partial.allowed.sum(axis=1)
    found = partial.part((answers[partial.rows] < 0) & (left > 0) & (left < partial.allowed.shape[1]))
    return found.part(np.argsort(found.rows, kind="stable"))


def without_groups(partial: PartialAnswers, groups: np.ndarray, left_out: np.ndarray) -> PartialAnswers:
    """Returns the answers but for those about some groups of near-duplicates; `groups` is int64 `[n]`, each product's."""
    return partial.part(~np.isin(groups[partial.rows], left_out))


def weighed(partial: PartialAnswers, member_weight: float, question_weight: float) -> PartialAnswers:
    """Returns the answers with the weights of members of groups, of which thirty a question are kept.

    A person saw five of a group's products: each of the others counts less than one that was looked at, and all of them together
    not as much as so many answers.

    Args:
        partial: answers about products and groups.
        member_weight: of a member, at most.
        question_weight: of all members of a question together, at most; 0 leaves groups out.
    """
    kept, weights = np.ones(len(partial), bool), np.ones(len(partial), np.float32)
    for question in np.unique(partial.questions[partial.questions != 0]).tolist():
        members = np.flatnonzero(partial.questions == question)
        few = members[np.unique(np.linspace(0, len(members) - 1, min(_MEMBERS, len(members))).astype(np.int64))]
        kept[members] = False
        kept[few] = member_weight > 0 and question_weight > 0
        weights[few] = min(member_weight, question_weight / len(few))
    return replace(partial, weights=weights).part(kept)


def marginal_in_place(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Returns each row's loss `[m]`, the negative logarithm of the probability that the class is an allowed one.

    Scores become the gradient: the softmax less the softmax among the allowed classes.

    >>> scores = np.zeros((1, 4), np.float32)
    >>> marginal_in_place(scores, np.array([[True, True, False, False]])).round(4), scores
    (array([0.6931], dtype=float32), array([[-0.25, -0.25,  0.25,  0.25]], dtype=float32))

    Args:
        scores: float32 `[m, C]`, logits.
        allowed: bool `[m, C]`, one at least in each row.

    Source:
        Jin and Ghahramani 2003, Learning with multiple labels, NeurIPS 15; Cour et al. 2011, JMLR 12.
    """
    among = np.where(allowed, scores, _IMPOSSIBLE)
    of_all, of_allowed = softmax_in_place(scores), softmax_in_place(among)
    scores -= among
    loss: np.ndarray = of_all - of_allowed
    return loss
