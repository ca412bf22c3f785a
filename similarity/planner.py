"""Picks the kind of index for a pool, and refuses one that finds too few of the true neighbours."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.errors import NeighbourIndexError
from similarity.approximate_index import ApproximateIndex
from similarity.contract import MIN_SCANN_PRODUCTS, NeighbourIndex, index_kind
from similarity.manifest import IndexManifest, verify, write_manifest
from similarity.recall import measured_recall, query_sample
from similarity.vectors import FLOAT32, STORAGES, ProductVectors, save_vectors

SAMPLE_QUERIES = 500
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltIndex:
    """An index and its measured recall@`neighbours`."""

    index: NeighbourIndex
    recall: float
    neighbours: int


def planned_kind(num_products: int, exact_below: int) -> str:
    """Returns `exact` below a size and where ScaNN has too little to fit, `scann` otherwise.

    >>> planned_kind(49_999, 50_000), planned_kind(50_000, 50_000)
    ('exact', 'scann')
    """
    return "exact" if num_products < max(exact_below, MIN_SCANN_PRODUCTS) else "scann"


def build_index(
    products: ProductVectors, exact_below: int, neighbours: int, min_recall: float, seed: int, storage: str = FLOAT32, kind: str = ""
) -> BuiltIndex:
    """Builds the planned kind and measures it on a sample of its own vectors.

    An approximate index under the floor is searched harder, step by step, before it is refused.

    Args:
        products: what to index.
        exact_below: products from which an approximate kind is built, and from which a subtree is searched with it.
        neighbours: what recall is measured on.
        min_recall: the floor.
        seed: of what is fitted.
        storage: `float32` or `int8`.
        kind: what to build; empty plans it by size.

    Raises:
        NeighbourIndexError: the recall floor isn't reached, or an unknown storage or kind.
    """
    if storage not in STORAGES:
        raise NeighbourIndexError(f"index storage {storage!r} is unknown. Known: {', '.join(STORAGES)}.")
    index = index_kind(kind or planned_kind(len(products), exact_below)).build(products.stored_as(storage), seed)
    if isinstance(index, ApproximateIndex):
        index.exact_below = exact_below
    queries = query_sample(index, SAMPLE_QUERIES, np.random.default_rng(seed))
    recall = measured_recall(index, queries, neighbours)
    while recall < min_recall:
        harder = index.with_more_effort()
        if harder is None:
            raise NeighbourIndexError(
                f"{index.kind} index of {len(products)} products: recall@{neighbours} is {recall:.3f}, the floor is {min_recall:.3f}. "
                f"Lower index.min_recall, or set index.exact_below above {len(products)} for exact search."
            )
        index, recall = harder, measured_recall(harder, queries, neighbours)
        log.info("planner harder kind=%s recall=%.4f floor=%.4f", index.kind, recall, min_recall)
    return BuiltIndex(index, recall, neighbours)


def save_index(folder: Path, built: BuiltIndex, model_sha256: str = "", taxonomy_sha256: str = "", version: int = 0) -> IndexManifest:
    """Writes an index that `load_index` reads; the manifest comes last, so that half an index is none."""
    folder.mkdir(parents=True, exist_ok=True)
    save_vectors(folder, built.index.products)
    built.index.save(folder)
    described = IndexManifest(
        kind=built.index.kind,
        num_products=len(built.index.products),
        dimension=built.index.products.dimension,
        recall=built.recall,
        neighbours=built.neighbours,
        version=version,
        model_sha256=model_sha256,
        taxonomy_sha256=taxonomy_sha256,
        storage=built.index.products.storage,
        exact_below=built.index.exact_below if isinstance(built.index, ApproximateIndex) else 0,
    )
    return write_manifest(folder, described)


def load_index(folder: Path, version: int | None = None, content: bool = True) -> tuple[NeighbourIndex, IndexManifest]:
    """Returns the index of a folder and its manifest, every file verified.

    Args:
        folder: of the index.
        version: that of the live model; None: any.
        content: False trusts the content of the files, as `verify` says.

    Raises:
        NeighbourIndexError: missing, damaged, of another version or format, or not what its manifest says.
    """
    manifest = verify(folder, version, content)
    index = index_kind(manifest.kind).load(folder)
    products = index.products
    if (len(products), products.dimension, products.storage) != (manifest.num_products, manifest.dimension, manifest.storage):
        raise NeighbourIndexError(
            f"{folder}: found {len(products)} vectors of dimension {products.dimension} in {products.storage}, the manifest says "
            f"{manifest.num_products} of {manifest.dimension} in {manifest.storage}. Build the index again."
        )
    if isinstance(index, ApproximateIndex):
        index.exact_below = manifest.exact_below
    return index, manifest
