"""Appends changes to a file so that what was acknowledged is there after any crash, and reads them back."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from schemas.errors import IndexWriteError, NeighbourIndexError
from similarity.changes import Change, decoded, encoded

_HEAD = struct.Struct("<8sII")  # What it is, its format version, the vectors' dimension.
_NAME, _FORMAT = b"AISLELOG", 1
_FRAME = struct.Struct("<4sIIQI")  # Mark, bytes of the content, CRC-32 of all that follows it, first sequence number, changes.
_MARK = b"\xa1FRM"
_CHECKED_FROM = 12  # Mark, length and the CRC itself stand before what the CRC covers.
MAX_FRAME_BYTES = 1 << 28
log = logging.getLogger(__name__)


class ChangeLog:
    """A log open for appending. One frame holds what is written together, so a crash can spoil nothing but the last.

    Args:
        path: of the file, which `create_log` made or `read_log` has read.
        next_sequence: number of the next change.

    Attributes:
        broken: why a write failed; empty where none did.
    """

    def __init__(self, path: Path, next_sequence: int) -> None:
        self.path, self.next_sequence = path, next_sequence
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.broken = ""

    def append(self, changes: Sequence[Change]) -> int:
        """Writes changes, waits until they are on disk, and returns the sequence number of the last.

        Raises:
            IndexWriteError: the disk is full or failed, now or before; nothing more is taken then, because nobody can know
                what the last frame came to.
        """
        if self.broken:
            raise IndexWriteError(self.why_broken())
        try:
            _write(self._file, _frame(self.next_sequence, changes))
            os.fsync(self._file)
        except OSError as error:
            self.broken = str(error)
            raise IndexWriteError(f"{self.path}: the changes can't be kept: {error}. Make room, then open the index again.") from None
        self.next_sequence += len(changes)
        return self.next_sequence - 1

    def why_broken(self) -> str:
        """Returns why nothing more is taken; empty where all is well."""
        return f"{self.path}: an earlier write failed ({self.broken}). Open the index again." if self.broken else ""

    def close(self) -> None:
        """Closes the file; what was appended is on disk already."""
        os.close(self._file)


def create_log(path: Path, dimension: int, next_sequence: int) -> ChangeLog:
    """Makes an empty log, on disk when this returns."""
    path.write_bytes(_HEAD.pack(_NAME, _FORMAT, dimension))
    sync(path)
    sync(path.parent)
    return ChangeLog(path, next_sequence)


def write_history(path: Path, dimension: int, changes: Iterable[tuple[int, Change]]) -> None:
    """Writes changes that keep their sequence numbers, whatever is between them."""
    with path.open("wb") as file:
        file.write(_HEAD.pack(_NAME, _FORMAT, dimension))
        for sequence, change in changes:
            file.write(_frame(sequence, [change]))
    sync(path)


def read_log(path: Path, dimension: int, may_be_cut: bool) -> list[tuple[int, Change]]:
    """Returns the changes of a log with their sequence numbers.

    Args:
        path: of the file.
        dimension: of the index.
        may_be_cut: True for the log that was written last: a frame that a crash cut off, which nobody was told is kept, is
            removed from the file.

    Raises:
        NeighbourIndexError: no log, one of another format or dimension, or one that is damaged before its last frame.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NeighbourIndexError(f"{path}: the log of changes can't be read: {error}. Restore it from a copy.") from None
    if len(data) < _HEAD.size and may_be_cut:
        path.write_bytes(_HEAD.pack(_NAME, _FORMAT, dimension))
        sync(path)
        return []
    name, version, found = _HEAD.unpack_from(data.ljust(_HEAD.size, b"\0"))
    if name != _NAME:
        raise NeighbourIndexError(f"{path}: this isn't a log of changes. Restore it from a copy.")
    if version != _FORMAT:
        raise NeighbourIndexError(f"{path}: the log has format {version}, this release reads {_FORMAT}. Use the release that wrote it.")
    if found != dimension:
        raise NeighbourIndexError(f"{path}: the log has vectors of dimension {found}, the index of {dimension}. Keep each with its own.")
    changes: list[tuple[int, Change]] = []
    whole = _HEAD.size
    for end, sequence, content in _frames(data):
        whole = end
        try:
            changes.extend(enumerate(decoded(content), sequence))
        except (ValueError, KeyError, TypeError) as error:
            raise NeighbourIndexError(f"{path}: a frame holds no changes: {error}. Restore it from a copy.") from None
    if whole < len(data):
        _cut(path, data, whole, may_be_cut)
    return changes


def _frame(sequence: int, changes: Sequence[Change]) -> bytes:
    content = encoded(changes)
    if len(content) > MAX_FRAME_BYTES:
        raise NeighbourIndexError(f"{len(changes):,} changes at once take {len(content):,} bytes. Send them in smaller groups.")
    unchecked = _FRAME.pack(_MARK, len(content), 0, sequence, len(changes))
    checksum = zlib.crc32(content, zlib.crc32(unchecked[_CHECKED_FROM:]))
    return _FRAME.pack(_MARK, len(content), checksum, sequence, len(changes)) + content


def _frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yields where each whole frame ends, its first sequence number and its content, up to the first that isn't whole."""
    at = _HEAD.size
    while (end := _frame_end(data, at)) is not None:
        yield end, _FRAME.unpack_from(data, at)[3], data[at + _FRAME.size : end]
        at = end


def _frame_end(data: bytes, at: int) -> int | None:
    if at + _FRAME.size > len(data):
        return None
    mark, length, checksum, _, _ = _FRAME.unpack_from(data, at)
    end = at + _FRAME.size + length
    if mark != _MARK or length > MAX_FRAME_BYTES or end > len(data):
        return None
    return end if zlib.crc32(memoryview(data)[at + _CHECKED_FROM : end]) == checksum else None


def _cut(path: Path, data: bytes, end: int, may_be_cut: bool) -> None:
    """Removes what a crash left of the last frame; whole frames behind it mean damage, and then nothing is touched."""
    at = data.find(_MARK, end + 1)
    while at >= 0 and _frame_end(data, at) is None:
        at = data.find(_MARK, at + 1)
    if at >= 0 or not may_be_cut:
        raise NeighbourIndexError(f"{path}: damaged at byte {end:,} of {len(data):,}, with changes behind it. Restore it from a copy.")
    log.warning("change_log cut file=%s bytes=%d kept=%d", path.name, len(data) - end, end)
    os.truncate(path, end)
    sync(path)


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def sync(path: Path) -> None:
    """Puts a file's content, or a folder's list of names, on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
