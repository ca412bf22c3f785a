"""Holds changes since an index was built in memory: new rows, compared exactly, and which older rows no longer count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from similarity.arrays import BoolArray, FloatArray, IntArray, Ranked
from similarity.changes import Change, Delete, Move, Upsert
from similarity.product_columns import TEXT_COLUMNS, ProductColumns, ProductFilter
from similarity.ranking import top
from similarity.vectors import ProductVectors, in_tree_order

_NEVER = np.iinfo(np.int32).max
_FIRST_ROWS = 1_024
_MISSING = -1


@dataclass(frozen=True)
class _Rows:
    """Room for new rows; what stands beyond a view's count isn't there for it."""

    vectors: FloatArray
    numbers: npt.NDArray[np.int32]
    died: npt.NDArray[np.int32]
    codes: dict[str, npt.NDArray[np.int32]]
    prices: FloatArray


@dataclass(frozen=True)
class RecentView:
    """The changes up to one moment, unchanged by later ones.

    Attributes:
        count: new rows so far.
        moment: the last group of changes that counts.
        built_gone: rows of the built index that no longer count.
    """

    count: int
    moment: int
    built_gone: int
    _rows: _Rows
    _built_died: npt.NDArray[np.int32]
    _ids: list[str]
    _values: dict[str, dict[str, int]]

    def __bool__(self) -> bool:
        return bool(self.count or self.built_gone)

    def built_alive(self, rows: slice) -> BoolArray | None:
        """Returns bool `[rows]`, True for rows of the built index that still count; None where all do."""
        return np.asarray(self._built_died[rows] > self.moment) if self.built_gone else None

    def search(self, unit: FloatArray, k: int, nodes: range | None, wanted: ProductFilter | None) -> list[Ranked]:
        """Returns the best new rows for each query `[num_queries, dimension]`, of a range of node numbers or of all."""
        rows = self._allowed(nodes, wanted)
        few = len(rows) * 4 < self.count
        vectors = self._rows.vectors[rows] if few else self._rows.vectors[: self.count]
        found = []
        for query in unit:
            scores = vectors @ query if few else (vectors @ query)[rows]
            places = top(scores, k)
            found.append((rows[places], scores[places]))
        return found

    def _allowed(self, nodes: range | None, wanted: ProductFilter | None) -> IntArray:
        allowed = self._rows.died[: self.count] > self.moment
        if nodes is not None:
            numbers = self._rows.numbers[: self.count]
            allowed &= (numbers >= nodes.start) & (numbers < nodes.stop)
        if wanted:
            allowed &= self.columns().mask(wanted, slice(0, self.count))
        return np.flatnonzero(allowed)

    def columns(self) -> ProductColumns:
        """Returns the fields of the new rows."""
        codes = {name: codes[: self.count] for name, codes in self._rows.codes.items()}
        return ProductColumns(codes, {name: tuple(known) for name, known in self._values.items()}, self._rows.prices[: self.count])

    def ids(self, rows: IntArray) -> npt.NDArray[Any]:
        """Returns the product ids of new rows as objects (str)."""
        found = np.empty(len(rows), dtype=object)
        found[:] = [self._ids[row] for row in rows.tolist()]
        return found

    def node_numbers(self, rows: IntArray) -> list[int]:
        """Returns the node number of new rows, the number of nodes for none."""
        return [int(number) for number in self._rows.numbers[rows]]

    def alive(self) -> IntArray:
        """Returns the new rows that count."""
        return self._allowed(None, None)

    def vectors(self, rows: IntArray) -> FloatArray:
        """Returns float32 `[rows, dimension]`."""
        return self._rows.vectors[rows]


class RecentChanges:
    """Takes changes one group after the other, from one thread at a time; any thread may search a view meanwhile.

    A row is never overwritten: a change adds a row and says from which moment on the older one no longer counts, so that a view
    stays true to its moment.

    Args:
        built: the products of the built index.
    """

    def __init__(self, built: ProductVectors) -> None:
        self._built = built
        self._numbers = {node_id: number for number, node_id in enumerate(built.node_ids)}
        self._rows = _room(_FIRST_ROWS, built.dimension)
        self._ids: list[str] = []
        self._row_of: dict[str, int] = {}
        self._values: dict[str, dict[str, int]] = {name: {} for name in TEXT_COLUMNS}
        self._built_died = np.full(len(built), _NEVER, np.int32)
        self._built_gone = 0
        self._moment = 0

    def view(self) -> RecentView:
        """Returns what is there now."""
        return RecentView(len(self._ids), self._moment, self._built_gone, self._rows, self._built_died, self._ids, self._values)

    def take(self, changes: Sequence[Change]) -> None:
        """Takes a group of checked changes; a view that is made afterwards sees all of them."""
        self._moment += 1
        for change in changes:
            if isinstance(change, Delete):
                self._end(change.product_id)
                continue
            upsert = self._moved(change) if isinstance(change, Move) else change
            if upsert is not None:
                self._put(upsert)

    def vector_of(self, product_id: str) -> FloatArray | None:
        """Returns float32 `[dimension]`, the vector of a product, None where it isn't there; a part of what `find` returns, sooner."""
        row, built = self._place(product_id)
        if row is not None:
            vector: FloatArray = self._rows.vectors[row]
            return vector
        return None if built is None else self._built.vector(built)

    def find(self, product_id: str) -> Upsert | None:
        """Returns a product as it is now, None where it isn't there."""
        row, built = self._place(product_id)
        if row is not None:
            columns = self.view().columns()
            return Upsert(product_id, self._node_id(int(self._rows.numbers[row])), self._rows.vectors[row], columns.at(row))
        if built is None:
            return None
        fields = self._built.columns.at(built) if self._built.columns is not None else {}
        return Upsert(product_id, self._built.node_id(built), self._built.vector(built), fields)

    def _place(self, product_id: str) -> tuple[int | None, int | None]:
        """Returns the new row of a product, or else its row of the built index; neither where it isn't there."""
        row = self._row_of.get(product_id)
        if row is not None:
            return row, None
        built = self._built.product_ids.find(product_id)
        if built >= 0 and self._built_died[built] == _NEVER:
            return None, built
        return self._row_of.get(product_id), None  # A change may have come between the two.

    def _node_id(self, number: int) -> str:
        return self._built.node_ids[number] if number < len(self._built.node_ids) else ""

    def _moved(self, change: Move) -> Upsert | None:
        found = self.find(change.product_id)
        return None if found is None else replace(found, node_id=change.node_id)

    def _put(self, change: Upsert) -> None:
        """Adds a row, and only then ends the older one: a product that stays is there for who asks meanwhile."""
        before = self._row_of.get(change.product_id)
        self._row_of[change.product_id] = self._added(change)
        self._end_row(change.product_id, before)

    def _end(self, product_id: str) -> None:
        self._end_row(product_id, self._row_of.pop(product_id, None))

    def _end_row(self, product_id: str, row: int | None) -> None:
        if row is not None:
            self._rows.died[row] = self._moment
            return
        row = self._built.product_ids.find(product_id)
        if row >= 0 and self._built_died[row] == _NEVER:
            self._built_died[row] = self._moment
            self._built_gone += 1

    def _added(self, change: Upsert) -> int:
        row = len(self._ids)
        if row == len(self._rows.died):
            self._rows = _roomier(self._rows)
        self._rows.vectors[row] = change.vector
        self._rows.numbers[row] = self._numbers.get(change.node_id, len(self._numbers))
        self._rows.died[row] = _NEVER
        self._rows.prices[row] = change.fields.get("price", np.nan)
        for name, known in self._values.items():
            text = change.fields.get(name)
            self._rows.codes[name][row] = known.setdefault(text, len(known)) if text else _MISSING
        self._ids.append(change.product_id)
        return row


