"""Vectors in int8: never farther off than they say, and exact after all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from similarity import ranking
from similarity.exact_index import ExactIndex
from similarity.planner import BuiltIndex, load_index, save_index
from similarity.vector_codes import coded
from similarity.vectors import in_tree_order


def catalogue(rng, count, dimension, spread):
    """Returns products so alike that their rounded vectors can't be told apart."""
    vectors = (rng.normal(size=dimension) + spread * rng.normal(size=(count, dimension))).astype(np.float32)
    return in_tree_order(vectors, [str(number) for number in range(count)], np.zeros(count, np.int64), ["n"], [1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 40), st.sampled_from([1.0, 0.1, 0.01, 0.0]), st.integers(1, 30))
def test_the_true_neighbours_are_found_however_alike_products_are(seed, count, dimension, spread, k):
    rng = np.random.default_rng(seed)
    products = catalogue(rng, count, dimension, spread)
    queries = np.concatenate([rng.normal(size=(2, dimension)), products.vectors[:1]]).astype(np.float32)
    small, whole = (ExactIndex(products.stored_as(storage)).search(queries, k) for storage in ("int8", "float32"))
    assert np.allclose(small.similarities, whole.similarities, atol=2e-6)
    single = ExactIndex(products.stored_as("int8")).search(queries[:1], k)
    assert np.allclose(single.similarities, whole.similarities[:1], atol=2e-6)


def test_no_similarity_is_farther_off_than_its_error():
    rng = np.random.default_rng(0)
    products = catalogue(rng, 2000, 32, 1.0)
    codes = coded(products.vectors)
    rounded = codes.codes * codes.scales[:, None]
    worst = (products.vectors - rounded) / np.linalg.norm(products.vectors - rounded, axis=1, keepdims=True)
    off = np.abs(np.einsum("pd,pd->p", worst, products.vectors - rounded))  # The query that suffers most from each.
    assert (off <= codes.errors(np.arange(2000))).all()


def test_blocks_of_rows_change_nothing(monkeypatch):
    products = catalogue(np.random.default_rng(0), 1000, 8, 1.0).stored_as("int8")
    whole = ExactIndex(products).search(products.vectors[:5], 10)
    monkeypatch.setattr(ranking, "_DECODED_ROWS", 64)
    monkeypatch.setattr(ranking, "_buffers", type("Fresh", (), {})())
    assert (ExactIndex(products).search(products.vectors[:5], 10).ids == whole.ids).all()


def test_a_search_reads_a_few_rows_of_the_float32_file_alone(tmp_path):
    products = catalogue(np.random.default_rng(0), 5000, 16, 1.0)
    save_index(tmp_path / "index", BuiltIndex(ExactIndex(products.stored_as("int8")), 1.0, 10))
    index, _ = load_index(tmp_path / "index")
    read = []
    on_disk = index.products.on_disk

    class Counted:
        def take(self, positions):
            read.append(len(positions))
            return on_disk.take(positions)

    object.__setattr__(index.products, "on_disk", Counted())
    found = index.search(products.vectors[:1], 10)
    assert np.allclose(found.similarities, ExactIndex(products).search(products.vectors[:1], 10).similarities, atol=2e-6)
    assert 10 <= sum(read) < 200


@pytest.mark.parametrize("count", [1, 127, 128, 5000])
@pytest.mark.parametrize("k", [0, 1, 39, 200])
def test_the_top_is_what_sorting_gives_ties_by_place(count, k):
    scores = np.random.default_rng(count).integers(0, 50, count).astype(np.float32)
    assert ranking.top(scores, k).tolist() == np.argsort(-scores, kind="stable")[:k].tolist()
