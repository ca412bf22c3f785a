"""Reads the phrases of rules through the transform graph, as if they were products, to know them again in a bag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

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
        columns: CSR float32 `[P, num_columns]` of ones, at least one a row.
        nodes: int64 `[P]`, in tree order, where the rule puts the product.
    """

    columns: sp.csr_matrix
    nodes: np.ndarray

    def held(self, bag: sp.csr_matrix, num_nodes: int) -> sp.csr_matrix:
        """Returns CSR float32 `[n, N]`, 1 at the nodes one of whose phrases a product holds.

        Args:
            bag: CSR `[n, num_columns]`, each column at most once a row.
            num_nodes: N.
        """
        of_node = sp.csr_matrix(
            (np.ones(len(self.nodes), np.float32), (np.arange(len(self.nodes)), self.nodes)), shape=(len(self.nodes), num_nodes)
        )
        needed = np.diff(self.columns.indptr)
        by_column = self.columns.T.tocsr()
        blocks = []
        for start in range(0, bag.shape[0], _AT_ONCE):
            part = bag[start : start + _AT_ONCE]
            there = sp.csr_matrix((np.ones(len(part.indices), np.float32), part.indices, part.indptr), shape=part.shape)
            found = (there @ by_column).tocsr()
            found.data = (found.data == needed[found.indices]).astype(np.float32)
            found.eliminate_zeros()
            nodes = (found @ of_node).tocsr()
            nodes.data = np.ones_like(nodes.data)
            blocks.append(nodes)
        return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix((0, num_nodes), dtype=np.float32)


def no_phrases(num_columns: int) -> RulePhrases:
    """Returns none."""
    return RulePhrases(sp.csr_matrix((0, num_columns), dtype=np.float32), np.zeros(0, np.int64))


def rule_phrases(
    rules: Sequence[Rule], taxonomy: Taxonomy, layout: Layout, layer: Callable[[dict[str, Any]], dict[str, Any]]
) -> RulePhrases:
    """Returns the phrases of the rules that the bag can tell: of a field whose words are a feature, each of them in its vocabulary.

    Vetoes and regexes aren't among them; the rule_based head learns what they say.

    Args:
        rules: as analysts wrote them.
        taxonomy: the nodes.
        layout: which column is which.
        layer: the transform graph.
    """
    wanted: defaultdict[str, dict[str, set[int]]] = defaultdict(dict)  # field, phrase, nodes
    for rule in rules:
        if rule.phrase and not rule.veto:
            wanted[rule.field].setdefault(rule.phrase, set()).add(taxonomy.index(rule.node_id))
    parts, nodes = [], []
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
    if not parts:
        return no_phrases(layout.num_columns)
    indptr = np.cumsum([0, *(len(part) for part in parts)])
    ones = np.ones(indptr[-1], np.float32)
    return RulePhrases(
        sp.csr_matrix((ones, np.concatenate(parts), indptr), shape=(len(parts), layout.num_columns)), np.array(nodes, np.int64)
    )


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
        found.append(np.sort(own) if is_whole else own[:0])
    return found
