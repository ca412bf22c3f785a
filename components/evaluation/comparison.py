"""Finds which products became right or wrong since another model, and in which part of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.evaluation.wide_metrics import BoolArray, IntArray
from schemas.errors import EvaluationError
from schemas.taxonomy import Taxonomy


def changes(now: BoolArray, before: BoolArray, true_nodes: IntArray, taxonomy: Taxonomy) -> dict[str, Any]:
    """Returns how many answered products became right or wrong, over all and by root.

    Args:
        now: bool `[n]`, the candidate is right, for answered products only.
        before: bool `[n]`, the other model was.
        true_nodes: int `[n]`, number of the answered node; -1 where the taxonomy doesn't have it.
        taxonomy: the tree of the numbers.

    Returns:
        `became_right`, `became_wrong`, `stayed_right`, `stayed_wrong`, and `by_root`: node id to `name`,
        `became_right`, `became_wrong`, most changed first; roots without a change are left out.

    Raises:
        EvaluationError: the arrays aren't of one length.
    """
    if not len(now) == len(before) == len(true_nodes):
        raise EvaluationError(
            f"changes: {len(now)}, {len(before)} and {len(true_nodes)} products don't match. Score both models on the same products."
        )
    right, wrong = now & ~before, before & ~now
    return {
        "became_right": int(right.sum()),
        "became_wrong": int(wrong.sum()),
        "stayed_right": int((now & before).sum()),
        "stayed_wrong": int((~now & ~before).sum()),
        "by_root": _by_root(right, wrong, true_nodes, taxonomy),
    }


def _by_root(right: BoolArray, wrong: BoolArray, true_nodes: IntArray, taxonomy: Taxonomy) -> dict[str, dict[str, Any]]:
    rows: list[tuple[str, dict[str, Any]]] = []
    for root in (node for node in taxonomy if not node.parent_id):
        nodes = taxonomy.subtree(root.id)
        inside = (true_nodes >= nodes.start) & (true_nodes < nodes.stop)
        gained, lost = int((right & inside).sum()), int((wrong & inside).sum())
        if gained or lost:
            rows.append((root.id, {"name": root.name, "became_right": gained, "became_wrong": lost}))
    return dict(sorted(rows, key=lambda row: -row[1]["became_right"] - row[1]["became_wrong"]))


def pick_examples(flags: BoolArray, confidence: np.ndarray, titles: Sequence[str], count: int) -> list[int]:
    """Returns the numbers of up to `count` flagged products with different titles, the surest predictions first.

    >>> pick_examples(np.array([True, True, True, False]), np.array([0.5, 0.9, 0.8, 1.0]), ["a", "b", "b", "c"], 2)
    [1, 0]
    """
    rows = np.flatnonzero(flags)
    first: dict[str, int] = {}
    for row in rows[np.argsort(-confidence[rows], kind="stable")].tolist():
        first.setdefault(titles[row], row)
        if len(first) == count:
            break
    return list(first.values())
