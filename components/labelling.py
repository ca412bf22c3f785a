"""Joins rules and people's answers to files of examples, one file at a time; the TFX shell is label_join.py."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from components.example_bytes import first_values, read_records, string_decoder, with_features, without_features
from components.rule_matching import RuleMatcher
from components.rule_report import RuleCounts, rule_report
from schemas import product
from schemas.allowed_nodes import TELLING_KINDS, AllowedNodes, TreeRanges
from schemas.errors import CatalogueError
from schemas.group_answers import question_records
from schemas.label_event import GROUP, RETRACT, SKIP, LabelEvent, not_retracted
from schemas.own_answers import added_up
from schemas.taxonomy import Taxonomy

JOINED, JOINED_BY_GROUP = "joined", "joined_by_group"
UNKNOWN_PRODUCT, UNKNOWN_NODE, NOT_EXCLUSIVE, OTHER_KIND = "unknown_product", "unknown_node", "not_exclusive", "other_kind"
PARTIAL, GROUP_MEMBERS, CONTRADICTED, DROPPED = "partial", "group_members", "contradicted", "dropped"
# Who skips a product may be asked about it again once this many later answers made another model of it.
SKIP_ANSWERS = 500


@dataclass(frozen=True)
class Answer:
    """What people said of a product, and the latest event that says so.

    Attributes:
        node: number of the node it is at, in tree order; `ANYWHERE` where several are left.
        event_id: of the latest event.
        answered_at_ms: of that event.
        allowed: what is left.
        question: id of the question about a group that was answered; empty where the product itself was.
    """

    node: int
    event_id: str
    answered_at_ms: int
    allowed: AllowedNodes = AllowedNodes()
    question: str = ""


@dataclass(frozen=True)
class Answers:
    """People's standing answers, as far as they can be joined.

    Attributes:
        by_product: what answers add up to, about the product itself; one node, or several that are left.
        groups: the group of near-duplicates of those that also answer their group's other products.
        spoken_for: products with a word of their own other than `skip`, which no group answers for.
        left_out: counts of the standing events that are not joined, by reason.
        by_question: what an answer about a group of products says of its members.
        closed: kind of the latest word about a product itself, where it keeps the product from being asked about again.
    """

    by_product: Mapping[str, Answer] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    spoken_for: frozenset[str] = frozenset()
    left_out: Mapping[str, int] = field(default_factory=dict)
    by_question: Mapping[str, Answer] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)


def usable_answers(events: Iterable[LabelEvent], taxonomy: Taxonomy) -> Answers:
    """Returns what people's events say of each product: the nodes that all answers leave, a later one before an earlier one.

    A product's own answers count before those about a group it is in. `cannot_tell` and `bad_data` end what was said before.
    Left out and counted: `unknown_node`, `not_exclusive`, `other_kind` for standing events that say nothing of nodes,
    `contradicted` for events that later ones contradict, and `dropped` for members of group answers that single answers refute.
    """
    ordered = sorted(events, key=lambda event: event.answered_at_ms)
    records = question_records(ordered, taxonomy)
    left_out: Counter[str] = Counter()
    own: dict[str, list[LabelEvent]] = {}
    of_groups: dict[str, list[LabelEvent]] = {}
    for event in not_retracted(ordered):
        if event.source != GROUP:
            own.setdefault(event.product_id, []).append(event)
        elif records[event.question].dropped:
            left_out[DROPPED] += 1
        else:
            of_groups.setdefault(event.product_id, []).append(event)
    reader = _Reader(taxonomy, left_out)
    spoken = {product_id: said for product_id, said in own.items() if said[-1].kind != SKIP or any(e.kind != SKIP for e in said)}
    found = {product_id: reader.answer(said) for product_id, said in spoken.items()}
    by_product = {product_id: answer for product_id, (answer, _) in found.items() if answer}
    grouped = {product_id: reader.answer(said)[0] for product_id, said in of_groups.items() if product_id not in spoken}
    left_out[OTHER_KIND] += sum(product_id not in spoken for product_id in own)
    return Answers(
        by_product,
        {product_id: group for product_id, (answer, group) in found.items() if answer and group},
        frozenset(spoken),
        dict(left_out),
        {product_id: answer for product_id, answer in grouped.items() if answer},
        _closed(own, ordered),
    )


def _closed(own: Mapping[str, Sequence[LabelEvent]], ordered: Sequence[LabelEvent]) -> dict[str, str]:
    """Returns the latest word about each product; a skip is forgotten after `SKIP_ANSWERS` later answers about products."""
    moments = [event.answered_at_ms for event in ordered if event.source != GROUP and event.kind not in (SKIP, RETRACT)]
    found = {}
    for product_id, said in own.items():
        telling = [event for event in said if event.kind != SKIP]
        latest = telling[-1] if telling else said[-1]
        if latest.kind != SKIP or len(moments) - bisect_right(moments, latest.answered_at_ms) < SKIP_ANSWERS:
            found[product_id] = latest.kind
    return found


class _Reader:
    """Adds up what was said of one product after the other, and counts what it can't use."""

    def __init__(self, taxonomy: Taxonomy, left_out: Counter[str]) -> None:
        self._taxonomy, self._tree, self._left_out = taxonomy, TreeRanges(taxonomy), left_out

    def answer(self, said: Sequence[LabelEvent]) -> tuple[Answer | None, str]:
        """Returns what the events add up to, and the group of near-duplicates that the latest of them answers for."""
        own = added_up(said, self._tree, self._taxonomy)
        if own.unread:
            self._left_out[self._reason(own.unread)] += 1
        found = own.found
        self._left_out[CONTRADICTED] += found.contradicted
        if found.allowed is None:
            return None, ""
        latest = found.events[0]
        return Answer(found.allowed.node, latest.event_id, latest.answered_at_ms, found.allowed, latest.question), latest.group

    def _reason(self, event: LabelEvent) -> str:
        if event.kind not in TELLING_KINDS:
            return OTHER_KIND
        is_known = self._taxonomy.resolve(event.node_id) in self._taxonomy
        return NOT_EXCLUSIVE if is_known else UNKNOWN_NODE


