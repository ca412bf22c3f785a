"""Reads the phrases of rules through the transform graph, as if they were products, to know them again in a bag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.cleaning import clean_text
from schemas.features import CHARACTERS, SEQUENCE, TEXT, Feature
from schemas.rules import Rule
from schemas.taxonomy import Taxonomy
from trainer_module.layout import Layout
from trainer_module.preprocessing import fold_in_graph
from trainer_module.raw_products import raw_products

_AT_ONCE = 2048


@dataclass(frozen=True)
class RulePhrases:
    """P phrases, each the columns that a product's bag has where its field holds the phrase.

    With pairs of words among the tokens that is the phrase as it stands; a pair the vocabulary doesn't have may be apart.

    Attributes:
        table: int64 `[P, L]`, a phrase's columns, the one that fewest phrases have first, -1 after the last.
        nodes: int64 `[P]`, in tree order, where the rule puts the product.
        num_columns: of the bag.
    """

    table: np.ndarray
    nodes: np.ndarray
    num_columns: int

    def by_first_column(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns int64 `[num_columns + 1]` and `[P]`: the phrases that start with column c are `order[starts[c]:starts[c + 1]]`."""
        order = np.argsort(self.table[:, 0], kind="stable")
        return np.searchsorted(self.table[order, 0], np.arange(self.num_columns + 1)), order


def phrases_of(columns: Sequence[np.ndarray], nodes: Sequence[int], num_columns: int) -> RulePhrases:
    """Returns phrases by their columns, the same phrase of a node once.

    Args:
        columns: int64, at least one a phrase.
        nodes: in tree order, one a phrase.
        num_columns: of the bag.
    """
    pairs = sorted({(tuple(np.sort(each).tolist()), node) for each, node in zip(columns, nodes, strict=True)})
    phrases = dict.fromkeys(phrase for phrase, _ in pairs)
    # A product is compared with the phrases whose first column it has: with few, if many phrases have a column in common.
    used = np.bincount([column for phrase in phrases for column in phrase], minlength=num_columns)
    table = np.full((len(pairs), max((len(phrase) for phrase in phrases), default=1)), -1, np.int64)
    for row, (phrase, _) in zip(table, pairs, strict=True):
        row[: len(phrase)] = sorted(phrase, key=lambda column: (used[column], column))
    return RulePhrases(table, np.array([node for _, node in pairs], np.int64), num_columns)


def no_phrases(num_columns: int) -> RulePhrases:
    """Returns none."""
    return phrases_of([], [], num_columns)


def rule_phrases(
    rules: Sequence[Rule], taxonomy: Taxonomy, layout: Layout, layer: Callable[[dict[str, Any]], dict[str, Any]]
) -> RulePhrases:
    """Returns the phrases of the rules that the bag can tell: of a field whose words are a feature, each of them in its vocabulary.

    Vetoes and regexes aren't among them; the rule_based head learns what they say. Phrases are cleaned as products are; accents,
    which the matcher folds, are letters of their own here.

    Args:
        rules: as analysts wrote them.
        taxonomy: the nodes.
        layout: which column is which.
        layer: the transform graph.
    """
    wanted: defaultdict[str, dict[str, set[int]]] = defaultdict(dict)  # field, phrase, nodes
    for rule in rules:
        if rule.phrase and not rule.veto:
            wanted[rule.field].setdefault(clean_text(rule.phrase), set()).add(taxonomy.index(taxonomy.resolve(rule.node_id)))
    parts: list[np.ndarray] = []
    nodes: list[int] = []
    for field, nodes_of in wanted.items():
        feature = _words_of(field, layout)
        if feature is None:
            continue
        phrases = list(nodes_of)
        for start in range(0, len(phrases), _AT_ONCE):
            block = phrases[start : start + _AT_ONCE]
            bag = layout.inputs(layer(raw_products(block, {field}, layout.features))).bag
            columns = _known_in_full(block, feature, layout, bag.indices.numpy())
            for phrase, of_phrase in zip(block, columns, strict=True):
                for node in sorted(nodes_of[phrase]) if len(of_phrase) else ():
                    parts.append(of_phrase)
                    nodes.append(node)
    return phrases_of(parts, nodes, layout.num_columns)


def _words_of(field: str, layout: Layout) -> Feature | None:
    """Returns the text feature that holds every word of a field, and most of its pairs; None where there is none."""
    words = [
        feature
        for feature in layout.features.of_kind(TEXT)
        if feature.fields == (field,) and feature.tokens != CHARACTERS and feature.weighting != SEQUENCE and feature.ngrams[0] == 1
    ]
    return max(words, key=lambda feature: feature.ngrams[1], default=None)


def _known_in_full(phrases: Sequence[str], feature: Feature, layout: Layout, places: np.ndarray) -> list[np.ndarray]:
    """Returns the feature's columns of each phrase; none where the vocabulary lacks one of its words."""
    columns = layout.column_ranges()[feature.name]
    vocabulary = layout.vocabularies[feature.name]
    found = []
    rows = np.searchsorted(places[:, 0], np.arange(len(phrases) + 1))
    for k, folded in enumerate(fold_in_graph(list(phrases)).numpy().tolist()):
        own = places[rows[k] : rows[k + 1], 1]
        own = own[(own >= columns.start) & (own < columns.stop)]
        words = set(folded.decode().split())
        is_whole = bool(words) and words <= {vocabulary[column - columns.start] for column in own.tolist()}
        found.append(own if is_whole else own[:0])
    return found
