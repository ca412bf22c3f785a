"""Estimates how often the live model is right, from answers to products that were drawn at random: the audit share of batches."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from few_shot.proportions import Share, share_of
from schemas.label_event import IS, LabelEvent, standing_events
from schemas.taxonomy import Taxonomy

AUDIT = "audit"
# Answers about earlier versions are taken in until there are so many: an interval of about ten points.
ENOUGH = 200


@dataclass(frozen=True)
class AuditAnswers:
    """n answers of people beside what the model said when their batch was drawn.

    Attributes:
        said: int64 `[n]`, number of the node the model thought best, in tree order.
        answered: int64 `[n]`, number of the node that people named.
        versions: int64 `[n]`, of the model; 0 where it never went live.
        groups: int64 `[n]`, equal for near-duplicates.
        left_out: audit answers that can't be judged, counted by why.
    """

    said: np.ndarray
    answered: np.ndarray
    versions: np.ndarray
    groups: np.ndarray
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class QualityEstimate:
    """How good the model is on products that nobody has answered.

    Attributes:
        versions: whose answers are pooled, newest first; empty without any.
        at_answer: share of products whose node is right.
        by_depth: depth to the share of products, of those whose true node is so deep or deeper, whose ancestor there is right.
        by_version: version to the share at the answer, newest first, pooled or not.
        left_out: as in `AuditAnswers`.
    """

    versions: tuple[int, ...]
    at_answer: Share
    by_depth: Mapping[int, Share]
    by_version: Mapping[int, Share]
    left_out: Mapping[str, int]


def read_audit_answers(events: Iterable[LabelEvent], taxonomy: Taxonomy) -> AuditAnswers:
    """Returns the audit answers among label events; what people took back or answered anew counts as `standing_events` has it.

    An answer is judged by the first suggestion that was shown with the product, which is what the model of that batch thought best. It is
    left out where it names no node ("cannot_tell" and the like), where nothing was suggested, or where either node isn't in the tree.

    Args:
        events: in the order they were appended.
        taxonomy: the tree as it is now; replaced nodes count as what replaced them.
    """
    rows, left_out, known = [], Counter[str](), set(taxonomy.ids)
    for event in standing_events(events).values():
        if event.shown.get("stream") != AUDIT:
            continue
        said = _first(event.shown.get("suggestions"))
        nodes = [taxonomy.resolve(node_id) for node_id in (said, event.node_id)]
        if event.kind != IS:
            left_out[event.kind] += 1
        elif not said:
            left_out["nothing suggested"] += 1
        elif not known.issuperset(nodes):
            left_out["node not in the tree"] += 1
        else:
            rows.append((*map(taxonomy.index, nodes), _version(event.shown.get("version")), _group(event)))
    table = np.array(rows, np.int64).reshape(-1, 4)
    return AuditAnswers(table[:, 0], table[:, 1], table[:, 2], table[:, 3], dict(left_out))


def estimate_quality(answers: AuditAnswers, taxonomy: Taxonomy, weights: np.ndarray | None = None, enough: int = ENOUGH) -> QualityEstimate:
    """Returns the quality of the latest model that audit answers judged.

    Answers about the latest version come first; where they are fewer than `enough`, whole earlier versions join, latest first. An earlier
    version had fewer answers to learn from and is most often worse, so a pooled estimate leans to the low side.

    Args:
        answers: of the audit share.
        taxonomy: the tree they are numbered in.
        weights: float `[n]`, above 0, what each product stands for, such as the offers of its group; None: different products count alike.
        enough: answers to pool at least, where there are so many.
    """
    weights = np.ones(len(answers.said)) if weights is None else weights
    right = answers.said == answers.answered
    versions = np.unique(answers.versions)[::-1].tolist()
    pooled = _pooled(answers.versions, versions, enough)
    chosen = np.isin(answers.versions, pooled)

    def share(rows: np.ndarray, correct: np.ndarray) -> Share:
        return share_of(correct[rows], answers.groups[rows], weights[rows])

    by_depth = {
        depth: share(chosen & reaches, agrees) for depth, reaches, agrees in _agreement(answers, taxonomy) if (chosen & reaches).any()
    }
    by_version = {version: share(answers.versions == version, right) for version in versions}
    return QualityEstimate(tuple(pooled), share(chosen, right), by_depth, by_version, answers.left_out)


@dataclass(frozen=True)
class Measured:
    """How good one model was.

    Attributes:
        answers: that people had given when it was first judged.
        right: share of judged products whose node is right.
    """

    answers: int
    right: Share


def quality_by_answers(events: Sequence[LabelEvent], taxonomy: Taxonomy) -> list[Measured]:
    """Returns what audit answers say of each model they judged, from the fewest answers to the most: a curve to read advice from.

    Args:
        events: in the order they were appended.
        taxonomy: the tree as it is now.
    """
    standing = standing_events(events).values()
    given = np.sort([event.answered_at_ms for event in standing if event.kind == IS])
    audits = [event for event in standing if event.shown.get("stream") == AUDIT]
    since: dict[int, int] = {}
    for event in audits:
        version = _version(event.shown.get("version"))
        since[version] = min(event.answered_at_ms, since.get(version, event.answered_at_ms))
    found = estimate_quality(read_audit_answers(audits, taxonomy), taxonomy).by_version
    curve = [Measured(int(np.searchsorted(given, since[version])), right) for version, right in found.items()]
    return sorted(curve, key=lambda each: each.answers)


def as_json(found: QualityEstimate) -> dict[str, Any]:
    """Returns an estimate as an object: `versions`, `at_answer`, `by_depth`, `by_version`, `left_out`; shares of nothing are null."""
    return {
        "versions": list(found.versions),
        "at_answer": _as_json(found.at_answer),
        "by_depth": {str(depth): _as_json(share) for depth, share in found.by_depth.items()},
        "by_version": {str(version): _as_json(share) for version, share in found.by_version.items()},
        "left_out": dict(found.left_out),
    }


def _as_json(share: Share) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else round(value, 4) for name, value in asdict(share).items()}


def _pooled(of_answers: np.ndarray, versions: list[int], enough: int) -> list[int]:
    pooled: list[int] = []
    for version in versions:
        if pooled and np.isin(of_answers, pooled).sum() >= enough:
            break
        pooled.append(version)
    return pooled


def _agreement(answers: AuditAnswers, taxonomy: Taxonomy) -> Iterable[tuple[int, np.ndarray, np.ndarray]]:
    """Yields each depth, which true nodes reach it, and where the ancestors there agree."""
    chains = np.full((len(taxonomy) + 1, max(taxonomy.depths, default=0)), -1, np.int64)
    for number, node_id in enumerate(taxonomy.ids):
        chain = taxonomy.chain(node_id)
        chains[number, : len(chain)] = chain
    for place in range(chains.shape[1]):
        truth = chains[answers.answered, place]
        yield place + 1, truth >= 0, truth == chains[answers.said, place]


def _first(suggestions: object) -> str:
    found = suggestions[0] if isinstance(suggestions, list) and suggestions else ""
    found = found.get("node_id") if isinstance(found, dict) else found
    return found if isinstance(found, str) else ""


def _version(version: object) -> int:
    return version if isinstance(version, int) and 0 <= version < 2**62 else 0


def _group(event: LabelEvent) -> int:
    return zlib.crc32((event.group or f"product {event.product_id}").encode())