def group_answers(answers: Answers, splits: Mapping[str, str]) -> dict[tuple[str, str], Answer]:
    """Returns for each (split, group) the latest answer given to one of its products with the group named.

    One that names a node counts before any that leaves several.

    Args:
        answers: with `groups`.
        splits: the split of each product that names a group; a product that isn't there answers for nobody, so that
            an answer never crosses from one split to the other.
    """
    found: dict[tuple[str, str], Answer] = {}
    for product_id, group in answers.groups.items():
        if product_id in splits:
            key, answer = (splits[product_id], group), answers.by_product[product_id]
            if key not in found or _rank(found[key]) <= _rank(answer):
                found[key] = answer
    return found


def _rank(answer: Answer) -> tuple[bool, int]:
    return answer.node >= 0, answer.answered_at_ms


@dataclass
class LabelCounts:
    """What the join did so far; mergeable."""

    rules: RuleCounts
    joined: int = 0
    joined_by_group: int = 0
    partial: int = 0
    group_members: int = 0

    @classmethod
    def of(cls, num_rules: int) -> LabelCounts:
        """Returns counts of nothing."""
        return cls(RuleCounts(num_rules))

    def merge(self, other: LabelCounts) -> None:
        """Adds what another file gave."""
        self.rules.merge(other.rules)
        self.joined += other.joined
        self.joined_by_group += other.joined_by_group
        self.partial += other.partial
        self.group_members += other.group_members


