"""Puts the embeddings of a scored pool into the tree order that the similarity index needs; the TFX shell is index_builder.py."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.scored_pool import EMBEDDING, EXCLUSIVE_NODES, PRODUCT_ID, ScoredPool, iterate_scored_pool, read_pool_manifest
from schemas.errors import NeighbourIndexError
from schemas.product import PRICE
from schemas.taxonomy import Taxonomy
from similarity.manifest import IndexManifest
from similarity.planner import build_index, save_index
from similarity.product_columns import TEXT_COLUMNS, ProductColumns, columns_from_values
from similarity.vectors import FLOAT32, ProductVectors, in_tree_order

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexPlan:
    """How an index is built: `index.exact_below`, `index.neighbours`, `index.min_recall`, `index.storage`, `run.seed`."""

    exact_below: int
    neighbours: int
    min_recall: float
    seed: int
    storage: str = FLOAT32


def pool_vectors(folder: Path, taxonomy: Taxonomy) -> ProductVectors:
    """Returns the vectors of a scored pool, ordered by the node each product is predicted to be at.

    A product without a direction (a vector of zeros: the model knows nothing about it) is left out and counted in the
    log; one whose predicted node left the taxonomy is found by searches of the whole index only.

    Args:
        folder: of the scored pool.
        taxonomy: whose tree order the index gets.

    Raises:
        NeighbourIndexError: no product with a vector, a product id used twice, or a vector that isn't finite.
        SamplingError: a pool that can't be read.
    """
    manifest = read_pool_manifest(folder)
    vectors = np.zeros((manifest.num_products, manifest.embedding_dimension), np.float32)
    numbers = np.full(manifest.num_products, -1, np.int64)
    product_ids: list[str] = []
    texts: dict[str, list[str | None]] = {name: [] for name in TEXT_COLUMNS}
    prices = np.full(manifest.num_products, np.nan, np.float32)
    for block in iterate_scored_pool(folder, [PRODUCT_ID, EXCLUSIVE_NODES, EMBEDDING, *TEXT_COLUMNS, PRICE]):
        rows = slice(len(product_ids), len(product_ids) + len(block))
        vectors[rows] = _checked_embeddings(block, folder)
        numbers[rows] = _predicted_numbers(block.need("exclusive_nodes")[:, 0], taxonomy)
        prices[rows] = block.fields[PRICE].astype(np.float32)  # None becomes NaN.
        for name, values in texts.items():
            values.extend(block.fields[name])
        product_ids.extend(block.need("product_ids"))
    return _ordered(vectors, numbers, product_ids, columns_from_values(texts, prices), taxonomy)


def _checked_embeddings(block: ScoredPool, folder: Path) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = block.need("embeddings")
    if found.shape[1] != block.manifest.embedding_dimension:
        raise NeighbourIndexError(
            f"{folder}: embeddings have dimension {found.shape[1]}, the manifest says {block.manifest.embedding_dimension}. "
            "Score the pool again."
        )
    return found


def _predicted_numbers(node_ids: npt.NDArray[Any], taxonomy: Taxonomy) -> npt.NDArray[np.int64]:
    known = {node_id: taxonomy.index(node_id) if node_id in taxonomy else -1 for node_id in set(node_ids.tolist())}
    return np.array([known[node_id] for node_id in node_ids.tolist()], np.int64)


def _ordered(
    vectors: npt.NDArray[np.float32], numbers: npt.NDArray[np.int64], ids: list[str], columns: ProductColumns, taxonomy: Taxonomy
) -> ProductVectors:
    empty = ~vectors.any(axis=1)
    if empty.any():
        log.warning("index_building left_out=%d products=%d reason=vector_of_zeros", int(empty.sum()), len(ids))
        vectors, numbers, columns = vectors[~empty], numbers[~empty], columns.take(np.flatnonzero(~empty))
        ids = [product_id for product_id, out in zip(ids, empty.tolist(), strict=True) if not out]
    return in_tree_order(vectors, ids, numbers, taxonomy.ids, taxonomy.subtree_ends, columns)


def build_pool_index(pool_folder: Path, taxonomy: Taxonomy, index_folder: Path, plan: IndexPlan) -> IndexManifest:
    """Builds, measures and writes the index of a scored pool; its version is 0 until it is pushed.

    Raises:
        NeighbourIndexError: nothing to index, or recall under the floor; then nothing is written.
    """
    products = pool_vectors(pool_folder, taxonomy)
    built = build_index(products, plan.exact_below, plan.neighbours, plan.min_recall, plan.seed, plan.storage)
    model_sha256 = read_pool_manifest(pool_folder).model_sha256
    return save_index(index_folder, built, model_sha256, taxonomy.sha256)
