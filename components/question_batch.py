"""Draws questions about groups of products for a batch, as docs/contracts.md has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from components.batch_files import KIND, QUESTION_KIND
from components.sampling.batch import COLUMNS, STRATEGY, group_numbers, open_rows
from components.sampling.group_questions import COLUMNS as GROUP_COLUMNS
from components.sampling.group_questions import PickedGroup, find_groups, pick_groups
from components.sampling.target import EVERYTHING, Target
from components.sampling_batch import node_names, shown_products, with_answers
from components.scored_pool import ScoredPool, StoredEmbeddings, read_scored_pool
from schemas.taxonomy import Taxonomy


def draw_questions(
    pool_folder: Path,
    taxonomy: Taxonomy,
    count: int,
    seed: int,
    answers: Mapping[str, str | None] | None = None,
    asked: Collection[str] = (),
    spoken_for: Collection[str] = (),
    target: Target = EVERYTHING,
) -> list[dict[str, Any]]:
    """Returns at most `count` items of kind `group`, the one worth most first.

    Args:
        pool_folder: of the artifact ScoredPool.
        taxonomy: gives nodes their paths.
        count: questions wanted.
        seed: of examples and clusters.
        answers: product id to the node of an answer that came after the pool was scored.
        asked: ids of questions that people answered, in whatever way.
        spoken_for: ids of products that an answer about a group speaks of already.
        target: what the members are limited to.

    Raises:
        SamplingError: a pool that can't be read, or a shop without products.
    """
    if not count:
        return []
    pool = with_answers(read_scored_pool(pool_folder, [*COLUMNS, *GROUP_COLUMNS]), answers or {})
    pool = replace(pool, embeddings=StoredEmbeddings(pool_folder))
    titles, rng = group_numbers(pool), np.random.default_rng(seed)
    rows = open_rows(pool, titles, target)
    ids = pool.need("product_ids")
    rows = rows[[ids[row] not in spoken_for for row in rows.tolist()]] if spoken_for else rows
    groups = find_groups(pool, rows, titles[rows], rng)
    picked = pick_groups(pool, groups, titles, count, rng, node_names(taxonomy), frozenset(asked))
    return [_item(pool_folder, pool, each, taxonomy) for each in picked]


def _item(folder: Path, pool: ScoredPool, picked: PickedGroup, taxonomy: Taxonomy) -> dict[str, Any]:
    members: list[str] = pool.need("product_ids")[picked.group.rows].tolist()
    return {
        KIND: QUESTION_KIND,
        "question": picked.group.question,
        "grouping": picked.group.kind,
        "key": picked.group.key,
        "score": round(picked.score, 6),
        "reason": picked.reason,
        "stream": STRATEGY,
        "members": members,
        "examples": shown_products(folder, picked.examples.tolist(), taxonomy),
    }
