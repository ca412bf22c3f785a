"""Draws a batch: an audit share at random from the whole pool, then what the strategy wants of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from components.sampling.contract import IntArray, PathOf, Selection, Strategy, first_of_each
from components.scored_pool import ANSWERED, GROUP, PRODUCT_ID, SPLIT, ScoredPool
from schemas.errors import SamplingError
from schemas.product import DEV

AUDIT, STRATEGY = "audit", "strategy"
AUDIT_REASON = "drawn at random, so that the batch also says how good the model is on everything"
COLUMNS = (PRODUCT_ID, SPLIT, GROUP, ANSWERED)


@dataclass(frozen=True)
class BatchItem:
    """One product to label.

    Attributes:
        row: of the pool.
        stream: `audit`, an unbiased sample, or `strategy`.
        score: on the strategy's scale; of an audit item too, so that both streams compare.
        reason: one sentence for the labeller.
    """

    row: int
    stream: str
    score: float
    reason: str


def same_node(node_id: str) -> str:
    """Returns the node id itself: how a reason names a node where no taxonomy is at hand."""
    return node_id


def pick(
    pool: ScoredPool,
    strategy: Strategy,
    batch_size: int,
    audit_share: float,
    rng: np.random.Generator,
    path_of: PathOf = same_node,
) -> list[BatchItem]:
    """Returns the next products to label, strategy items in falling order of score, audit items at random places between.

    Only products of split dev whose whole group is unanswered are asked, one of each group at most. The audit share is
    drawn first, from everything that may be asked, so that its answers are an unbiased sample of it (a group counts as
    often as it has products). A pool that holds fewer than `batch_size` gives what there is.

    Args:
        pool: read with `COLUMNS` and the strategy's `columns`.
        strategy: what ranks the rest.
        batch_size: products wanted, at least 1.
        audit_share: of the batch, 0 to 1; rounded to whole products, half up.
        rng: the only source of chance.
        path_of: node id to what people call it.

    Raises:
        SamplingError: a size or share out of range, or scores that can't be ranked.
    """
    if batch_size < 1 or not 0 <= audit_share <= 1:
        raise SamplingError(f"batch_size {batch_size} and audit_share {audit_share} must be at least 1, and from 0 to 1.")
    groups = group_numbers(pool)
    candidates = open_rows(pool, groups)
    audit = _audit_rows(candidates, groups, int(batch_size * audit_share + 0.5), rng)
    rest = candidates[~np.isin(groups[candidates], groups[audit])]
    selection = strategy.select(pool, rest, groups[rest], batch_size - len(audit), rng)
    audit_scores = _scores_of(pool, strategy, audit, rng)
    audited = [BatchItem(int(row), AUDIT, float(score), AUDIT_REASON) for row, score in zip(audit, audit_scores, strict=True)]
    return _mixed(_explained(selection, lambda row: strategy.reason(pool, row, path_of)), audited, rng)


def group_numbers(pool: ScoredPool) -> IntArray:
    """Returns int64 `[num_products]`, equal for near-duplicates; a product without a group is a group of its own."""
    names = [group or f"\0{product_id}" for group, product_id in zip(pool.need("groups"), pool.need("product_ids"), strict=True)]
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def open_rows(pool: ScoredPool, groups: IntArray) -> IntArray:
    """Returns the rows of split dev whose group nobody answered, in the order of the pool."""
    answered = np.unique(groups[np.asarray(pool.need("answered"), bool)])
    return np.flatnonzero((pool.need("splits") == DEV) & ~np.isin(groups, answered))


def _audit_rows(candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    shuffled = rng.permutation(candidates)
    return shuffled[first_of_each(groups[shuffled])][:count]


def _scores_of(pool: ScoredPool, strategy: Strategy, rows: IntArray, rng: np.random.Generator) -> list[float]:
    """Returns the strategy's score of each row, in the order given."""
    selection = strategy.select(pool, rows, np.arange(len(rows)), len(rows), rng)
    scores = dict(zip(selection.rows.tolist(), selection.scores.tolist(), strict=True))
    return [scores[row] for row in rows.tolist()]


def _explained(selection: Selection, reason: Callable[[int], str]) -> list[BatchItem]:
    pairs = zip(selection.rows.tolist(), selection.scores.tolist(), strict=True)
    return [BatchItem(row, STRATEGY, score, reason(row)) for row, score in pairs]


def _mixed(items: list[BatchItem], audited: list[BatchItem], rng: np.random.Generator) -> list[BatchItem]:
    """Returns both streams as one; nobody can tell by its place which stream an item is of."""
    size = len(items) + len(audited)
    places = set(rng.choice(size, len(audited), replace=False).tolist())
    strategy, audit = iter(items), iter(audited)
    return [next(audit) if place in places else next(strategy) for place in range(size)]
