"""Holds product ids as bytes with offsets, a tenth of what a list of texts takes, and finds one by its digest."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from schemas.errors import NeighbourIndexError

TEXT, ENDS, HASHES, ROWS = "id_text.npy", "id_ends.npy", "id_hashes.npy", "id_rows.npy"
ID_FILES = (TEXT, ENDS, HASHES, ROWS)
_HASH_BYTES = 8


class ProductIds(Sequence[str]):
    """Product ids in a fixed order; a slice gives a tuple.

    >>> ids = ProductIds.of(["a", "ü", "c"])
    >>> ids[1], ids[1:], ids.find("c"), ids.find("d")
    ('ü', ('ü', 'c'), 2, -1)

    Args:
        text: uint8 `[num_bytes]`, all ids in UTF-8, one after the other.
        ends: int64 `[num_products]`, where each id ends in `text`.
        hashes: uint64 `[num_products]`, sorted digests of the ids.
        rows: uint32 `[num_products]`, the row that each digest belongs to.
    """

    def __init__(self, text: npt.NDArray[Any], ends: npt.NDArray[Any], hashes: npt.NDArray[Any], rows: npt.NDArray[Any]) -> None:
        if not (len(ends) == len(hashes) == len(rows)) or (len(ends) and int(ends[-1]) != len(text)):
            raise NeighbourIndexError(f"{len(ends)} product ids with {len(hashes)} digests don't fit. Build the index again.")
        self._text, self._ends, self._hashes, self._rows = text, ends, hashes, rows
        self._letters = text.data  # Slices of it cost a tenth of an array's.
        self._digests = hashes.data  # NumPy's search would let other threads go first, for the sake of a microsecond.

    @classmethod
    def of(cls, ids: Iterable[str]) -> ProductIds:
        """Returns ids as they are given.

        Raises:
            NeighbourIndexError: an id is there twice. Names it.
        """
        encoded = [product_id.encode() for product_id in ids]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        hashes = np.fromiter(map(_hash, encoded), np.uint64, len(encoded))
        rows = np.argsort(hashes, kind="stable").astype(np.uint32)
        hashes = hashes[rows]
        _refuse_twins(encoded, hashes, rows)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends, hashes, rows)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self.take(np.arange(len(self))[index]).tolist())
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return str(self.take(np.array([index % len(self)]))[0])

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Returns the ids at rows as objects (str), in the shape of `positions`."""
        flat = np.asarray(positions, np.int64).reshape(-1)
        starts = np.where(flat > 0, self._ends[flat - 1], 0).tolist() if len(self) else []
        ends = self._ends[flat].tolist() if len(self) else []
        found = np.empty(len(flat), dtype=object)
        found[:] = [str(self._letters[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]
        return found.reshape(np.shape(positions))

    def find(self, product_id: str) -> int:
        """Returns the row of an id, -1 where there is none."""
        wanted = product_id.encode()
        digest = _hash(wanted)
        at = bisect.bisect_left(self._digests, digest)
        while at < len(self) and self._digests[at] == digest:
            row = int(self._rows[at])
            if self._letters[int(self._ends[row - 1]) if row else 0 : int(self._ends[row])] == wanted:
                return row
            at += 1
        return -1

    def save(self, folder: Path) -> None:
        """Writes `ID_FILES`."""
        for name, array in zip(ID_FILES, (self._text, self._ends, self._hashes, self._rows), strict=True):
            np.save(folder / name, array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> ProductIds:
        """Reads what `save` wrote; it stays on disk until it is touched.

        Raises:
            OSError, ValueError: a file is missing or damaged.
        """
        return cls(*(load_mapped(folder / name) for name in ID_FILES))


def load_mapped(path: Path) -> npt.NDArray[Any]:
    """Returns an array that stays on disk until it is touched; an empty one, which can't be mapped, is read."""
    return np.asarray(np.load(path, mmap_mode="r" if path.stat().st_size > _NPY_HEADER else None, allow_pickle=False))


_NPY_HEADER = 128  # Bytes before the numbers, as NumPy writes them for one or two axes.


def _hash(encoded: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=_HASH_BYTES).digest(), "big")


def _refuse_twins(encoded: Sequence[bytes], hashes: npt.NDArray[Any], rows: npt.NDArray[Any]) -> None:
    for at in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
        same = hashes == hashes[at]  # Almost always two; more only where an id is there more often.
        names = [encoded[row] for row in rows[same].tolist()]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise NeighbourIndexError(f"product {twice.decode()!r} is there twice. Give each product its own id.")
