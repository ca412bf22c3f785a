"""Checks which phrases of rules a bag tells, against the words themselves."""

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from schemas.features import SEQUENCE, TEXT, Feature, FeatureConfig
from schemas.rules import Rule
from schemas.taxonomy import Node, Taxonomy
from tests.support.shop import shop_taxonomy
from tests.trainer_module.rounds import analysed
from trainer_module.layout import layout_of
from trainer_module.raw_products import raw_products
from trainer_module.rule_phrases import no_phrases, phrases_of, rule_phrases
from trainer_module.tree import tree_of
from trainer_module.zoo.phrase_reading import PhraseReading

TREE = tree_of(shop_taxonomy())
CONFIG = FeatureConfig(
    (
        Feature("words", TEXT, ("title",), weighting=SEQUENCE),
        Feature("title", TEXT, ("title",), ngrams=(1, 2)),
        Feature("text", TEXT, ("title", "description"), ngrams=(1, 2)),
        Feature("parts", TEXT, ("merchant_category",), ngrams=(2, 2)),
    )
)
TITLES = [
    "Red Dress", "Dress red", "red summer dress", "Boots of rubber", "rubber boots, red", "nothing at all", "boots boots", "Rubber Boots",
]  # fmt: skip
RULES = [
    Rule("1", "dresses", "title", "red dress"),
    Rule("2", "rubber-boots", "title", "Rubber Boots"),
    Rule("3", "boots", "title", "boots"),
    Rule("4", "boots", "title", "boots boots"),
    Rule("5", "bags", "title", "handbag"),
    Rule("6", "bags", "title", "red handbag"),
    Rule("7", "bags", "title", "red", veto=True),
    Rule("8", "bags", "title", regex="red"),
    Rule("9", "bags", "merchant_category", "red"),
    Rule("10", "bags", "brand", "red"),
    Rule("11", "shoes", "title", "!!"),
    Rule("12", "shoes", "title", "rubber boots"),
]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """The layout, the transform graph and the phrases of `RULES`."""
    rows = [
        {"id": str(k), "group": str(k), "split": "dev", "title": title, "merchant_category": "red shelf"} for k, title in enumerate(TITLES)
    ]
    output = analysed(tmp_path_factory.mktemp("phrases"), CONFIG, rows)
    layout, layer = layout_of(CONFIG, output), output.transform_features_layer()
    return layout, layer, rule_phrases(RULES, shop_taxonomy(), layout, layer)


def held_by(title, read):
    layout, layer, phrases = read
    reading = PhraseReading(TREE, layout.num_columns)
    reading.assign(phrases)
    bag = layout.inputs(layer(raw_products([title], {"title"}, CONFIG))).bag
    return {TREE.node_ids[node] for node in np.flatnonzero(reading.held(bag)[0])}


@pytest.mark.parametrize(
    ("title", "nodes"),
    [
        ("A RED dress", {"dresses"}),
        ("dress, red", set()),
        ("red summer dress", set()),
        ("rubber-boots", {"rubber-boots", "shoes", "boots"}),
        ("boots of rubber", {"boots"}),
        ("boots boots", {"boots"}),
        ("reddish dress", set()),
        ("", set()),
    ],
)
def test_a_phrase_is_held_where_its_words_stand_side_by_side(title, nodes, read):
    assert held_by(title, read) == nodes


def test_only_phrases_whose_every_word_is_known_are_looked_for(read):
    _, _, phrases = read
    assert sorted(TREE.node_ids[node] for node in phrases.nodes) == ["boots", "boots", "dresses", "rubber-boots", "shoes"]


def test_a_phrase_speaks_for_the_node_that_stands_for_its_own_today_and_is_cleaned_as_products_are(read):
    layout, layer, _ = read
    tree = Taxonomy([Node("old", "", "Old", False, replaced_by="bags"), *shop_taxonomy()])
    found = rule_phrases([Rule("1", "old", "title", "rubber&nbsp;boots")], tree, layout, layer)
    assert [tree.ids[node] for node in found.nodes] == ["bags"] and found.table.shape[1] == 3


def test_without_a_feature_of_the_field_alone_nothing_is_looked_for(read):
    layout, layer, _ = read
    found = rule_phrases([Rule("1", "bags", "description", "red")], shop_taxonomy(), layout, layer)
    assert len(found.nodes) == len(found.table) == 0 and found.num_columns == layout.num_columns


def test_a_phrase_is_held_where_all_of_its_columns_are():
    rng = np.random.default_rng(3)
    num_columns, num_nodes = 30, len(TREE.node_ids)
    bag = sp.random(300, num_columns, 0.3, format="csr", dtype=np.float32, random_state=3)
    columns = sp.csr_matrix((rng.random((80, num_columns)) < 0.07).astype(np.float32))
    columns = columns[np.diff(columns.indptr) > 0]
    nodes = rng.integers(0, num_nodes, columns.shape[0])
    whole = (bag.toarray() > 0).astype(int) @ columns.toarray().T.astype(int) == columns.sum(axis=1).A1.astype(int)
    expected = np.zeros((300, num_nodes + 1), bool)
    for phrase, node in enumerate(nodes):
        expected[:, node] |= whole[:, phrase]
    assert 0 < expected.mean() < 1
    reading = PhraseReading(TREE, num_columns)
    reading.assign(phrases_of([row.indices for row in columns], nodes.tolist(), num_columns))
    for rows in (slice(0, 300), slice(7, 8), slice(0, 0)):
        places = bag[rows].tocoo()
        sparse = tf.SparseTensor(np.stack([places.row, places.col], 1).astype(np.int64), places.data, places.shape)
        own, above = tf.function(reading)(sparse)
        np.testing.assert_array_equal(own, expected[rows][:, TREE.exclusive])
        np.testing.assert_array_equal(above, expected[rows][:, TREE.parents[TREE.exclusive]])


def test_without_phrases_nothing_is_held():
    reading = PhraseReading(TREE, 4)
    reading.assign(no_phrases(4))
    own, above = reading(tf.sparse.from_dense(np.ones((2, 4), np.float32)))
    assert own.shape == above.shape == (2, len(TREE.exclusive)) and not np.any(own) and not np.any(above)


def test_a_phrase_that_a_node_has_twice_is_looked_for_once_by_the_column_fewest_phrases_have():
    phrases = phrases_of([np.array([1, 3]), np.array([3, 1]), np.array([3]), np.array([3, 2, 0])], [5, 5, 5, 6], 4)
    assert phrases.table.tolist() == [[0, 2, 3], [1, 3, -1], [3, -1, -1]] and phrases.nodes.tolist() == [6, 5, 5]
