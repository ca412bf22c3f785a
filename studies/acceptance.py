"""Measures on re-drawn answers whether accepted predictions keep the precision they were promised, and how many are accepted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from few_shot.acceptance import ASK, AcceptancePolicy, Decisions, choose_policy, decide, is_right
from few_shot.calibration import softmax
from few_shot.held_out import held_out_logits
from few_shot.learner import FewShotModel, learn
from few_shot.subtrees import subtrees_of
from schemas.errors import CatalogueError
from studies.frozen_catalogue import FrozenCatalogue
from studies.replay import ALL, Budget
from studies.result_lines import Line

STRATEGY = "random"  # How answers are drawn; others aren't a fair sample to calibrate on.
_BLOCK = 4096
_MAX_JUDGED = 5_000
# With every answer there is nothing left to judge on, so a fifth of the products with held-out opinions stands in.
_JUDGED_SHARE = 0.2
_BINS = 15


@dataclass(frozen=True)
class AcceptanceSettings:
    """What the re-draws of a study share.

    Attributes:
        promised: precision.
        confidence: that it is kept.
        tolerances: how far below the promise a precision may still be; each is tried on every re-draw.
    """

    promised: float = 0.95
    confidence: float = 0.95
    tolerances: tuple[float, ...] = (0.0, 0.005)

    def variant(self, tolerance: float) -> str:
        """Returns what was promised, for people."""
        return f"{100 * self.promised:g} %" + (f" less {100 * tolerance:g} points" if tolerance else "")


class AcceptanceCatalogue:
    """A frozen catalogue ready for any number of re-draws; products whose truth nobody knows, or the tree lacks, are left out.

    Args:
        catalogue: what to draw answers from. Its own split isn't used: every re-draw is a split of its own, by near-duplicate groups.
        settings: of the re-draws.

    Raises:
        CatalogueError: it has fewer than ten different products with a true class.
    """

    def __init__(self, catalogue: FrozenCatalogue, settings: AcceptanceSettings) -> None:
        self.catalogue, self.settings, self.features = catalogue, settings, catalogue.features
        taxonomy = catalogue.taxonomy
        self.tree = subtrees_of(self.features.ancestry, np.asarray(taxonomy.depths), np.asarray(taxonomy.exclusive))
        self.classes, self.groups = catalogue.true_classes, np.asarray(self.features.products.groups)
        self.known = np.flatnonzero(self.classes >= 0)
        # One product speaks for its near-duplicates, as in a batch; which one is the feed's chance.
        _, first, sizes = np.unique(self.groups[self.known], return_index=True, return_counts=True)
        self.different, self.offers = self.known[first], sizes
        if len(self.different) < 10:
            raise CatalogueError(f"{catalogue.name}: {len(self.different)} different products have a true node. Expected 10 at least.")

    def lines(self, budget: Budget, seeds: list[int]) -> Iterator[Line]:
        """Yields a line a seed and tolerance: a re-draw of the answers, the policy they choose, and how it does on other products."""
        if budget == ALL:
            yield from self._every_answer(seeds)
        else:
            for seed in seeds:
                yield from self._some_answers(int(budget), seed)

    def _some_answers(self, budget: int, seed: int) -> Iterator[Line]:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.different))
        asked, others = order[:budget], order[budget:][:_MAX_JUDGED]
        answers = np.full(len(self.classes), -1, np.int64)
        answers[self.different[asked]] = self.classes[self.different[asked]]
        rows, held_out = held_out_logits(self.features, answers, seed)
        judged = self.different[others]
        logits = self._logits(learn(self.features, answers, seed), judged)
        for tolerance in self.settings.tolerances:
            policy = self._policy(held_out, rows, tolerance)
            scores = self._scores(policy, logits, judged, self.offers[others])
            yield self._about(budget, seed, len(asked), tolerance) | scores

    def _every_answer(self, seeds: list[int]) -> Iterator[Line]:
        rows, every = held_out_logits(self.features, self.classes, 0)
        place = np.searchsorted(rows, self.different)
        for seed in seeds:
            judges = np.random.default_rng(seed).random(len(place)) < _JUDGED_SHARE
            for tolerance in self.settings.tolerances:
                policy = self._policy(every[place[~judges]], self.different[~judges], tolerance)
                scores = self._scores(policy, every[place[judges]], self.different[judges], self.offers[judges])
                yield self._about(ALL, seed, len(self.known), tolerance) | scores

    def _policy(self, logits: np.ndarray, rows: np.ndarray, tolerance: float) -> AcceptancePolicy:
        promised, confidence = self.settings.promised, self.settings.confidence
        return choose_policy(logits, self.classes[rows], self.groups[rows], self.tree, promised, confidence, tolerance=tolerance)

    def _logits(self, model: FewShotModel, rows: np.ndarray) -> np.ndarray:
        blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
        return np.concatenate([model.logits(self.features.products, self.features.rules, block) for block in blocks])

    def _about(self, budget: Budget, seed: int, answers: int, tolerance: float) -> Line:
        about = {"case": self.catalogue.name, "strategy": STRATEGY, "variant": self.settings.variant(tolerance)}
        return {**about, "seed": seed, "budget": budget, "answers": answers}

    def _scores(self, policy: AcceptancePolicy, logits: np.ndarray, rows: np.ndarray, offers: np.ndarray) -> Line:
        classes = self.classes[rows]
        decisions = decide(logits, self.tree, policy)
        right = is_right(decisions, self.tree, classes)
        depths = self.tree.depth[self.tree.node_of[classes]]
        return {
            "judged": len(rows),
            "promised": policy.promised,
            "temperature": round(policy.temperature, 4),
            "answer_threshold": round(policy.answer_threshold, 4),
            "ancestor_threshold": round(policy.ancestor_threshold, 4),
            "accuracy": round(float((logits.argmax(axis=1) == classes).mean()), 4),
            "calibration_error": round(calibration_error(logits, classes, policy.temperature), 4),
            "uncalibrated_error": round(calibration_error(logits, classes, 1.0), 4),
            **_coverage(decisions, right, np.ones(len(rows))),
            "offers": _coverage(decisions, right, offers.astype(np.float64)),
            "by_depth": {
                str(depth): _coverage(
                    Decisions(decisions.nodes[depths == depth], decisions.is_answer[depths == depth]),
                    right[depths == depth],
                    np.ones(int((depths == depth).sum())),
                )
                for depth in np.unique(depths).tolist()
            },
        }


def _coverage(decisions: Decisions, right: np.ndarray, weights: np.ndarray) -> dict[str, float | None]:
    """Returns the share of products accepted at the answer, at an ancestor and at either, and the precision of each."""
    accepted = decisions.nodes != ASK
    found: dict[str, float | None] = {}
    for name, chosen in (("answer", decisions.is_answer), ("ancestor", accepted & ~decisions.is_answer), ("accepted", accepted)):
        share = weights[chosen].sum() / weights.sum()
        found[f"{name}_coverage"] = round(float(share), 4)
        found[f"{name}_precision"] = round(float(np.average(right[chosen], weights=weights[chosen])), 4) if chosen.any() else None
    return found


def calibration_error(logits: np.ndarray, classes: np.ndarray, temperature: float) -> float:
    """Returns the mean distance of what the best class was given from how often it was right, over 15 equal bins.

    Source:
        Naeini et al. 2015, AAAI (expected calibration error).
    """
    probabilities = softmax(logits, temperature)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == classes
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=right - sure, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(sure))
