"""Names candidates with ScaNN: a tree of clusters, and hashes of the vectors in them."""

from __future__ import annotations

import json
import re
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from schemas.errors import NeighbourIndexError
from similarity.approximate_index import ApproximateIndex
from similarity.arrays import FloatArray, IntArray
from similarity.contract import MIN_SCANN_PRODUCTS
from similarity.vectors import FLOAT32, INT8, VECTORS, ProductVectors, load_vectors

_SCANN, _EFFORT, _DATASET = "scann", "effort.json", "dataset.npy"
# Numbers that share one hash of 4 bits, and candidates named for each one asked for: short hashes take less memory and name more.
# Measured on 500,000 x 128: with int8, 8 numbers and 16 candidates find 0.9997 of the 100 nearest, at 8 bytes a vector.
_HASHES = {FLOAT32: (2, 2), INT8: (8, 16)}
_ASSET_PATH = re.compile(r'asset_path: "(?:[^"]*/)?([^"/]+)"')


class ScannIndex(ApproximateIndex):
    """Fast on millions, right most of the time; `recall.py` measures how often. See `NeighbourIndex` for the methods.

    ScaNN keeps hashes alone; the vectors themselves are compared here.

    Source:
        Guo et al. 2020, ICML, "Accelerating large-scale inference with anisotropic vector quantization".
    """

    kind = "scann"

    def __init__(self, products: ProductVectors, searcher: Any, leaves: int, leaves_searched: int, spare: int) -> None:
        super().__init__(products)
        self.leaves, self.leaves_searched, self.spare = leaves, leaves_searched, spare
        self._searcher = searcher

    @classmethod
    def build(cls, products: ProductVectors, seed: int = 0) -> ScannIndex:
        """Makes an index of about sqrt(num_products) leaves, a tenth of which a query looks into.

        Raises:
            NeighbourIndexError: fewer than `MIN_SCANN_PRODUCTS` products.
        """
        if len(products) < MIN_SCANN_PRODUCTS:
            raise NeighbourIndexError(f"ScaNN needs {MIN_SCANN_PRODUCTS} products, found {len(products)}. Raise index.exact_below.")
        leaves = max(10, round(len(products) ** 0.5))
        searched = max(10, leaves // 10)
        vectors = np.ascontiguousarray(products.vectors, np.float32)
        hashed, spare = _HASHES[products.storage]
        searcher = scann_ops_pybind.create_searcher(vectors, _config(vectors, leaves, searched, hashed, seed))
        return cls(products, searcher, leaves, searched, spare)

    def with_more_effort(self) -> ScannIndex | None:
        """Returns the same index with each query looking into twice the leaves, or None when it looks into all."""
        if self.leaves_searched >= self.leaves:
            return None
        harder = copy(self)
        harder.leaves_searched, harder.spare = min(self.leaves, 2 * self.leaves_searched), 2 * self.spare
        return harder

    def save(self, folder: Path) -> None:
        """Writes `scann/`, without the absolute paths that ScaNN would put there."""
        inner = folder / _SCANN
        inner.mkdir()
        self._searcher.serialize(str(inner))
        assets = inner / "scann_assets.pbtxt"
        assets.write_text(_ASSET_PATH.sub(r'asset_path: "\1"', assets.read_text(encoding="utf-8")), encoding="utf-8")
        effort = {"leaves": self.leaves, "leaves_searched": self.leaves_searched, "spare": self.spare}
        (inner / _EFFORT).write_text(json.dumps(effort), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, products: ProductVectors | None = None) -> ScannIndex:
        """Reads an index from wherever its folder is now.

        Raises:
            NeighbourIndexError: a file is missing or damaged.
        """
        products = products or load_vectors(folder)
        inner = (folder / _SCANN).resolve()
        try:
            effort = json.loads((inner / _EFFORT).read_text(encoding="utf-8"))
            spare = effort.pop("spare", None) or max(1, effort.pop("reordered") // 100)  # Format 1 counted them for 100 neighbours.
            assets = (inner / "scann_assets.pbtxt").read_text(encoding="utf-8")
            searcher = scann_ops_pybind.scann_pybind.ScannNumpy(str(inner), _absolute(assets, inner))
            return cls(products, scann_ops_pybind.ScannSearcher(searcher), spare=spare, **effort)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise NeighbourIndexError(f"{folder}: the ScaNN index is damaged: {error}. Build it again, or copy it again.") from None

    def candidates(self, unit: FloatArray, count: int) -> IntArray:
        """Returns `spare` times as many as asked for, or fewer where the leaves hold no more; -1 for none."""
        wanted = min(count * self.spare, len(self.products))
        found, similarities = self._searcher.search_batched(
            unit, final_num_neighbors=wanted, pre_reorder_num_neighbors=wanted, leaves_to_search=self.leaves_searched
        )
        rows: IntArray = found.astype(np.int64)
        rows[~np.isfinite(similarities)] = -1
        return rows


def _config(vectors: FloatArray, leaves: int, searched: int, hashed: int, seed: int) -> str:
    """Returns ScaNN's configuration; k-means++ with a seed makes the build repeatable, which ScaNN's builder can't say."""
    builder = (
        scann_ops_pybind.builder(vectors, 10, "dot_product")
        .tree(leaves, searched, training_sample_size=min(len(vectors), 100_000), random_init=False)
        .score_ah(hashed, anisotropic_quantization_threshold=0.2, training_sample_size=min(len(vectors), 100_000))
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
