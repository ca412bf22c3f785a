"""Searches product vectors exactly: every inner product is computed, in blocks of queries."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from similarity.contract import FloatArray, IntArray, Neighbours, checked_queries
from similarity.vectors import ProductVectors, load_vectors

_BLOCK_PRODUCTS = 1 << 24  # Inner products held at once: 64 MB of float32.


class ExactIndex:
    """The truth: slow on millions, never wrong. See `NeighbourIndex` for the methods."""

    kind = "exact"

    def __init__(self, products: ProductVectors) -> None:
        self.products = products

    @classmethod
    def build(cls, products: ProductVectors, seed: int = 0) -> ExactIndex:
        """Makes an index; nothing is fitted, so `seed` changes nothing."""
        del seed
        return cls(products)

    def save(self, folder: Path) -> None:
        """Writes nothing: the vectors are all there is."""

    @classmethod
    def load(cls, folder: Path) -> ExactIndex:
        """Reads the vectors of a folder."""
        return cls(load_vectors(folder))

    def with_more_effort(self) -> None:
        """Returns None: it finds everything already."""

    def search(self, queries: FloatArray, k: int, subtree: range | None = None) -> Neighbours:
        """Returns the neighbours of each query; the same search gives the same answer."""
        unit = checked_queries(queries, k, self.products.dimension)
        rows = self.products.rows(subtree)
        width = min(k, rows.stop - rows.start)
        positions = np.zeros((len(unit), width), np.int64)
        similarities = np.zeros((len(unit), width), np.float32)
        block = max(1, _BLOCK_PRODUCTS // max(1, rows.stop - rows.start))
        for start in range(0, len(unit) if width else 0, block):
            found = unit[start : start + block] @ self.products.vectors[rows].T  # [block, rows]
            columns = _top(found, width)
            positions[start : start + block] = columns + rows.start
            similarities[start : start + block] = np.take_along_axis(found, columns, axis=1)
        return Neighbours(self.products.id_array[positions], np.clip(similarities, -1, 1), positions)


def _top(similarities: FloatArray, k: int) -> IntArray:
    """Returns the columns of the k largest values of each row, largest first, equal ones by column."""
    if k < similarities.shape[1]:
        near = np.sort(np.argpartition(-similarities, k - 1, axis=1)[:, :k], axis=1)
    else:
        near = np.broadcast_to(np.arange(k), similarities.shape)
    order = np.argsort(-np.take_along_axis(similarities, near, axis=1), axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1)