class Labeller:
    """Appends the label features to batches of serialized examples.

    Args:
        matcher: the rules.
        answers: people's answers.
        by_group: as `group_answers` returns them.
    """

    def __init__(self, matcher: RuleMatcher, answers: Answers, by_group: Mapping[tuple[str, str], Answer] | None = None) -> None:
        self.num_rules = len(matcher.rules)
        self._matcher = matcher
        self._answers = answers
        self._by_group = by_group or {}
        self._node_ids = [node_id.encode() for node_id in matcher.taxonomy.ids]
        self._rule_ids = [rule_id.encode() for rule_id in matcher.rule_ids]
        self._depths = matcher.taxonomy.depths
        # Label features are read too: an example that already carries one must not keep it.
        self._decoder = string_decoder([product.ID, product.GROUP, *matcher.fields], [product.CATEGORY_DEPTH], product.LABEL_FEATURES)

    def label(self, records: Sequence[bytes], split: str, counts: LabelCounts, place: str = "examples") -> list[bytes]:
        """Returns the records, in order, with their label features; a record's other bytes stay as they are.

        Rules are judged by the answers of every split but `test`, so that nobody tunes a rule on the judged split.

        Raises:
            CatalogueError: a record isn't a `tf.train.Example`, has no id, or has a field of another type.
        """
        columns = self._columns(records, place)
        texts = {name: columns[name] for name in self._matcher.fields}
        labelled = []
        for row, record in enumerate(records):
            product_id = _required_id(columns[product.ID][row], place)
            fired = self._matcher.fired({name: column[row] for name, column in texts.items() if column[row]})
            standing = self._matcher.standing(fired)
            answer = self._answer(product_id, columns[product.GROUP][row], split, counts)
            judge = answer.node if answer and answer.node >= 0 and not answer.question and split != product.TEST else None
            counts.rules.add(self._matcher, fired, standing, judge)
            if any(columns[name][row] is not None for name in product.LABEL_FEATURES):
                record = without_features(record, product.LABEL_FEATURES)
            labelled.append(with_features(record, self._features(fired, standing, answer, self._answers.closed.get(product_id, ""))))
        return labelled

    def _columns(self, records: Sequence[bytes], place: str) -> dict[str, list[Any]]:
        try:
            batch = self._decoder.DecodeBatch(list(records))
        except RuntimeError as error:
            raise CatalogueError(f"{place}: an example can't be read: {error}. Expected tf.train.Example with text fields.") from None
        return {name: first_values(batch.column(i)) for i, name in enumerate(batch.schema.names)}

    def _answer(self, product_id: str, group: str | None, split: str, counts: LabelCounts) -> Answer | None:
        answer = self._answers.by_product.get(product_id)
        if answer is not None:
            counts.joined += 1
        elif product_id not in self._answers.spoken_for:
            answer = self._by_group.get((split, group)) if group is not None else None
            counts.joined_by_group += answer is not None
            if answer is None and split != product.TEST:  # Nobody looked at it: it must not judge.
                answer = self._answers.by_question.get(product_id)
                counts.group_members += answer is not None
        counts.partial += answer is not None and answer.node < 0
        return answer

    def _features(self, fired: Sequence[int], standing: Sequence[int], answer: Answer | None, closed: str) -> bytes:
        if not fired and answer is None and not closed:
            return b""
        example = tf.train.Example()
        feature = example.features.feature
        if fired:
            feature[product.RULE_IDS].bytes_list.value.extend([self._rule_ids[i] for i in fired])
        if standing:
            feature[product.RULE_NODES].bytes_list.value.extend([self._node_ids[i] for i in self._matcher.closure(standing)])
        if closed:
            feature[product.ANSWER_KIND].bytes_list.value.append(closed.encode())
        if answer is not None:
            feature[product.ANSWER_EVENT].bytes_list.value.append(answer.event_id.encode())
            self._add_nodes(feature, answer)
        return bytes(example.features.SerializeToString(deterministic=True))

    def _add_nodes(self, feature: Any, answer: Answer) -> None:
        if answer.question:
            feature[product.ANSWER_QUESTION].bytes_list.value.append(answer.question.encode())
        if answer.node >= 0:
            feature[product.GROUP_NODE if answer.question else product.ANSWER_NODE].bytes_list.value.append(self._node_ids[answer.node])
            if not answer.question:
                feature[product.CATEGORY_DEPTH].int64_list.value.append(self._depths[answer.node])
            return
        if answer.allowed.under >= 0:
            feature[product.ANSWER_UNDER].bytes_list.value.append(self._node_ids[answer.allowed.under])
        if answer.allowed.excluded:
            feature[product.ANSWER_NOT].bytes_list.value.extend([self._node_ids[i] for i in answer.allowed.excluded])


def _required_id(product_id: str | None, place: str) -> str:
    if not product_id:
        raise CatalogueError(f"{place}: an example has no {product.ID!r}. Expected the examples that ProductExampleGen writes.")
    return product_id


def label_file(labeller: Labeller, split: str, source: str, target: str) -> LabelCounts:
    """Writes one labelled file, in the order of its source, and returns what it counted."""
    counts = LabelCounts.of(labeller.num_rules)
    with tf.io.TFRecordWriter(target, options=tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)) as writer:
        for records in read_records(source):
            for record in labeller.label(records, split, counts, source):
                writer.write(record)
    return counts


def products_in(path: str, product_ids: frozenset[str]) -> set[str]:
    """Returns which of the products a file holds."""
    decoder = string_decoder([product.ID])
    found: set[str] = set()
    for records in read_records(path):
        found.update(product_ids.intersection(first_values(decoder.DecodeBatch(records).column(0))))
    return found


def join_report(counts: LabelCounts, answers: Answers, matcher: RuleMatcher) -> dict[str, Any]:
    """Returns the content of `rule_report.json`, with `labels`: how many were joined, and left out by reason."""
    labels = {
        JOINED: counts.joined,
        JOINED_BY_GROUP: counts.joined_by_group,
        UNKNOWN_PRODUCT: len(answers.by_product) - counts.joined,
        **{reason: answers.left_out.get(reason, 0) for reason in (UNKNOWN_NODE, NOT_EXCLUSIVE, OTHER_KIND, CONTRADICTED, DROPPED)},
        PARTIAL: counts.partial,
        GROUP_MEMBERS: counts.group_members,
    }
    return rule_report(counts.rules, matcher.rules, matcher.taxonomy, labels)


def report_json(report: Mapping[str, Any]) -> str:
    """Returns the report as text, the same for the same content."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"
