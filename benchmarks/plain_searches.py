"""Searches as one would write them without this program, to stand beside its figures: NumPy, ScaNN and hnswlib, filtered afterwards."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from similarity.vectors import ProductVectors

Mask = npt.NDArray[np.bool_]
# A query `[dimension]`, how many, the rows that may be found, and a mask of them or None; gives rows, best first, maybe too few.
Search = Callable[[npt.NDArray[np.float32], int, slice, Mask | None], npt.NDArray[np.int64]]
_OVER_FETCH = 10


def brute_force(products: ProductVectors) -> Search:
    """Returns a search that computes every similarity of the slice and sorts the best of them."""

    def search(query: npt.NDArray[np.float32], k: int, rows: slice, mask: Mask | None) -> npt.NDArray[np.int64]:
        scores = products.vectors[rows] @ query
        if mask is not None:
            scores[~mask] = -np.inf
        k = min(k, len(scores) if mask is None else int(mask.sum()))
        near = np.argpartition(-scores, k - 1)[:k]
        return np.asarray(near[np.argsort(-scores[near])] + rows.start, np.int64)

    return search


def plain_scann(products: ProductVectors) -> Search:
    """Returns ScaNN with its own reordering, asked for ten times as many as wanted and filtered afterwards."""
    scann = importlib.import_module("scann.scann_ops.py.scann_ops_pybind")
    leaves, sample = round(len(products) ** 0.5), min(len(products), 100_000)
    builder = scann.builder(np.ascontiguousarray(products.vectors), 10, "dot_product")
    builder = builder.tree(leaves, leaves // 10, training_sample_size=sample)
    searcher = builder.score_ah(2, anisotropic_quantization_threshold=0.2, training_sample_size=sample).reorder(2_000).build()

    def search(query: npt.NDArray[np.float32], k: int, rows: slice, mask: Mask | None) -> npt.NDArray[np.int64]:
        fetch = _OVER_FETCH * k
        found, similarities = searcher.search(query, final_num_neighbors=fetch, pre_reorder_num_neighbors=2 * fetch)
        return _filtered(found[np.isfinite(similarities)].astype(np.int64), k, rows, mask)

    return search


def plain_hnsw(products: ProductVectors) -> Search | None:
    """Returns hnswlib, asked for ten times as many as wanted and filtered afterwards; None where it isn't installed."""
    try:
        hnswlib = importlib.import_module("hnswlib")
    except ModuleNotFoundError:
        return None
    graph = hnswlib.Index(space="ip", dim=products.dimension)
    graph.init_index(max_elements=len(products), M=16, ef_construction=100, random_seed=0)
    graph.add_items(products.vectors, num_threads=2)

    def search(query: npt.NDArray[np.float32], k: int, rows: slice, mask: Mask | None) -> npt.NDArray[np.int64]:
        fetch = min(_OVER_FETCH * k, len(products))
        graph.set_ef(fetch)
        found, _ = graph.knn_query(query[None], k=fetch, num_threads=1)
        return _filtered(np.asarray(found[0], np.int64), k, rows, mask)

    return search


def _filtered(found: npt.NDArray[np.int64], k: int, rows: slice, mask: Mask | None) -> npt.NDArray[np.int64]:
    inside = found[(found >= rows.start) & (found < rows.stop)]
    return np.asarray(inside if mask is None else inside[mask[inside - rows.start]])[:k]
