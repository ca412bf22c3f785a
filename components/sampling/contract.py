"""Says what a sampling strategy is, and finds one by name. A new family is one new file that calls `register`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from components.scored_pool import ScoredPool
from schemas.errors import SamplingError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
PathOf = Callable[[str], str]


@dataclass(frozen=True)
class Selection:
    """Products a strategy asks for, the most wanted first.

    Attributes:
        rows: int64 `[num_selected]`, rows of the pool.
        scores: float64 `[num_selected]`, on the strategy's own scale, never rising.
        notes: what the strategy knows of each row that the pool doesn't say, for its `reason`; empty: nothing.
    """

    rows: IntArray
    scores: FloatArray
    notes: tuple[Any, ...] = ()


class Strategy(Protocol):
    """Chooses what people should answer next."""

    @property
    def name(self) -> str:
        """What `sampling.strategy` says."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the scored pool that it reads beside id, split, group and answered."""

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns at most `count` of the candidates, at most one of each group, as many as there are.

        Args:
            pool: scores of all products; the strategy reads its `columns`.
            candidates: int `[num_candidates]`, rows of the pool that may be asked. A strategy that uses chance gives the same
                products for the same order of candidates, whatever their place in the pool.
            groups: int `[num_candidates]`, equal where candidates are near-duplicates.
            count: most products wanted.
            rng: decides between equal scores, so that no order of the feed is favoured.

        Raises:
            SamplingError: scores that can't be ranked, or a column that wasn't read.
        """

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns in one sentence, for the labeller, why this product was chosen; `note` is what its selection says of it."""


@dataclass(frozen=True)
class RankedStrategy:
    """A strategy that wants the highest scores. See `Strategy` for the methods.

    Args:
        name: what `sampling.strategy` says.
        score: pool and candidate rows to a score of each candidate, `[num_candidates]`.
        explain: pool, row and names of nodes to the reason.
        columns: of the scored pool that `score` and `explain` read.
    """

    name: str
    score: Callable[[ScoredPool, IntArray, np.random.Generator], FloatArray]
    explain: Callable[[ScoredPool, int, PathOf], str]
    columns: tuple[str, ...]

    def select(self, pool: ScoredPool, candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> Selection:
        """Returns the candidates of the highest scores."""
        scores = rankable(self.name, np.asarray(self.score(pool, candidates, rng), np.float64), candidates)
        order = fair_order(scores, rng)
        first = order[first_of_each(groups[order])][:count]
        return Selection(candidates[first], scores[first])

    def reason(self, pool: ScoredPool, row: int, path_of: PathOf, note: Any = None) -> str:
        """Returns why this product was chosen."""
        return self.explain(pool, row, path_of)


def rankable(name: str, scores: FloatArray, candidates: IntArray) -> FloatArray:
    """Returns the scores a strategy gave the candidates, one each.

    Raises:
        SamplingError: there are more, fewer, or some aren't finite.
    """
    if scores.shape != candidates.shape or not np.isfinite(scores).all():
        raise SamplingError(f"strategy {name!r} gave scores that can't be ranked: {_oddity(scores, candidates)}. Score the pool again.")
    return scores


def _oddity(scores: FloatArray, candidates: IntArray) -> str:
    if scores.shape != candidates.shape:
        return f"{list(scores.shape)} for {len(candidates)} products"
    at = int(np.argmin(np.isfinite(scores)))
    return f"{scores[at]} for row {candidates[at]}"


def fair_order(scores: FloatArray, rng: np.random.Generator) -> IntArray:
    """Returns the positions of the scores, highest first, equal scores in random order.

    >>> fair_order(np.array([0.1, 0.9, 0.5]), np.random.default_rng(0))
    array([1, 2, 0])
    """
    shuffled = rng.permutation(len(scores))
    return shuffled[np.argsort(-scores[shuffled], kind="stable")]


def first_of_each(groups: IntArray) -> IntArray:
    """Returns the positions where a group appears for the first time, in order.

    >>> first_of_each(np.array([7, 3, 7, 1, 3]))
    array([0, 1, 3])
    """
    return np.sort(np.unique(groups, return_index=True)[1])


_STRATEGIES: dict[str, Strategy] = {}


def register(strategies: Iterable[Strategy]) -> None:
    """Makes strategies known by name.

    Raises:
        SamplingError: a name that another strategy has.
    """
    for strategy in strategies:
        if _STRATEGIES.get(strategy.name, strategy) is not strategy:
            raise SamplingError(f"two strategies are named {strategy.name!r}. Rename one.")
        _STRATEGIES[strategy.name] = strategy


def known_strategies() -> dict[str, Strategy]:
    """Returns the registered strategies by name, in order of their names."""
    return dict(sorted(_STRATEGIES.items()))


def find_strategy(name: str) -> Strategy:
    """Returns a strategy by name.

    Raises:
        SamplingError: no strategy has this name.
    """
    if name not in _STRATEGIES:
        raise SamplingError(f"strategy {name!r} is unknown. Set sampling.strategy to one of {', '.join(sorted(_STRATEGIES))}.")
    return _STRATEGIES[name]
