"""Joins rules and people's answers to files of examples, one file at a time; the TFX shell is label_join.py."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from components.example_bytes import first_values, read_records, string_decoder, with_features, without_features
from components.rule_matching import RuleMatcher
from components.rule_report import RuleCounts, rule_report
from schemas import product
from schemas.errors import CatalogueError
from schemas.label_event import IS, SKIP, LabelEvent, standing_events
from schemas.taxonomy import Taxonomy

JOINED, JOINED_BY_GROUP = "joined", "joined_by_group"
UNKNOWN_PRODUCT, UNKNOWN_NODE, NOT_EXCLUSIVE, OTHER_KIND = "unknown_product", "unknown_node", "not_exclusive", "other_kind"


@dataclass(frozen=True)
class Answer:
    """The category a person gave a product: number of the node in tree order, and the event that says so."""

    node: int
    event_id: str
    answered_at_ms: int


@dataclass(frozen=True)
class Answers:
    """People's standing answers, as far as they can be joined.

    `by_product` answers a product; `groups` names the group of those that also answer their group's other products;
    `spoken_for` are products with a word of their own other than `skip`, which no group answers for; `left_out` counts
    the standing events that are not joined, by reason.
    """

    by_product: Mapping[str, Answer] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    spoken_for: frozenset[str] = frozenset()
    left_out: Mapping[str, int] = field(default_factory=dict)


def usable_answers(events: Iterable[LabelEvent], taxonomy: Taxonomy) -> Answers:
    """Returns the standing answers of kind `is` whose node, or the one it was replaced by, may be a final answer.

    Left out and counted: `unknown_node`, `not_exclusive`, and `other_kind` for all the kinds that other work reads.
    """
    by_product: dict[str, Answer] = {}
    groups: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    standing = standing_events(events)
    for product_id, event in standing.items():
        if event.kind != IS:
            left_out[OTHER_KIND] += 1
            continue
        node_id = taxonomy.resolve(event.node_id)
        if node_id not in taxonomy:  # type: ignore[comparison-overlap]
            left_out[UNKNOWN_NODE] += 1
        elif not taxonomy.node(node_id).exclusive:
            left_out[NOT_EXCLUSIVE] += 1
        else:
            by_product[product_id] = Answer(taxonomy.index(node_id), event.event_id, event.answered_at_ms)
            if event.group:
                groups[product_id] = event.group
    spoken_for = frozenset(product_id for product_id, event in standing.items() if event.kind != SKIP)
    return Answers(by_product, groups, spoken_for, dict(left_out))


def group_answers(answers: Answers, splits: Mapping[str, str]) -> dict[tuple[str, str], Answer]:
    """Returns for each (split, group) the latest answer given to one of its products with the group named.

    Args:
        answers: with `groups`.
        splits: the split of each product that names a group; a product that isn't there answers for nobody, so that
            an answer never crosses from one split to the other.
    """
    found: dict[tuple[str, str], Answer] = {}
    for product_id, group in answers.groups.items():
        if product_id in splits:
            key, answer = (splits[product_id], group), answers.by_product[product_id]
            if key not in found or found[key].answered_at_ms <= answer.answered_at_ms:
                found[key] = answer
    return found


@dataclass
class LabelCounts:
    """What the join did so far; mergeable."""

    rules: RuleCounts
    joined: int = 0
    joined_by_group: int = 0

    @classmethod
    def of(cls, num_rules: int) -> LabelCounts:
        """Returns counts of nothing."""
        return cls(RuleCounts(num_rules))

    def merge(self, other: LabelCounts) -> None:
        """Adds what another file gave."""
        self.rules.merge(other.rules)
        self.joined += other.joined
        self.joined_by_group += other.joined_by_group


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
            counts.rules.add(self._matcher, fired, standing, None if answer is None or split == product.TEST else answer.node)
            if any(columns[name][row] is not None for name in product.LABEL_FEATURES):
                record = without_features(record, product.LABEL_FEATURES)
            labelled.append(with_features(record, self._features(fired, standing, answer)))
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
            return answer
        if group is None or product_id in self._answers.spoken_for:
            return None
        answer = self._by_group.get((split, group))
        counts.joined_by_group += answer is not None
        return answer

    def _features(self, fired: Sequence[int], standing: Sequence[int], answer: Answer | None) -> bytes:
        if not fired and answer is None:
            return b""
        example = tf.train.Example()
        feature = example.features.feature
        if fired:
            feature[product.RULE_IDS].bytes_list.value.extend([self._rule_ids[i] for i in fired])
        if standing:
            feature[product.RULE_NODES].bytes_list.value.extend([self._node_ids[i] for i in self._matcher.closure(standing)])
        if answer is not None:
            feature[product.ANSWER_NODE].bytes_list.value.append(self._node_ids[answer.node])
            feature[product.ANSWER_EVENT].bytes_list.value.append(answer.event_id.encode())
            feature[product.CATEGORY_DEPTH].int64_list.value.append(self._depths[answer.node])
        return bytes(example.features.SerializeToString(deterministic=True))


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
        **{reason: answers.left_out.get(reason, 0) for reason in (UNKNOWN_NODE, NOT_EXCLUSIVE, OTHER_KIND)},
    }
    return rule_report(counts.rules, matcher.rules, matcher.taxonomy, labels)


def report_json(report: Mapping[str, Any]) -> str:
    """Returns the report as text, the same for the same content."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"
