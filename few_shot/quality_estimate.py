"""Estimates how often the live model is right, from answers to products that were drawn at random: the audit share of batches."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from few_shot.proportions import Share, share_of
from schemas.allowed_nodes import TELLING_KINDS, TreeRanges
from schemas.label_event import GROUP, SKIP, LabelEvent, not_retracted, standing_events
from schemas.own_answers import added_up
from schemas.taxonomy import Taxonomy

AUDIT = "audit"
# What people's answers say of a suggestion, at the answer and at each depth; `UNREACHED` where the true node isn't so deep.
WRONG, RIGHT, OPEN, UNREACHED = 0, 1, 2, 3
_NOT_IN_THE_TREE = "node not in the tree"
# Answers about earlier versions are taken in until there are so many: an interval of about ten points.
ENOUGH = 200


@dataclass(frozen=True)
class AuditAnswers:
    """n products that people said something of, beside what the model said when their batch was drawn.

    Attributes:
        verdicts: int8 `[n, 1 + D]`, whether the node the model thought best is right, and its ancestor at each of D depths: `RIGHT`,
            `WRONG`, `OPEN` where people said too little to tell, `UNREACHED` where the true node isn't so deep.
        versions: int64 `[n]`, of the model; 0 where it never went live.
        groups: int64 `[n]`, equal for near-duplicates.
        left_out: audited products that can't be judged, counted by why.
    """

    verdicts: np.ndarray
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
        undecided: products, of those pooled, of which people said too little to tell whether their node is right.
        undecided_by_depth: depth to how many of which it can't be told there, where there are any.
        left_out: as in `AuditAnswers`.
    """

    versions: tuple[int, ...]
    at_answer: Share
    by_depth: Mapping[int, Share]
    by_version: Mapping[int, Share]
    undecided: int
    undecided_by_depth: Mapping[int, int]
    left_out: Mapping[str, int]


def read_audit_answers(events: Iterable[LabelEvent], taxonomy: Taxonomy) -> AuditAnswers:
    """Returns the audited products among label events, each judged by all that people said of it.

    It is judged by the first suggestion that was shown when it was first audited, which is what the model of that batch thought best. That
    it is `not` there is a mistake as much as naming another node is: were only named nodes counted, the model would look better than it is.
    Left out is a product that people couldn't tell, one without a suggestion, and one whose nodes aren't in the tree.

    Args:
        events: in the order they were appended; those taken back don't count, nor do answers about groups.
        taxonomy: the tree as it is now; replaced nodes count as what replaced them.
    """
    tree, chains = TreeRanges(taxonomy), _chains(taxonomy)
    rows, left_out = [], Counter[str]()
    for said in _by_product(events):
        audits = [event for event in said if event.shown.get("stream") == AUDIT]
        if not audits:
            continue
        best = taxonomy.resolve(_first(audits[0].shown.get("suggestions")))
        truth = _possible(said, tree, taxonomy)
        if isinstance(truth, str):
            left_out[truth] += 1
        elif not best:
            left_out["nothing suggested"] += 1
        elif best not in taxonomy:
            left_out[_NOT_IN_THE_TREE] += 1
        else:
            verdicts = _verdicts(chains, taxonomy.index(best), np.array(truth))
            rows.append((*verdicts, _version(audits[0].shown.get("version")), _group(audits[0])))
    table = np.array(rows, np.int64).reshape(-1, chains.shape[1] + 3)
    return AuditAnswers(table[:, :-2].astype(np.int8), table[:, -2], table[:, -1], dict(left_out))


def _by_product(events: Iterable[LabelEvent]) -> Iterable[list[LabelEvent]]:
    """Returns for each product what people said of it alone, in order; skips say nothing."""
    found: dict[str, list[LabelEvent]] = {}
    for event in not_retracted(events):
        if event.kind != SKIP and event.source != GROUP:
            found.setdefault(event.product_id, []).append(event)
    return found.values()


def _possible(said: Sequence[LabelEvent], tree: TreeRanges, taxonomy: Taxonomy) -> list[int] | str:
    """Returns the numbers of the nodes that are left by what was said of a product, or why there is no telling."""
    own = added_up(said, tree, taxonomy)
    if own.found.allowed is not None:
        return tree.left(own.found.allowed)
    return own.unread.kind if own.unread and own.unread.kind not in TELLING_KINDS else _NOT_IN_THE_TREE