def _room(count: int, dimension: int) -> _Rows:
    codes = {name: np.full(count, _MISSING, np.int32) for name in TEXT_COLUMNS}
    return _Rows(
        np.zeros((count, dimension), np.float32),
        np.zeros(count, np.int32),
        np.full(count, _NEVER, np.int32),
        codes,
        np.zeros(count, np.float32),
    )


def _roomier(rows: _Rows) -> _Rows:
    """Returns the same rows with as much room again; views keep the old ones."""
    count = len(rows.died)
    larger = _room(2 * count, rows.vectors.shape[1])
    for name in ("vectors", "numbers", "died", "prices"):
        getattr(larger, name)[:count] = getattr(rows, name)
    for column, codes in rows.codes.items():
        larger.codes[column][:count] = codes
    return larger


def merged(built: ProductVectors, recent: RecentView) -> ProductVectors:
    """Returns the products that count, built and new ones, in tree order.

    Raises:
        NeighbourIndexError: none is left.
    """
    alive = recent.built_alive(slice(0, len(built)))
    old = np.arange(len(built)) if alive is None else np.flatnonzero(alive)
    new = recent.alive()
    built_numbers = np.searchsorted(built.node_starts, old, side="right") - 1
    numbers = np.concatenate([built_numbers, np.array(recent.node_numbers(new), np.int64)])
    vectors = np.concatenate([built.vectors[old], recent.vectors(new)])
    ids = [*built.product_ids.take(old), *recent.ids(new)]
    columns = _joined(built.columns, old, recent.columns().take(new))
    return in_tree_order(vectors, ids, numbers, built.node_ids, built.subtree_ends, columns)


def _joined(built: ProductColumns | None, old: IntArray, new: ProductColumns) -> ProductColumns:
    """Returns the columns of both, with one list of values for each."""
    codes, values = {}, {}
    for name in TEXT_COLUMNS:
        known = {value: number for number, value in enumerate(built.values[name] if built else ())}
        table = np.array([*(known.setdefault(value, len(known)) for value in new.values[name]), _MISSING], np.int32)
        before = built.codes[name][old] if built else np.full(len(old), _MISSING, np.int32)
        codes[name] = np.concatenate([before, table[new.codes[name]]])
        values[name] = tuple(known)
    prices = built.prices[old] if built else np.full(len(old), np.nan, np.float32)
    return ProductColumns(codes, values, np.concatenate([prices, new.prices]))
