"""Names candidates with hnswlib: a graph whose edges lead to nearer and nearer products."""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from schemas.errors import NeighbourIndexError
from similarity.approximate_index import ApproximateIndex
from similarity.arrays import FloatArray, IntArray
from similarity.vectors import ProductVectors, load_vectors

_GRAPH, _EFFORT = "hnsw.bin", "hnsw.json"
_EDGES, _BUILD_EFFORT, _EFFORT_AT_LEAST, _MOST_EFFORT = 16, 200, 200, 6_400


class HnswIndex(ApproximateIndex):
    """Fast and accurate, at the price of a copy of the vectors and a slow build. See `NeighbourIndex` for the methods.

    Source:
        Malkov and Yashunin 2020, IEEE TPAMI 42 (4), "Efficient and robust approximate nearest neighbor search using
        hierarchical navigable small world graphs".
    """

    kind = "hnsw"

    def __init__(self, products: ProductVectors, graph: Any, effort: int) -> None:
        super().__init__(products)
        self.effort = effort
        self._graph = graph

    @classmethod
    def build(cls, products: ProductVectors, seed: int = 0) -> HnswIndex:
        """Makes an index in one thread, so that the same seed gives the same graph."""
        graph = hnswlib.Index(space="ip", dim=products.dimension)
        graph.init_index(max_elements=len(products), M=_EDGES, ef_construction=_BUILD_EFFORT, random_seed=seed)
        graph.add_items(np.ascontiguousarray(products.vectors, np.float32), np.arange(len(products)), num_threads=1)
        return cls(products, graph, _EFFORT_AT_LEAST)

    def with_more_effort(self) -> HnswIndex | None:
        """Returns the same index with each query following twice the edges, None from a bound on."""
        if self.effort >= _MOST_EFFORT:
            return None
        harder = copy(self)
        harder.effort = 2 * self.effort
        return harder

    def save(self, folder: Path) -> None:
        """Writes the graph and how hard it is searched."""
        self._graph.save_index(str(folder / _GRAPH))
        (folder / _EFFORT).write_text(json.dumps({"effort": self.effort}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, products: ProductVectors | None = None) -> HnswIndex:
        """Reads an index from wherever its folder is now.

        Raises:
            NeighbourIndexError: a file is missing or damaged.
        """
        products = products or load_vectors(folder)
        try:
            effort = int(json.loads((folder / _EFFORT).read_text(encoding="utf-8"))["effort"])
            graph = hnswlib.Index(space="ip", dim=products.dimension)
            graph.load_index(str(folder / _GRAPH), max_elements=len(products))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise NeighbourIndexError(f"{folder}: the HNSW graph is damaged: {error}. Build it again, or copy it again.") from None
        return cls(products, graph, effort)

    def candidates(self, unit: FloatArray, count: int) -> IntArray:
        """Returns as many as asked for."""
        wanted = min(count, len(self.products))
        self._graph.set_ef(max(self.effort, wanted))
        found, _ = self._graph.knn_query(unit, k=wanted, num_threads=1)
        return np.asarray(found, np.int64)