def _chains(taxonomy: Taxonomy) -> np.ndarray:
    """Returns each node's ancestors from the root down, itself last, int64 `[N, D]`, -1 below it."""
    chains = np.full((len(taxonomy), max(taxonomy.depths, default=0)), -1, np.int64)
    for number, node_id in enumerate(taxonomy.ids):
        chain = taxonomy.chain(node_id)
        chains[number, : len(chain)] = chain
    return chains


def _verdicts(chains: np.ndarray, said: int, possible: np.ndarray) -> list[int]:
    """Returns the verdict at the answer and at each depth on a node, where the true one is among those possible."""
    found = [_verdict(possible == said)]
    for place in range(chains.shape[1]):
        true = chains[possible, place]
        if (true < 0).all():
            found.append(UNREACHED)
        else:  # One that may not be so deep can't be called wrong there: it may be none of those the depth is about.
            found.append(_verdict(true == chains[said, place]) if (true >= 0).all() else OPEN)
    return found


def _verdict(agrees: np.ndarray) -> int:
    return RIGHT if agrees.all() else OPEN if agrees.any() else WRONG


def estimate_quality(answers: AuditAnswers, weights: np.ndarray | None = None, enough: int = ENOUGH) -> QualityEstimate:
    """Returns the quality of the latest model that audit answers judged.

    Answers about the latest version come first; where they are fewer than `enough`, whole earlier versions join, latest first. An earlier
    version had fewer answers to learn from and is most often worse, so a pooled estimate leans to the low side.

    Where people said too little to tell whether a node is right, it counts by half, and the interval goes from what it would be were all of
    these wrong to what it would be were they right.

    Args:
        answers: of the audit share.
        weights: float `[n]`, above 0, what each product stands for, such as the offers of its group; None: different products count alike.
        enough: answers to pool at least, where there are so many.
    """
    weights = np.ones(len(answers.verdicts)) if weights is None else weights
    versions = np.unique(answers.versions)[::-1].tolist()
    pooled = _pooled(answers.versions, versions, enough)
    chosen = np.isin(answers.versions, pooled)

    def share(rows: np.ndarray, place: int) -> Share:
        judged = np.flatnonzero(rows & (answers.verdicts[:, place] != UNREACHED))
        return _share(answers.verdicts[judged, place], answers.groups[judged], weights[judged])

    by_depth = {depth: share(chosen, depth) for depth in range(1, answers.verdicts.shape[1])}
    undecided = (answers.verdicts[chosen] == OPEN).sum(axis=0).tolist()
    by_version = {version: share(answers.versions == version, 0) for version in versions}
    return QualityEstimate(
        tuple(pooled),
        share(chosen, 0),
        {depth: found for depth, found in by_depth.items() if found.judged},
        by_version,
        undecided[0],
        {depth: count for depth, count in enumerate(undecided) if depth and count},
        answers.left_out,
    )


def _share(verdicts: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> Share:
    worst, best = share_of(verdicts == RIGHT, groups, weights), share_of(verdicts != WRONG, groups, weights)
    return replace(worst, value=(worst.value + best.value) / 2, high=best.high)


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
    given = np.sort([event.answered_at_ms for event in standing if event.kind in TELLING_KINDS])
    since: dict[int, int] = {}
    for event in events:
        if event.shown.get("stream") == AUDIT:
            version = _version(event.shown.get("version"))
            since[version] = min(event.answered_at_ms, since.get(version, event.answered_at_ms))
    found = estimate_quality(read_audit_answers(events, taxonomy)).by_version
    curve = [Measured(int(np.searchsorted(given, since[version])), right) for version, right in found.items()]
    return sorted(curve, key=lambda each: each.answers)


def as_json(found: QualityEstimate) -> dict[str, Any]:
    """Returns an estimate as an object whose keys are the attributes; shares of nothing are null."""
    return {
        "versions": list(found.versions),
        "at_answer": _as_json(found.at_answer),
        "by_depth": {str(depth): _as_json(share) for depth, share in found.by_depth.items()},
        "by_version": {str(version): _as_json(share) for version, share in found.by_version.items()},
        "undecided": found.undecided,
        "undecided_by_depth": {str(depth): count for depth, count in found.undecided_by_depth.items()},
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


def _first(suggestions: object) -> str:
    found = suggestions[0] if isinstance(suggestions, list) and suggestions else ""
    found = found.get("node_id") if isinstance(found, dict) else found
    return found if isinstance(found, str) else ""


def _version(version: object) -> int:
    return version if isinstance(version, int) and 0 <= version < 2**62 else 0


def _group(event: LabelEvent) -> int:
    return zlib.crc32((event.group or f"product {event.product_id}").encode())
