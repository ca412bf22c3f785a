"""Says how many judged products a model's acceptance policy takes, and how often it is right. The policy never sees them before."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.evaluation.wide_metrics import BLOCK_PRODUCTS, Scores
from few_shot.acceptance import ASK, Decisions, decide, is_right
from few_shot.acceptance_file import Acceptance, summary_of
from few_shot.proportions import share_of
from few_shot.subtrees import Subtrees, subtrees_of
from schemas.taxonomy import Taxonomy

ANSWER, ANCESTOR, EITHER = "answer", "ancestor", "accepted"
_TINY = np.float32(1e-37)


def acceptance_metrics(acceptance: Acceptance, scores: Scores, groups: np.ndarray, taxonomy: Taxonomy) -> dict[str, Any]:
    """Returns what was promised, and what came of it over the answered products.

    Near-duplicates count as one product, as in the promise; `offers` has the shares when each counts.

    Args:
        acceptance: as it stands beside the model.
        scores: of n products.
        groups: int64 `[n]`, equal for near-duplicates.
        taxonomy: the model's tree.

    Returns:
        `state`, `says` (a sentence), `promised`, `confidence`, `answers`, `expected` (`answer`, `ancestor`: coverage on held-out
        answers), `judged` (`answer`, `ancestor`, `accepted` for both; each with `products`, `coverage`, `precision`, `low`, `high`,
        and `offers` of coverage and precision) and `by_depth` of the truth, depth to the same.
    """
    rows = np.flatnonzero(scores.answered)
    tree, truth = _tree(taxonomy), scores.true_nodes[rows]
    decisions = _decided(np.asarray(scores.exclusive), rows, tree, acceptance)
    class_of = np.full(len(taxonomy) + 1, -1, np.int64)
    class_of[tree.node_of] = np.arange(len(tree.node_of))
    right = is_right(decisions, tree, class_of[truth])
    depths = np.append(np.asarray(taxonomy.depths), 0)[truth]
    _, numbers, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
    weights = 1.0 / sizes[numbers] if len(rows) else np.zeros(0)

    def judged(among: np.ndarray) -> dict[str, Any]:
        accepted = decisions.nodes != ASK
        kinds = {ANSWER: decisions.is_answer, ANCESTOR: accepted & ~decisions.is_answer, EITHER: accepted}
        return {name: _row(chosen & among, among, right, numbers, weights) for name, chosen in kinds.items()}

    return {
        "state": acceptance.state,
        "says": summary_of(acceptance),
        "promised": acceptance.policy.promised,
        "confidence": acceptance.policy.confidence,
        "answers": acceptance.answers,
        "expected": {ANSWER: acceptance.answer_coverage, ANCESTOR: acceptance.ancestor_coverage},
        "judged": judged(np.ones(len(rows), bool)),
        "by_depth": {str(depth): judged(depths == depth) for depth in np.unique(depths[depths > 0]).tolist()},
    }


def _tree(taxonomy: Taxonomy) -> Subtrees:
    ancestry = np.zeros((len(taxonomy), len(taxonomy.exclusive)), bool)
    for number, node_id in enumerate(taxonomy.exclusive_ids):
        ancestry[taxonomy.chain(node_id), number] = True
    return subtrees_of(ancestry, np.asarray(taxonomy.depths), np.asarray(taxonomy.exclusive))


def _decided(probabilities: np.ndarray, rows: np.ndarray, tree: Subtrees, acceptance: Acceptance) -> Decisions:
    blocks = [rows[start : start + BLOCK_PRODUCTS] for start in range(0, max(1, len(rows)), BLOCK_PRODUCTS)]
    # Logits but for a constant, which a softmax doesn't see.
    found = [decide(np.log(np.maximum(probabilities[block], _TINY)), tree, acceptance.policy) for block in blocks]
    return Decisions(np.concatenate([part.nodes for part in found]), np.concatenate([part.is_answer for part in found]))


def _row(chosen: np.ndarray, among: np.ndarray, right: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    share = share_of(right[chosen], groups[chosen], weights[chosen])
    return {
        "products": int(chosen.sum()),
        "coverage": _ratio(weights[chosen].sum(), weights[among].sum()),
        "precision": share.value if share.judged else None,
        "low": share.low if share.judged else None,
        "high": share.high if share.judged else None,
        "offers": {"coverage": _ratio(chosen.sum(), among.sum()), "precision": _ratio(right[chosen].sum(), chosen.sum())},
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
