"""Keeps label events in one SQLite file; the default for one machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from schemas.errors import LabelError, StoreError
from schemas.label_event import LabelEvent, events_sha256, parse_label_event
from stores.label_events import Appended, new_events, readable_events

# "aisL" in ASCII: tells our files from other SQLite files.
_APPLICATION_ID = 0x6169734C
# 2 knows which question about a group an event answers.
_FORMAT_VERSION = 2
_PAGE = 10_000
_SCHEMA = """
CREATE TABLE label_events (
    position INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    product_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    answered_at_ms INTEGER NOT NULL,
    event TEXT NOT NULL,
    question TEXT NOT NULL DEFAULT ''
);
CREATE INDEX label_events_by_product ON label_events (product_id);
CREATE INDEX label_events_by_question ON label_events (question) WHERE question != '';
CREATE TRIGGER label_events_no_update BEFORE UPDATE ON label_events
BEGIN SELECT RAISE(ABORT, 'label events are append-only: an event is never changed'); END;
CREATE TRIGGER label_events_no_delete BEFORE DELETE ON label_events
BEGIN SELECT RAISE(ABORT, 'label events are append-only: an event is never removed'); END;
CREATE TRIGGER label_events_no_replace BEFORE INSERT ON label_events
WHEN EXISTS (SELECT 1 FROM label_events WHERE event_id = NEW.event_id OR position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'label events are append-only: an event is never replaced'); END;
"""
# No event of format 1 answers a question about a group, so none of them changes.
_FROM_1 = f"""
ALTER TABLE label_events ADD COLUMN question TEXT NOT NULL DEFAULT '';
CREATE INDEX label_events_by_question ON label_events (question) WHERE question != '';
PRAGMA user_version = {_FORMAT_VERSION};
"""
# What SQLite says of a file whose table isn't the one that its format version promises.
_NOT_AS_PROMISED = ("no such table", "no such column", "has no column", "duplicate column", "already exists")
_RESTORE = "Restore it from a backup or an export."
_STAMP = f"PRAGMA application_id = {_APPLICATION_ID};\nPRAGMA user_version = {_FORMAT_VERSION};"


class SqliteLabelEventStore:
    """A `LabelEventStore` in a SQLite file, made where there is none.

    Safe for several processes: writers wait for each other, readers don't wait. Every append is one transaction, on disk
    (`synchronous=FULL`) when it returns. One object belongs to the thread that made it.

    Args:
        path: the file, on a local disk (SQLite's locks don't work on network folders).
        read_only: refuse to write, and to make a file where there is none.
        create: whether to make a file where there is none.
        busy_timeout_ms: how long to wait for another writer.

    Raises:
        StoreError: the file can't be opened, isn't a store of label events, or was written by a later release.
    """

    def __init__(self, path: Path, *, read_only: bool = False, create: bool = True, busy_timeout_ms: int = 10_000) -> None:
        self.path = Path(path)
        self._read_only = read_only
        self._busy_timeout_ms = busy_timeout_ms
        if (read_only or not create) and not self.path.is_file():
            raise StoreError(f"{self.path}: there is no store of label events. Import some first: aisle labels import FILE.")
        with self._errors("opened"):
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(f"{self.path.absolute().as_uri()}?{self._access()}", uri=True, isolation_level=None)
            self._db.text_factory = _text
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> SqliteLabelEventStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def append(self, events: Iterable[LabelEvent]) -> Appended:
        """Appends the events the store doesn't have; see `LabelEventStore.append`."""
        given = readable_events(events)
        with self._errors("written"), self._transaction():
            added, already_there = new_events(given, self.get)
            self._db.executemany(
                "INSERT INTO label_events (event_id, product_id, kind, answered_at_ms, event, question) VALUES (?, ?, ?, ?, ?, ?)",
                [(event.event_id, event.product_id, event.kind, event.answered_at_ms, event.to_json(), event.question) for event in added],
            )
        return Appended(len(added), already_there)

    def events(self, since: int = 0) -> Iterator[LabelEvent]:
        """Yields the events after the first `since`; see `LabelEventStore.events`. Ends with what was there at the start."""
        position, last = since, self.count()
        while position < last:
            with self._errors("read"):
                rows = self._db.execute(
                    "SELECT position, event FROM label_events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
                    (position, last, _PAGE),
                ).fetchall()
            if not rows:
                raise StoreError(f"{self.path}: the events after {position} of {last} are gone. Restore the file from a backup.")
            for position, line in rows:
                yield self._event(position, line)

    def events_of(self, product_id: str) -> list[LabelEvent]:
        """Returns the events about one product, in the order they were appended."""
        return self._found("SELECT position, event FROM label_events WHERE product_id = ? ORDER BY position", product_id)

    def events_of_question(self, question: str) -> list[LabelEvent]:
        """Returns the events that answer a question about a group, in the order they were appended."""
        with self._errors("read"):
            if self._pragma("user_version") < _FORMAT_VERSION or not question:
                return []
        return self._found("SELECT position, event FROM label_events WHERE question = ? ORDER BY position", question)

    def get(self, event_id: str) -> LabelEvent | None:
        """Returns the event with this id, or None."""
        found = self._found("SELECT position, event FROM label_events WHERE event_id = ?", event_id)
        return found[0] if found else None

    def count(self) -> int:
        """Returns how many events there are."""
        with self._errors("read"):
            return int(self._db.execute("SELECT coalesce(max(position), 0) FROM label_events").fetchone()[0])

    def sha256(self) -> str:
        """Returns a digest of the events, the same for the same events in any order."""
        return events_sha256(self.events())

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout_ms)}")
        if not self._read_only:
            if not self._is_empty():
                self._check_format()  # First, since the next line changes a file, whoever's it is.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                for statement in _statements(self._missing()):
                    self._db.execute(statement)
        self._check_format()

    def _missing(self) -> str:
        """Returns the statements that make the file one of this release's format."""
        if self._is_empty():
            return _SCHEMA + _STAMP
        return _FROM_1 if self._pragma("application_id") == _APPLICATION_ID and self._pragma("user_version") == 1 else ""

    def _is_empty(self) -> bool:
        return not self._pragma("application_id") and not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    def _check_format(self) -> None:
        if self._pragma("application_id") != _APPLICATION_ID:
            raise StoreError(f"{self.path}: this SQLite file isn't a store of label events. Name another file, or a new one.")
        if not 1 <= self._pragma("user_version") <= _FORMAT_VERSION:
            raise StoreError(
                f"{self.path}: found format version {self._pragma('user_version')}, this release reads 1 to {_FORMAT_VERSION}. "
                "Use the release that wrote it, or a later one."
            )

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _found(self, query: str, value: str) -> list[LabelEvent]:
        with self._errors("read"):
            rows = self._db.execute(query, (value,)).fetchall()
        return [self._event(position, line) for position, line in rows]

    def _event(self, position: int, line: object) -> LabelEvent:
        place = f"{self.path}: the store is damaged at event {position}"
        if not isinstance(line, str):
            raise StoreError(f"{place}: found {type(line).__name__}, expected text in UTF-8. {_RESTORE}")
        try:
            return parse_label_event(line, place)
        except LabelError as error:
            raise StoreError(f"{error} {_RESTORE}") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self, act: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path}: the store of label events can't be {act}: {error}. {_way_out(error, self.path)}") from error

    def _access(self) -> str:
        """Returns how SQLite is to open the file; on a read-only disk it can't make the files by which readers and writers meet."""
        if not self._read_only:
            return "mode=rwc"
        return "mode=ro&immutable=1" if _is_read_only(self.path.parent) else "mode=ro"


def _statements(script: str) -> Iterator[str]:
    """Yields the statements of a script one by one: `executescript` would end the transaction it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _text(data: bytes) -> str | bytes:
    """Returns what a cell of text holds; what isn't UTF-8 stays bytes, so that the event's position can be told."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _is_read_only(folder: Path) -> bool:
    return folder.is_dir() and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _way_out(error: Exception, path: Path) -> str:
    text = str(error).lower()
    if "locked" in text or "busy" in text:
        return "Another program is writing to it; try again when it is done."
    if "readonly" in text or "read-only" in text or "permission" in text or _is_read_only(path.parent):
        return "Make the file and its folder writable."
    if "not a database" in text or "malformed" in text or "corrupt" in text:
        return _RESTORE
    if any(said in text for said in _NOT_AS_PROMISED):
        return f"The store is damaged. {_RESTORE}"
    if "full" in text:
        return "Make room on the disk."
    return "Check that the folder exists on a local disk and that you may write to it."
