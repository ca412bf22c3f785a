"""Vectors in tree order: every subtree is one slice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import NeighbourIndexError
from schemas.taxonomy import Node, Taxonomy
from similarity.vectors import in_tree_order


def _ones(count):
    return np.ones((count, 2), np.float32)


@given(st.lists(st.integers(-1, 11), min_size=1, max_size=12), st.lists(st.integers(-1, 11), min_size=1, max_size=40))
def test_a_subtree_slice_holds_exactly_the_products_at_its_nodes(parents, wanted):
    nodes = [Node(f"n{i}", f"n{parent}" if 0 <= parent < i else "", f"N{i}", True) for i, parent in enumerate(parents)]
    tree = Taxonomy(nodes)
    numbers = np.array([number if number < len(tree) else -1 for number in wanted], np.int64)
    ids = [f"p{i}" for i in range(len(numbers))]
    products = in_tree_order(_ones(len(ids)), ids, numbers, tree.ids, tree.subtree_ends)
    for node in tree:
        inside = {ids[i] for i, number in enumerate(numbers) if number in tree.subtree(node.id)}
        assert products.subtree(node.id) == tree.subtree(node.id)
        assert set(products.product_ids[products.rows(products.subtree(node.id))]) == inside


def test_products_at_no_node_are_in_the_whole_index_only():
    products = in_tree_order(_ones(2), ["lost", "found"], np.array([-1, 0]), ["n"], [1])
    assert products.product_ids[products.rows(range(0, 1))] == ("found",)
    assert products.product_ids[products.rows(None)] == ("found", "lost")


def test_vectors_are_brought_to_unit_length():
    products = in_tree_order(np.array([[3.0, 4.0]], np.float32), ["p"], np.array([0]), ["n"], [1])
    assert np.allclose(products.vectors, [[0.6, 0.8]])


def test_an_empty_index_is_refused():
    with pytest.raises(NeighbourIndexError, match="the index is empty"):
        in_tree_order(np.zeros((0, 4), np.float32), [], np.zeros(0, np.int64), ["n"], [1])


def test_a_product_twice_is_named():
    with pytest.raises(NeighbourIndexError, match="'b' is there twice"):
        in_tree_order(_ones(3), ["a", "b", "b"], np.zeros(3, np.int64), ["n"], [1])


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_a_direction_is_named(value):
    vectors = _ones(2)
    vectors[1] = value
    with pytest.raises(NeighbourIndexError, match="product 'b' has a vector of length"):
        in_tree_order(vectors, ["a", "b"], np.zeros(2, np.int64), ["n"], [1])


def test_an_unknown_node_is_named():
    with pytest.raises(NeighbourIndexError, match="node 'x' isn't in the index's taxonomy of 1 nodes"):
        in_tree_order(_ones(1), ["a"], np.zeros(1, np.int64), ["n"], [1]).subtree("x")
