"""Keeps vectors on disk by what they were made from, so that nothing is encoded twice."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
DEFAULT_MAX_BYTES = 4_000_000_000
_KEYS_AT_ONCE = 500
_WAIT_S = 60.0
_KEPT_SHARE = 0.9  # A full cache makes some room at once, not a row at a time.
_SECONDS_A_DAY = 86_400
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, encoder TEXT NOT NULL, content BLOB NOT NULL, used_on INTEGER NOT NULL,
 vector BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS by_content ON vectors (encoder, content);
CREATE INDEX IF NOT EXISTS by_use ON vectors (used_on);
"""


def content_key(value: bytes) -> bytes:
    """Returns what a text or an image is found by: the first half of its SHA-256.

    >>> len(content_key(b"a shoe"))
    16
    """
    return hashlib.sha256(value).digest()[:16]


class VectorCache:
    """Vectors by (digest of the encoder, key of the content), in one SQLite file that runs and workers share.

    A cache is a convenience: one that is damaged is put aside and begun anew, one that can't be written is done without, and
    a process killed at any moment leaves whole vectors or none. Either is logged once.

    Args:
        path: the file; its folder is made.
        max_bytes: size the file may have; the vectors that weren't used for longest go first.
        today: days since 1970, for tests.
    """

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES, today: Callable[[], int] | None = None) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._today = today or (lambda: int(time.time()) // _SECONDS_A_DAY)
        self._connection: sqlite3.Connection | None = None
        self._given_up = False

    def get(self, encoder: str, keys: Sequence[bytes], size: int) -> dict[bytes, np.ndarray]:
        """Returns the vectors that are there, float32 `[size]` each, by key."""
        return self._tried(lambda database: _found(database, encoder, keys, size, self._today()), {})

    def put(self, encoder: str, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Adds vectors, all of them or none, and makes room if there are too many bytes."""
        rows = [(encoder, key, self._today(), np.asarray(vector, "<f4").tobytes()) for key, vector in vectors.items()]
        self._tried(lambda database: _add(database, rows, self._max_bytes), None)

    def close(self) -> None:
        """Lets go of the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _tried(self, act: Callable[[sqlite3.Connection], _Result], otherwise: _Result) -> _Result:
        for attempt in range(2):
            if self._given_up:
                break
            try:
                return act(self._opened())
            except (sqlite3.OperationalError, OSError) as error:  # Read-only, full, locked: not the file's content.
                self._give_up(error)
            except sqlite3.DatabaseError as error:
                self._put_aside(error, last=attempt == 1)
        return otherwise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Workers may hand an object from thread to thread, one at a time.
            self._connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            self._connection.executescript(_SCHEMA)
        return self._connection

    def _give_up(self, error: Exception) -> None:
        self.close()
        self._given_up = True
        log.warning("vector_cache path=%s can't be used, going on without: %s", self._path, error)

    def _put_aside(self, error: Exception, last: bool) -> None:
        self.close()
        try:
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
        except OSError as failure:
            self._give_up(failure)
            return
        self._given_up = last
        log.warning("vector_cache path=%s is damaged, beginning anew: %s", self._path, error)


def _found(database: sqlite3.Connection, encoder: str, keys: Sequence[bytes], size: int, today: int) -> dict[bytes, np.ndarray]:
    found: dict[bytes, np.ndarray] = {}
    stale: list[tuple[int, int]] = []
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        part = keys[start : start + _KEYS_AT_ONCE]
        marks = ",".join("?" * len(part))
        # The marks are question marks alone; every value is bound.
        query = f"SELECT id, content, used_on, vector FROM vectors WHERE encoder = ? AND content IN ({marks})"  # noqa: S608
        for number, key, used_on, vector in database.execute(query, (encoder, *part)):
            if len(vector) == 4 * size:
                found[key] = np.frombuffer(vector, "<f4")
                if used_on < today:
                    stale.append((today, number))
    if stale:
        _in_one(database, lambda: database.executemany("UPDATE vectors SET used_on = ? WHERE id = ?", stale))
    return found


def _add(database: sqlite3.Connection, rows: Sequence[tuple[str, bytes, int, bytes]], max_bytes: int) -> None:
    def add() -> None:
        database.executemany("INSERT OR REPLACE INTO vectors (encoder, content, used_on, vector) VALUES (?, ?, ?, ?)", rows)
        _make_room(database, max_bytes)

    _in_one(database, add)


def _make_room(database: sqlite3.Connection, max_bytes: int) -> None:
    (page_bytes,), (pages,), (free,) = (
        database.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
    )
    used = page_bytes * (pages - free)
    if used <= max_bytes:
        return
    (count,) = database.execute("SELECT COUNT(*) FROM vectors").fetchone()
    surplus = int(count * (1 - _KEPT_SHARE * max_bytes / used)) + 1
    database.execute("DELETE FROM vectors WHERE id IN (SELECT id FROM vectors ORDER BY used_on, id LIMIT ?)", (surplus,))
    log.info("vector_cache removed=%d of=%d bytes=%d", surplus, count, used)


def _in_one(database: sqlite3.Connection, act: Callable[[], object]) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        act()
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
