"""Reads transformed examples into the arrays that training draws its batches from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from few_shot.partial_answers import PartialAnswers, informative, partial_answers
from schemas.product import ANSWER_NODE, ANSWER_NOT, ANSWER_QUESTION, ANSWER_UNDER, GROUP, GROUP_NODE, RULE_NODES
from schemas.whole_records import unreadable, whole_blocks
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.tree import Tree

_BLOCK = 4096


@dataclass(frozen=True)
class TrainingData:
    """n products as training sees them.

    Attributes:
        bag: CSR float32 `[n, num_columns]`.
        categories: int64 `[n, num_categories]`.
        numbers: float32 `[n, num_numbers]`.
        answers: int64 `[n]`, class of the exclusive head, -1 where nobody answered.
        rules: CSR float32 `[n, N]`, 1 at every node the rules put a product at, ancestors included.
        groups: int64 `[n]`, equal for near-duplicates.
        partial: what people said of products short of naming the class; None: nothing.
    """

    bag: sp.csr_matrix
    categories: np.ndarray
    numbers: np.ndarray
    answers: np.ndarray
    rules: sp.csr_matrix
    groups: np.ndarray
    partial: PartialAnswers | None = None

    @property
    def answered(self) -> np.ndarray:
        """Numbers of the products a person answered."""
        return np.flatnonzero(self.answers >= 0)

    @property
    def taught(self) -> np.ndarray:
        """Numbers of the products that the exclusive head may learn from, ascending: answered in whole or in part."""
        return self.answered if self.partial is None else np.union1d(self.answered, self.partial.rows)

    @property
    def covered(self) -> np.ndarray:
        """Numbers of the products a rule fired on."""
        return np.flatnonzero(np.diff(self.rules.indptr) > 0)

    def inputs(self, rows: np.ndarray) -> NetworkInputs:
        """Returns a batch as tensors, in the order of `rows`."""
        coo = self.bag[rows].tocoo()
        indices = np.stack([coo.row, coo.col], 1).astype(np.int64)
        bag = tf.SparseTensor(indices, coo.data, np.array([len(rows), self.bag.shape[1]], np.int64))
        return NetworkInputs(bag, tf.constant(self.categories[rows]), tf.constant(self.numbers[rows]))

    def part(self, rows: np.ndarray) -> TrainingData:
        """Returns the data of these products only, in the order of `rows`."""
        return TrainingData(
            self.bag[rows],
            self.categories[rows],
            self.numbers[rows],
            self.answers[rows],
            self.rules[rows],
            self.groups[rows],
            None if self.partial is None else _renumbered(self.partial, rows, len(self.answers)),
        )

    def rule_targets(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), N]`."""
        return self.rules[rows].toarray()


def group_numbers(groups: Sequence[str]) -> np.ndarray:
    """Returns int64, what `TrainingData.groups` holds for products of these groups."""
    return np.asarray(_group_numbers(tf.constant(list(groups), tf.string)).numpy(), np.int64)


