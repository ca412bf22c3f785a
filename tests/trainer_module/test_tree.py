"""Checks the tree's arrays against the taxonomy."""

import numpy as np

from schemas.taxonomy import node_fingerprint
from tests.support.shop import shop_taxonomy
from trainer_module.tree import tree_of

TAXONOMY = shop_taxonomy()
TREE = tree_of(TAXONOMY)


def test_classes_are_the_exclusive_nodes_in_tree_order():
    assert TREE.node_ids == TAXONOMY.ids
    assert TREE.exclusive_ids == [node.id for node in TAXONOMY if node.exclusive]


def test_a_chain_is_the_fingerprints_from_the_root_down_padded_with_zeros():
    row = TREE.chains[TREE.exclusive_ids.index("boots")]
    assert row.tolist() == [node_fingerprint("shoes"), node_fingerprint("boots"), 0]
    assert TREE.chains.shape == (len(TREE.exclusive), max(TAXONOMY.depths))


def test_ancestry_marks_a_class_and_its_ancestors_and_nothing_else():
    for k, node_id in enumerate(TREE.exclusive_ids):
        marked = [TREE.node_ids[i] for i in np.flatnonzero(TREE.ancestry[:, k])]
        assert marked == [TAXONOMY[i].id for i in TAXONOMY.chain(node_id)]


def test_a_roots_parent_is_one_past_the_last_node():
    for i, node in enumerate(TAXONOMY):
        assert TREE.parents[i] == (TAXONOMY.index(node.parent_id) if node.parent_id else len(TAXONOMY))
