"""Exact search: the truth, compared with sorting everything."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from similarity import ranking
from similarity.exact_index import ExactIndex
from similarity.vectors import in_tree_order


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 50), st.integers(0, 10**6), st.booleans())
def test_it_finds_what_sorting_everything_finds(num_products, dimension, k, seed, few_directions):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(num_products, dimension)).astype(np.float32)
    if few_directions:  # Ties, as near-duplicate offers make them.
        vectors = np.sign(vectors)
    products = in_tree_order(vectors, [str(i) for i in range(num_products)], np.zeros(num_products, np.int64), ["n"], [1])
    queries = rng.normal(size=(3, dimension)).astype(np.float32)
    found = ExactIndex(products).search(queries, k)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    true = -np.sort(-(unit @ products.vectors.T), axis=1)[:, :k]
    assert found.similarities.shape == (3, min(k, num_products))
    assert np.allclose(found.similarities, true, atol=1e-5)
    assert all(len(set(row)) == len(row) for row in found.ids.tolist())


def test_blocks_of_queries_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 4)).astype(np.float32)
    products = in_tree_order(vectors, [str(i) for i in range(100)], np.zeros(100, np.int64), ["n"], [1])
    whole = ExactIndex(products).search(vectors, 3)
    monkeypatch.setattr(ranking, "_SCORES_HELD", 700)
    assert (ExactIndex(products).search(vectors, 3).ids == whole.ids).all()
