"""Turns an answer about a group of products into events of its members, and says when such an answer is to be believed no longer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.allowed_nodes import TELLING_KINDS, AllowedNodes, TreeRanges
from schemas.errors import LabelError
from schemas.label_event import CANNOT_TELL, GROUP, IS, RETRACT, SKIP, UNDER, LabelEvent, parse_label_event
from schemas.taxonomy import Taxonomy

MIXED = "mixed"
STANDS, DROPPED, RETRACTED = "stands", "dropped", "retracted"
GROUP_KINDS = (IS, UNDER, MIXED, SKIP, CANNOT_TELL)
EXAMPLES = 5
# A group's answer is dropped where we expect less than this share of its members to agree with it. The examples were seen by the
# person who answered, so they count as agreeing.
MIN_AGREEMENT = 0.75


@dataclass(frozen=True)
class QuestionRecord:
    """How an answer about a group stands.

    Attributes:
        question: id of the question.
        kind: `is`, `under`, or `mixed` where the answer says nothing about the members.
        node_id: of the answer.
        members: products that have a standing event of it.
        agreed: members with an answer of their own that agrees.
        contradicted: members with an answer of their own that doesn't.
        retracted: whether all its events were taken back.
    """

    question: str
    kind: str
    node_id: str
    members: int
    agreed: int
    contradicted: int
    retracted: bool

    @property
    def expected_agreement(self) -> float:
        """The mean of the Beta posterior of the share of members that agree, after one success and one failure that nobody saw."""
        agreed = EXAMPLES + self.agreed
        return (1 + agreed) / (2 + agreed + self.contradicted)

    @property
    def dropped(self) -> bool:
        """Whether answers about single members speak against it."""
        return self.expected_agreement < MIN_AGREEMENT

    @property
    def state(self) -> str:
        """What became of it: `stands`, `dropped` or `retracted`."""
        return RETRACTED if self.retracted else DROPPED if self.dropped else STANDS


def question_records(events: Iterable[LabelEvent], taxonomy: Taxonomy) -> dict[str, QuestionRecord]:
    """Returns every question about a group that somebody answered, by id, in the order of their first answers.

    An answer about a product alone is a witness for or against the group's: it agrees where both can be true.

    >>> from schemas.taxonomy import Node
    >>> tree = Taxonomy([Node("b", "", "Boots", True), Node("k", "", "Kids", True)])
    >>> events = [LabelEvent(f"e{i}", 1, "ann", f"p{i}", "is", "b", source="group", question="q") for i in range(9)]
    >>> question_records(events, tree)["q"].state
    'stands'
    >>> said = [LabelEvent(f"s{i}", 2, "bob", f"p{i}", "is", "k") for i in range(3)]
    >>> question_records(events + said, tree)["q"].state
    'dropped'

    Args:
        events: all there are.
        taxonomy: the tree; an answer about a node that isn't in it says nothing.
    """
    ordered = sorted(events, key=lambda event: event.answered_at_ms)
    retracted = {event.retracts for event in ordered if event.kind == RETRACT}
    tree = TreeRanges(taxonomy)
    own: dict[str, AllowedNodes] = {}
    questions: dict[str, dict[str, LabelEvent]] = {}
    for event in ordered:
        if event.kind == RETRACT:
            continue
        if event.source == GROUP:
            members = questions.setdefault(event.question, {})
            if event.event_id not in retracted:
                members[event.product_id] = event
        elif event.event_id not in retracted:
            found = meaning(event, tree, taxonomy)
            if found is not None:
                own[event.product_id] = found
    return {question: _record(question, members, own, tree, taxonomy) for question, members in questions.items()}


def meaning(event: LabelEvent, tree: TreeRanges, taxonomy: Taxonomy) -> AllowedNodes | None:
    """Returns what one event leaves of the tree; None where it names no node of it, or one that can't be a final answer."""
    if event.kind not in TELLING_KINDS:
        return None
    node_id = taxonomy.resolve(event.node_id)
    if node_id not in taxonomy:
        return None
    if event.kind == IS and not taxonomy.node(node_id).exclusive:
        return None
    return tree.said(event.kind, taxonomy.index(node_id))


