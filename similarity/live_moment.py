"""Answers queries over one moment of a live index: what is built, and the changes up to then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from similarity.arrays import BoolArray, FloatArray, Ranked
from similarity.contract import NeighbourIndex, checked_queries
from similarity.manifest import IndexManifest
from similarity.product_columns import ProductFilter
from similarity.query_plan import QueryPlan
from similarity.recent_changes import RecentView


@dataclass(frozen=True)
class LiveAnswer:
    """The most similar products of each query, best first, all of one moment of one index.

    Attributes:
        ids: object (str) `[num_queries, k]`.
        similarities: float32 `[num_queries, k]`, cosine similarity in [-1, 1].
        node_ids: object (str) `[num_queries, k]`, where each product is; empty for no node.
        version: of the index, and of the model whose vectors it holds.
        sequence: number of the last change that the answer knows of.
        plan: how the built index was searched, and why so.
        num_recent: changed products that were compared as well.
    """

    ids: npt.NDArray[Any]
    similarities: FloatArray
    node_ids: npt.NDArray[Any]
    version: int
    sequence: int
    plan: QueryPlan
    num_recent: int


@dataclass(frozen=True)
class Moment:
    """All a query needs, of one moment.

    Attributes:
        index: that is built.
        manifest: of it.
        recent: the changes since.
        sequence: number of the last of them.
    """

    index: NeighbourIndex
    manifest: IndexManifest
    recent: RecentView
    sequence: int

    def search(self, queries: FloatArray, k: int, node_id: str | None, wanted: ProductFilter | None) -> LiveAnswer:
        """Answers `LiveIndex.search`."""
        products = self.index.products
        subtree = None if node_id is None else products.subtree(node_id)
        allowed = self._allowed(products.rows(subtree), wanted)
        found = self.index.search(queries, k, subtree, allowed)  # Checks the queries.
        nodes = products.nodes_of(found.positions)
        ids, similarities = found.ids, found.similarities
        if self.recent.count and len(queries):
            recent = self.recent.search(checked_queries(queries, k, products.dimension), k, subtree, wanted)
            ids, similarities, nodes = _merged(ids, similarities, nodes, recent, self.recent, products.node_names, k)
        plan = self.index.plan(k, subtree, allowed)
        return LiveAnswer(ids, similarities, nodes, self.manifest.version, self.sequence, plan, self.recent.count)

    def explain(self, k: int, node_id: str | None, wanted: ProductFilter | None) -> QueryPlan:
        """Answers `LiveIndex.explain`."""
        products = self.index.products
        subtree = None if node_id is None else products.subtree(node_id)
        return self.index.plan(k, subtree, self._allowed(products.rows(subtree), wanted))

    def _allowed(self, rows: slice, wanted: ProductFilter | None) -> BoolArray | None:
        alive = self.recent.built_alive(rows)
        if not wanted:
            return alive
        mask = self.index.products.mask(wanted, rows)
        return mask if alive is None else mask & alive


def _merged(
    ids: npt.NDArray[Any],
    similarities: FloatArray,
    nodes: npt.NDArray[Any],
    recent: Sequence[Ranked],
    view: RecentView,
    names: npt.NDArray[Any],
    k: int,
) -> tuple[npt.NDArray[Any], FloatArray, npt.NDArray[Any]]:
    """Returns the best of built and changed products; every query has equally many of both, so the result is a rectangle."""
    new_ids = np.array([view.ids(rows) for rows, _ in recent], dtype=object).reshape(len(ids), -1)
    new_nodes = np.array([names[view.node_numbers(rows)] for rows, _ in recent], dtype=object).reshape(len(ids), -1)
    new_similarities = np.array([np.clip(found, -1, 1) for _, found in recent], np.float32).reshape(len(ids), -1)
    all_similarities = np.concatenate([similarities, new_similarities], axis=1)
    order = np.argsort(-all_similarities, axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(np.concatenate([ids, new_ids], axis=1), order, axis=1),
        np.take_along_axis(all_similarities, order, axis=1),
        np.take_along_axis(np.concatenate([nodes, new_nodes], axis=1), order, axis=1),
    )
