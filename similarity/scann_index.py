"""Searches product vectors with ScaNN (tree, quantised scores, exact reordering), and subtrees exactly."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from schemas.errors import NeighbourIndexError
from similarity.contract import MIN_SCANN_PRODUCTS, FloatArray, Neighbours, checked_queries
from similarity.exact_index import ExactIndex
from similarity.vectors import VECTORS, ProductVectors, load_vectors

_SCANN, _EFFORT, _DATASET = "scann", "effort.json", "dataset.npy"
_ASSET_PATH = re.compile(r'asset_path: "(?:[^"]*/)?([^"/]+)"')


class ScannIndex:
    """Fast on millions, right most of the time; `recall.py` measures how often. See `NeighbourIndex` for the methods.

    Source:
        Guo et al. 2020, ICML, "Accelerating large-scale inference with anisotropic vector quantization".
    """

    kind = "scann"

    def __init__(self, products: ProductVectors, searcher: Any, leaves: int, leaves_searched: int, reordered: int) -> None:
        self.products = products
        self.leaves, self.leaves_searched, self.reordered = leaves, leaves_searched, reordered
        self._searcher = searcher
        self._exact = ExactIndex(products)

    @classmethod
    def build(cls, products: ProductVectors, seed: int = 0) -> ScannIndex:
        """Makes an index of about sqrt(num_products) leaves, a tenth of which a query looks into.

        Raises:
            NeighbourIndexError: fewer than `MIN_SCANN_PRODUCTS` products.
        """
        if len(products) < MIN_SCANN_PRODUCTS:
            raise NeighbourIndexError(f"ScaNN needs {MIN_SCANN_PRODUCTS} products, found {len(products)}. Raise index.exact_below.")
        leaves = max(10, round(len(products) ** 0.5))
        searched, reordered = max(10, leaves // 10), 200
        vectors = np.ascontiguousarray(products.vectors, np.float32)
        searcher = scann_ops_pybind.create_searcher(vectors, _config(vectors, leaves, searched, reordered, seed))
        return cls(products, searcher, leaves, searched, reordered)

    def with_more_effort(self) -> ScannIndex | None:
        """Returns the same index with each query looking into twice the leaves, or None when it looks into all."""
        if self.leaves_searched >= self.leaves:
            return None
        searched = min(self.leaves, 2 * self.leaves_searched)
        return ScannIndex(self.products, self._searcher, self.leaves, searched, 2 * self.reordered)

    def save(self, folder: Path) -> None:
        """Writes `scann/`, without the copy of the vectors and the absolute paths that ScaNN would put there."""
        inner = folder / _SCANN
        inner.mkdir()
        self._searcher.serialize(str(inner))
        (inner / _DATASET).unlink()
        assets = inner / "scann_assets.pbtxt"
        assets.write_text(_ASSET_PATH.sub(r'asset_path: "\1"', assets.read_text(encoding="utf-8")), encoding="utf-8")
        effort = {"leaves": self.leaves, "leaves_searched": self.leaves_searched, "reordered": self.reordered}
        (inner / _EFFORT).write_text(json.dumps(effort), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ScannIndex:
        """Reads an index from wherever its folder is now.

        Raises:
            NeighbourIndexError: a file is missing or damaged.
        """
        products = load_vectors(folder)
        inner = (folder / _SCANN).resolve()
        try:
            effort = json.loads((inner / _EFFORT).read_text(encoding="utf-8"))
            assets = (inner / "scann_assets.pbtxt").read_text(encoding="utf-8")
            searcher = scann_ops_pybind.scann_pybind.ScannNumpy(str(inner), _absolute(assets, inner))
            return cls(products, scann_ops_pybind.ScannSearcher(searcher), **effort)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise NeighbourIndexError(f"{folder}: the ScaNN index is damaged: {error}. Build it again, or copy it again.") from None

    def search(self, queries: FloatArray, k: int, subtree: range | None = None) -> Neighbours:
        """Returns the neighbours of each query: of a subtree exactly, of the whole index nearly so."""
        if subtree is not None:
            return self._exact.search(queries, k, subtree)
        unit = checked_queries(queries, k, self.products.dimension)
        width = min(k, len(self.products))
        if not len(unit):
            return self._exact.search(unit, k)
        found, similarities = self._searcher.search_batched(
            unit,
            final_num_neighbors=width,
            pre_reorder_num_neighbors=max(self.reordered, 4 * width),
            leaves_to_search=self.leaves_searched,
        )
        return self._completed(unit, width, found.astype(np.int64), similarities)

    def _completed(self, queries: FloatArray, k: int, positions: Any, similarities: Any) -> Neighbours:
        """Searches exactly where the leaves held fewer than k products; ScaNN fills such rows with NaN."""
        short = ~np.isfinite(similarities).all(axis=1)
        positions = np.where(short[:, None], 0, positions)
        if short.any():
            exact = self._exact.search(queries[short], k)
            positions[short], similarities[short] = exact.positions, exact.similarities
        return Neighbours(self.products.id_array[positions], np.clip(similarities, -1, 1), positions)


def _config(vectors: FloatArray, leaves: int, searched: int, reordered: int, seed: int) -> str:
    """Returns ScaNN's configuration; k-means++ with a seed makes the build repeatable, which ScaNN's builder can't say."""
    builder = (
        scann_ops_pybind.builder(vectors, 10, "dot_product")
        .tree(leaves, searched, training_sample_size=min(len(vectors), 100_000), random_init=False)
        .score_ah(2, anisotropic_quantization_threshold=0.2, training_sample_size=min(len(vectors), 100_000))
        .reorder(reordered)
    )
    builder.params["extra"] = {"mutable": False}
    text = builder.create_config()
    text = text.replace("partitioning {", f"partitioning {{ clustering_seed: {seed}", 1)
    return str(text.replace("asymmetric_hash {", f"asymmetric_hash {{ clustering_seed: {seed} sampling_seed: {seed}", 1))


def _absolute(assets: str, inner: Path) -> str:
    def place(found: re.Match[str]) -> str:
        path = inner.parent / VECTORS if found[1] == _DATASET else inner / found[1]
        return f'asset_path: "{path}"'

    return _ASSET_PATH.sub(place, assets)
