"""The planner: which kind is built, and when it is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import NeighbourIndexError
from similarity.contract import MIN_SCANN_PRODUCTS, index_kind
from similarity.exact_index import ExactIndex
from similarity.planner import build_index, load_index, planned_kind
from similarity.recall import measured_recall, query_sample
from similarity.vectors import in_tree_order


def _products(count, dimension=24, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return in_tree_order(vectors, [str(i) for i in range(count)], np.zeros(count, np.int64), ["n"], [1])


class _BlindIndex(ExactIndex):
    """Always answers with the same products."""

    kind = "blind"

    def search(self, queries, k, subtree=None):
        return super().search(np.ones_like(queries), k, subtree)


def test_exact_search_below_a_size_and_scann_from_it_on():
    assert planned_kind(MIN_SCANN_PRODUCTS, MIN_SCANN_PRODUCTS + 1) == "exact"
    assert planned_kind(MIN_SCANN_PRODUCTS, MIN_SCANN_PRODUCTS) == "scann"


def test_too_few_products_for_scann_are_searched_exactly():
    assert planned_kind(MIN_SCANN_PRODUCTS - 1, 0) == "exact"


def test_exact_search_has_full_recall():
    built = build_index(_products(200), exact_below=1000, neighbours=10, min_recall=1.0, seed=0)
    assert (built.index.kind, built.recall) == ("exact", 1.0)


def test_a_scann_index_is_searched_harder_until_it_reaches_the_floor():
    products = _products(4000)
    easy = index_kind("scann").build(products, seed=0)
    easy.exact_below = 0
    first = measured_recall(easy, query_sample(easy, 500, np.random.default_rng(0)), 10)
    floor = (first + 1) / 2
    built = build_index(products, exact_below=0, neighbours=10, min_recall=floor, seed=0)
    assert first < floor <= built.recall
    assert built.index.leaves_searched > easy.leaves_searched


def test_an_index_under_the_floor_is_refused(monkeypatch):
    monkeypatch.setattr("similarity.planner.index_kind", lambda kind: _BlindIndex)
    with pytest.raises(NeighbourIndexError, match=r"recall@10 is 0\.\d+, the floor is 0.900. Lower index.min_recall"):
        build_index(_products(300), exact_below=1000, neighbours=10, min_recall=0.9, seed=0)


def test_recall_counts_equally_good_neighbours_as_found():
    vectors = np.repeat(np.eye(4, dtype=np.float32), 25, axis=0)
    products = in_tree_order(vectors, [str(i) for i in range(100)], np.zeros(100, np.int64), ["n"], [1])

    class LastFirst(ExactIndex):
        def search(self, queries, k, subtree=None):
            found = super().search(queries, 25, subtree)
            return type(found)(found.ids[:, -k:], found.similarities[:, -k:], found.positions[:, -k:])

    assert measured_recall(LastFirst(products), vectors, 5) == 1.0


def test_int8_finds_what_float32_finds():
    built = build_index(_products(3000), exact_below=10**6, neighbours=100, min_recall=1.0, seed=0, storage="int8")
    assert (built.index.kind, built.index.products.storage, built.recall) == ("exact", "int8", 1.0)


def test_an_unknown_storage_is_refused():
    with pytest.raises(NeighbourIndexError, match="index storage 'int4' is unknown. Known: float32, int8"):
        build_index(_products(30), exact_below=100, neighbours=10, min_recall=1.0, seed=0, storage="int4")


def test_the_kind_can_be_asked_for():
    built = build_index(_products(2000), exact_below=10**6, neighbours=10, min_recall=0.5, seed=0, kind="scann")
    assert (built.index.kind, built.index.exact_below) == ("scann", 10**6)


def test_an_unknown_kind_is_refused():
    with pytest.raises(NeighbourIndexError, match="index kind 'tree' is unknown. Known: exact, scann, hnsw"):
        index_kind("tree")


def test_an_index_whose_library_isnt_there_is_refused_by_the_name_of_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    monkeypatch.delitem(sys.modules, "similarity.hnsw_index", raising=False)
    with pytest.raises(NeighbourIndexError, match="'hnsw' needs the package 'hnswlib', which isn't installed here. Install it, or build"):
        load_index(Path(__file__).parent / "golden" / "hnsw-v2")
