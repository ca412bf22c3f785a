"""Judges what a model says of test products with the metrics of the pipeline's evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.evaluation.wide_metrics import Scores, product_facts, summarise
from schemas.taxonomy import Taxonomy

_DIGITS = 4
_OF_DEPTH = ("judged", "accuracy", "hierarchical_f1", "macro_f1", "weighted_f1")
_OF_ALL = ("judged", "accuracy", "hierarchical_f1", "macro_f1", "weighted_f1", "top_5", "calibration_error")


def judge(probabilities: np.ndarray, true_nodes: np.ndarray, taxonomy: Taxonomy) -> dict[str, Any]:
    """Returns scores rounded to four digits.

    Args:
        probabilities: float32 `[n, C]`, of the exclusive nodes in tree order.
        true_nodes: int64 `[n]`, number of the true node; -1 where the tree doesn't have it, which nothing can match.
        taxonomy: the tree.

    Returns:
        `judged`, `accuracy`, `hierarchical_f1` (micro, over the answer and its ancestors), `macro_f1` (over the nodes in the truth),
        `weighted_f1`, `top_5`, `calibration_error`; `by_depth` of the truth; and `weighted_f1_over_depths`, their mean.
    """
    count = len(true_nodes)
    depths = np.append(np.asarray(taxonomy.depths, np.int64), 0)[true_nodes]
    scores = Scores(
        answered=np.ones(count, bool),
        true_nodes=true_nodes,
        exclusive=probabilities,
        rule_based=np.broadcast_to(np.float32(0), (count, len(taxonomy))),
        rule_pairs=np.zeros((0, 2), np.int64),
        depths=depths,
        shops=[""] * count,
        missing={},
    )
    facts = product_facts(scores, taxonomy)
    by_depth = {str(depth): _rounded(summarise(facts, depths == depth), _OF_DEPTH) for depth in np.unique(depths[depths > 0]).tolist()}
    weighted = [row["weighted_f1"] for row in by_depth.values()]
    whole = _rounded(summarise(facts), _OF_ALL)
    return whole | {"weighted_f1_over_depths": round(float(np.mean(weighted)), _DIGITS) if weighted else None, "by_depth": by_depth}


def _rounded(scores: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: round(value, _DIGITS) if isinstance(value := scores[name], float) else value for name in names}