def _group_numbers(groups: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(groups, 2**62)


def node_table(ids: Sequence[str], name: str) -> tf.lookup.StaticHashTable:
    """Returns a table from node id to its place in `ids`, -1 for any other."""
    keys, values = tf.constant(list(ids), tf.string), tf.range(len(ids), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1, name=name)


def read_training_data(
    files: Sequence[str],
    feature_spec: dict[str, Any],
    layout: Layout,
    tree: Tree,
    transform: Callable[[dict[str, Any]], dict[str, Any]] = lambda features: features,
) -> TrainingData:
    """Reads GZIP TFRecords of examples, in order.

    Args:
        files: paths of the records.
        feature_spec: of the records; the transform graph's own also names the label features passed through.
        layout: says which columns the features get.
        tree: says which node has which number.
        transform: makes parsed features transformed ones, where the records aren't.

    Raises:
        CatalogueError: a file is missing, cut short or not GZIP TFRecord.
    """
    classes, nodes = node_table(tree.exclusive_ids, "classes"), node_table(tree.node_ids, "nodes")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def parsed(serialized: tf.Tensor) -> tuple[Any, ...]:
        features = transform(tf.io.parse_example(serialized, feature_spec))
        inputs = layout.inputs(features)
        answers = tf.fill([tf.shape(serialized, tf.int64)[0]], tf.constant(-1, tf.int64))
        if ANSWER_NODE in features:
            found = features[ANSWER_NODE]
            answers = tf.tensor_scatter_nd_update(answers, found.indices[:, :1], classes.lookup(found.values))
        rule_rows, rule_nodes = tf.zeros([0], tf.int64), tf.zeros([0], tf.int64)
        if RULE_NODES in features:
            rule_rows, rule_nodes = features[RULE_NODES].indices[:, 0], nodes.lookup(features[RULE_NODES].values)
        groups = _group_numbers(tf.reshape(features[GROUP], [-1]))
        said = _said_in_part(features, classes, nodes)
        return inputs.bag.indices, inputs.bag.values, inputs.categories, inputs.numbers, answers, rule_rows, rule_nodes, groups, *said

    blocks = [[part.numpy() for part in parsed(serialized)] for serialized in _record_blocks(files)]
    data = _stacked(blocks, layout, len(tree.node_ids))
    return replace(data, partial=_partial(blocks, data.answers, tree))


def _record_blocks(files: Sequence[str]) -> Iterator[tf.Tensor]:
    for path in files:
        try:
            records = tf.data.TFRecordDataset([path], compression_type="GZIP").batch(_BLOCK)
            for block in whole_blocks(path, records.as_numpy_iterator(), tf.io.gfile.GFile):
                yield tf.constant(block, tf.string)
        except tf.errors.OpError as error:
            raise unreadable(path, error.message[:120]) from None


def _said_in_part(features: dict[str, Any], classes: tf.lookup.StaticHashTable, nodes: tf.lookup.StaticHashTable) -> tuple[tf.Tensor, ...]:
    """Returns (row, number) pairs of each kind: the class of a group, the subtree, subtrees left out, the question's number."""
    pairs: list[tf.Tensor] = []
    for name, numbered in (
        (GROUP_NODE, classes.lookup),
        (ANSWER_UNDER, nodes.lookup),
        (ANSWER_NOT, nodes.lookup),
        (ANSWER_QUESTION, lambda texts: _group_numbers(texts) + 1),
    ):
        empty = tf.zeros([0], tf.int64)
        pairs += [features[name].indices[:, 0], numbered(features[name].values)] if name in features else [empty, empty]
    return tuple(pairs)


def _partial(blocks: list[list[np.ndarray]], answers: np.ndarray, tree: Tree) -> PartialAnswers | None:
    """Returns what was said in part; None where nothing was."""
    starts = np.cumsum([0, *(len(block[4]) for block in blocks)])
    columns = [
        (
            np.concatenate([start + block[k] for start, block in zip(starts, blocks, strict=False)]),
            np.concatenate([b[k + 1] for b in blocks]),
        )
        for k in (8, 10, 12, 14)
        if blocks
    ]
    rows = np.unique(np.concatenate([found for found, _ in columns])) if columns else np.zeros(0, np.int64)
    if not len(rows):
        return None
    (of_class, class_), (of_subtree, subtree), (of_excluded, excluded), (of_question, question) = columns
    under, questions = np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int64)
    under[np.searchsorted(rows, of_subtree)] = subtree
    questions[np.searchsorted(rows, of_question)] = question
    every = np.vstack([tree.ancestry > 0, np.ones((1, len(tree.exclusive)), bool)])  # The last one is for -1.
    allowed = every[under]
    known = excluded >= 0
    np.logical_and.at(allowed, np.searchsorted(rows, of_excluded[known]), ~every[excluded[known]])
    places = np.searchsorted(rows, of_class)
    allowed[places] = False
    allowed[places[class_ >= 0], class_[class_ >= 0]] = True
    return informative(partial_answers(rows, allowed, questions), answers)


def _renumbered(partial: PartialAnswers, rows: np.ndarray, num_products: int) -> PartialAnswers:
    place = np.full(num_products, -1, np.int64)
    place[rows] = np.arange(len(rows))
    kept = partial.part(place[partial.rows] >= 0)
    moved = replace(kept, rows=place[kept.rows])
    return moved.part(np.argsort(moved.rows, kind="stable"))


def _stacked(blocks: list[list[np.ndarray]], layout: Layout, num_nodes: int) -> TrainingData:
    bags, rules = [], []
    for indices, values, _, _, answers, rule_rows, rule_nodes, *_ in blocks:
        num_rows = len(answers)
        bags.append(sp.csr_matrix((values, (indices[:, 0], indices[:, 1])), shape=(num_rows, layout.num_columns), dtype=np.float32))
        known = rule_nodes >= 0
        ones = np.ones(int(known.sum()), np.float32)
        rules.append(sp.csr_matrix((ones, (rule_rows[known], rule_nodes[known])), shape=(num_rows, num_nodes)))
    if not blocks:
        empty = np.zeros(0, np.int64)
        return TrainingData(
            sp.csr_matrix((0, layout.num_columns), dtype=np.float32),
            np.zeros((0, len(layout.embedded)), np.int64),
            np.zeros((0, layout.num_numbers), np.float32),
            empty,
            sp.csr_matrix((0, num_nodes), dtype=np.float32),
            empty,
        )
    categories, numbers, answers, groups = (np.concatenate([block[k] for block in blocks]) for k in (2, 3, 4, 7))
    return TrainingData(sp.vstack(bags, format="csr"), categories, numbers, answers, sp.vstack(rules, format="csr"), groups)