def _record(
    question: str, members: Mapping[str, LabelEvent], own: Mapping[str, AllowedNodes], tree: TreeRanges, taxonomy: Taxonomy
) -> QuestionRecord:
    agreed = contradicted = 0
    for product_id, event in members.items():
        said = meaning(event, tree, taxonomy)
        if said is not None and product_id in own:
            holds = tree.both(said, own[product_id]) is not None
            agreed, contradicted = agreed + holds, contradicted + (not holds)
    telling = [event for event in members.values() if event.kind in (IS, UNDER)]
    kind, node_id = (telling[-1].kind, telling[-1].node_id) if telling else (MIXED, "")
    return QuestionRecord(question, kind, node_id, len(members), agreed, contradicted, not members)


@dataclass(frozen=True)
class GroupQuestion:
    """What a batch says of a group that was asked about.

    Attributes:
        question: id.
        members: ids of its products.
        examples: ids of those that were shown.
        batch: id of the batch.
        version: of the model that chose it, 0 for none.
    """

    question: str
    members: Sequence[str]
    examples: Sequence[str]
    batch: str = ""
    version: int = 0


def member_events(answer: Mapping[str, Any], asked: GroupQuestion) -> list[LabelEvent]:
    """Returns an answer as events: of every member where it names a node, else a skip of each example, so that it isn't asked again.

    Their ids follow from the answer's, so that it can be imported twice. The time it took stands at the first.

    Args:
        answer: `event_id`, `answered_at_ms`, `labeller`, `kind`, and `node_id` and `duration_ms` where there are.
        asked: the question.
    """
    tells = answer["kind"] in (IS, UNDER)
    shown = {"batch": asked.batch, "version": asked.version, "examples": list(asked.examples), "answer": "" if tells else answer["kind"]}
    return [
        LabelEvent(
            event_id=f"{answer['event_id']}.{number}",
            answered_at_ms=answer["answered_at_ms"],
            labeller=answer["labeller"],
            product_id=product_id,
            kind=answer["kind"] if tells else SKIP,
            node_id=answer.get("node_id", "") if tells else "",
            duration_ms=0 if number else answer.get("duration_ms", 0),
            shown={} if number else {name: value for name, value in shown.items() if value},
            source=GROUP,
            question=asked.question,
        )
        for number, product_id in enumerate(asked.members if tells else asked.examples)
    ]


def parse_answer_line(line: str, place: str, asked: Mapping[str, GroupQuestion]) -> list[LabelEvent]:
    """Reads a line of answers: a label event, or an answer about a group, which names a `question` and no product.

    Raises:
        LabelError: as `parse_label_event`; or a question that no batch at hand asked. Starts with `place`.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or "question" not in row or "product_id" in row:
        return [parse_label_event(line, place)]
    kind = row.get("kind")
    if kind not in GROUP_KINDS:
        raise LabelError(f"{place}: kind {kind!r} is no answer about a group. Known: {', '.join(GROUP_KINDS)}.")
    # Everything else is read as an event is, about a product that stands for the group.
    named = {"product_id": "group", "source": GROUP, "kind": SKIP if kind == MIXED else kind}
    event = parse_label_event(json.dumps({**row, **named}), place)
    if event.question not in asked:
        raise LabelError(f"{place}: question {event.question!r} isn't in a batch that was named. Pass its folder: --batch BATCH.")
    answer = {name: getattr(event, name) for name in ("event_id", "answered_at_ms", "labeller", "node_id", "duration_ms")}
    # Ids of members come from a file, and theirs from the answer's: what the store couldn't give back must not get in.
    return [parse_label_event(each.to_json(), place) for each in member_events({**answer, "kind": kind}, asked[event.question])]
