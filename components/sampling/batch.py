"""Draws a batch: an audit share at random from the whole pool, then what the strategy wants of the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from components.sampling.contract import IntArray, PathOf, Selection, Strategy, first_of_each
from components.sampling.narrowing import numbers_of
from components.sampling.target import EVERYTHING, Target, rows_in_target
from components.scored_pool import ANSWERED, EXCLUSIVE_NODES, GROUP, PRODUCT_ID, SPLIT, TITLE_KEY, ScoredPool
from schemas.errors import SamplingError
from schemas.product import DEV, SHOP

AUDIT, STRATEGY = "audit", "strategy"
AUDIT_REASON = "drawn at random, so that the batch also says how good the model is on everything"
AUDIT_REASON_WITHIN = "drawn at random {}, so that the batch also says how good the model is there"
COLUMNS = (PRODUCT_ID, SPLIT, GROUP, TITLE_KEY, ANSWERED)


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


def columns_for(strategy: Strategy, target: Target = EVERYTHING) -> list[str]:
    """Returns the columns of a scored pool that `pick` reads."""
    of_target = [*((EXCLUSIVE_NODES,) if target.nodes else ()), *((SHOP,) if target.shop else ())]
    return list(dict.fromkeys([*COLUMNS, *strategy.columns, *of_target]))


def pick(
    pool: ScoredPool,
    strategy: Strategy,
    batch_size: int,
    audit_share: float,
    rng: np.random.Generator,
    path_of: PathOf = same_node,
    target: Target = EVERYTHING,
) -> list[BatchItem]:
    """Returns the next products to label, strategy items in falling order of score, audit items at random places between.

    Only products of split dev whose whole group is unanswered are asked, one of each group at most; products whose titles
    are equal once folded are one group too. The audit share is drawn first, from everything that may be asked, so that its
    answers are an unbiased sample of it (a group counts as often as it has products). A pool that holds fewer than
    `batch_size` gives what there is. The order of the pool decides nothing: chance goes by product ids.

    Args:
        pool: read with `columns_for` the strategy and the target, or made of arrays; without title keys, groups alone count.
        strategy: what ranks the rest.
        batch_size: products wanted, at least 1.
        audit_share: of the batch, 0 to 1; rounded to whole products, half up.
        rng: the only source of chance.
        path_of: node id to what people call it.
        target: the part of the catalogue both streams are limited to.

    Raises:
        SamplingError: a size or share out of range, a shop without products, a column that wasn't read, or scores that
            can't be ranked.
    """
    if batch_size < 1 or not 0 <= audit_share <= 1:
        raise SamplingError(f"batch_size {batch_size} and audit_share {audit_share} must be at least 1, and from 0 to 1.")
    groups = group_numbers(pool)
    candidates = _by_product_id(pool, open_rows(pool, groups, target))
    audit = _audit_rows(candidates, groups, int(batch_size * audit_share + 0.5), rng)
    rest = candidates[~np.isin(groups[candidates], groups[audit])]
    selection = strategy.select(pool, rest, groups[rest], batch_size - len(audit), rng)
    audit_scores = _scores_of(pool, strategy, audit, rng)
    audit_reason = AUDIT_REASON_WITHIN.format(target.words) if target.words else AUDIT_REASON
    audited = [BatchItem(int(row), AUDIT, float(score), audit_reason) for row, score in zip(audit, audit_scores, strict=True)]
    return _mixed(_explained(pool, strategy, selection, path_of, target), audited, rng)


def group_numbers(pool: ScoredPool) -> IntArray:
    """Returns int64 `[num_products]`, equal for products that are asked about once.

    Those are near-duplicates and, where the pool says so, products whose titles are equal once folded. A product with
    neither group nor title is a group of its own.
    """
    groups = numbers_of(pool.need("groups"))
    if pool.title_keys is None or not len(groups):
        return groups
    titles = groups.max() + 1 + numbers_of(pool.title_keys)
    # A group may hold two titles, and a title two groups: what hangs together is asked once.
    size = int(titles.max()) + 1
    edges = coo_matrix((np.ones(len(groups), np.int8), (groups, titles)), shape=(size, size))
    joined: IntArray = connected_components(edges, directed=False)[1][groups].astype(np.int64)
    return joined


def open_rows(pool: ScoredPool, groups: IntArray, target: Target = EVERYTHING) -> IntArray:
    """Returns the rows of split dev, in the target, whose group nobody answered, in the order of the pool."""
    answered = np.unique(groups[np.asarray(pool.need("answered"), bool)])
    return rows_in_target(pool, np.flatnonzero((pool.need("splits") == DEV) & ~np.isin(groups, answered)), target)


def _by_product_id(pool: ScoredPool, rows: IntArray) -> IntArray:
    ids = pa.array(pool.need("product_ids")[rows], pa.string())
    ordered: IntArray = rows[pc.sort_indices(ids).to_numpy().astype(np.int64)]
    return ordered


def _audit_rows(candidates: IntArray, groups: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    shuffled = rng.permutation(candidates)
    return shuffled[first_of_each(groups[shuffled])][:count]


def _scores_of(pool: ScoredPool, strategy: Strategy, rows: IntArray, rng: np.random.Generator) -> list[float]:
    """Returns the strategy's score of each row, in the order given."""
    selection = strategy.select(pool, rows, np.arange(len(rows)), len(rows), rng)
    scores = dict(zip(selection.rows.tolist(), selection.scores.tolist(), strict=True))
    return [scores[row] for row in rows.tolist()]


def _explained(pool: ScoredPool, strategy: Strategy, selection: Selection, path_of: PathOf, target: Target) -> list[BatchItem]:
    notes = selection.notes or (None,) * len(selection.rows)
    within = f" ({target.words})" if target.words else ""
    return [
        BatchItem(row, STRATEGY, score, strategy.reason(pool, row, path_of, note) + within)
        for row, score, note in zip(selection.rows.tolist(), selection.scores.tolist(), notes, strict=True)
    ]


def _mixed(items: list[BatchItem], audited: list[BatchItem], rng: np.random.Generator) -> list[BatchItem]:
    """Returns both streams as one; nobody can tell by its place which stream an item is of."""
    size = len(items) + len(audited)
    places = set(rng.choice(size, len(audited), replace=False).tolist())
    strategy, audit = iter(items), iter(audited)
    return [next(audit) if place in places else next(strategy) for place in range(size)]
