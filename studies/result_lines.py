"""Keeps the points of a study as JSON lines: appended one by one, never computed twice, and whole after any interruption."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from schemas.errors import StoreError

Line = dict[str, Any]
# What a line is about, in the order people read it.
KEY = ("case", "strategy", "variant", "seed", "budget")


def key_of(line: Line) -> tuple[Any, ...]:
    """Returns what a line is about; two lines of one key say the same."""
    return tuple(line.get(name, "") for name in KEY)


def read_lines(path: Path) -> list[Line]:
    """Returns the lines of a file, without a last one that was cut off.

    Raises:
        StoreError: the file can't be read, or a line isn't a point of a study.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}. Name a file that aisle study wrote.") from None
    return list(_parsed(content[: content.rfind(b"\n") + 1], path))


def _parsed(content: bytes, path: Path) -> Iterator[Line]:
    for number, text in enumerate(content.split(b"\n")[:-1], 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{path}:{number}: this isn't a point of a study: {error}. Remove the line, and it is computed again."
            ) from None
        if not isinstance(line, dict) or not {"case", "strategy", "seed", "answers"} <= line.keys():
            raise StoreError(
                f"{path}:{number}: expected an object with case, strategy, seed and answers. Remove the line, and it is computed again."
            )
        yield line


class ResultFile:
    """A file of lines held by one study at a time; a last line that was cut off is removed when it is opened.

    Args:
        path: made when missing.

    Raises:
        StoreError: it can't be written, holds something else, or another study holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise StoreError(f"{path}: can't be written: {error.strerror}. Name another file with --out.") from None
        try:
            self._lock()
            self.lines = read_lines(path)
            self._cut_torn_line()
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"{self._path}: another study is writing here. Wait until it is done, or name another --out.") from None

    def _cut_torn_line(self) -> None:
        content = self._path.read_bytes()
        if content and not content.endswith(b"\n"):
            self._file.truncate(content.rfind(b"\n") + 1)

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    @property
    def keys(self) -> set[tuple[Any, ...]]:
        """What there are lines about."""
        return {key_of(line) for line in self.lines}

    def check_made_by(self, made_by: str, strategies: Sequence[str]) -> None:
        """Refuses to mix points that don't compare.

        Args:
            made_by: digest of the content, the code and the settings of what is about to be computed.
            strategies: the lines it is about.

        Raises:
            StoreError: a line about one of them was made by something else.
        """
        for number, line in enumerate(self.lines, 1):
            if line["strategy"] in strategies and line.get("made_by") != made_by:
                raise StoreError(
                    f"{self._path}:{number}: other code, settings or content made this: {line.get('made_by', 'none')}, now {made_by}. "
                    "Name another --out, or remove the file to start again."
                )

    def append(self, line: Line) -> None:
        """Adds a line unless there is one about the same; it is on its way to the disk when this returns.

        Raises:
            StoreError: the disk doesn't take it.
        """
        if key_of(line) in self.keys:
            return
        try:
            self._file.write((json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())
            self._file.flush()
        except OSError as error:
            raise StoreError(f"{self._path}: can't be written: {error.strerror}. Make room, and give the same command again.") from None
        self.lines.append(line)
