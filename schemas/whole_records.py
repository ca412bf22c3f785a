"""Refuses a GZIP TFRecord file that was cut short, while it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from schemas.errors import CatalogueError

_FRAME_BYTES = 16  # Of a record: its length, and a checksum of the length and one of the content.
_SIZE_BYTES = 4
_SHORTEST_BYTES = 18  # A GZIP file of nothing: header and trailer, and what stands for no block.


def whole_blocks(path: str, blocks: Iterable[Any], open_file: Callable[[str, str], IO[bytes]]) -> Iterator[Any]:
    """Yields blocks of a file's records as they are, and at the end compares their sizes with what the file's trailer says.

    TensorFlow takes the end of a cut file for the end of its records if what was left can be unpacked up to the end of one, which
    is so at one cut of seven in a file of 500 short records.

    Args:
        path: of the file, written in one go.
        blocks: all its records in order, as sized blocks of bytes.
        open_file: opens the file as `open` does; TensorFlow's way knows more file systems.

    Raises:
        CatalogueError: the file ends before its records do.
    """
    size = 0
    for block in blocks:
        size += sum(map(len, block)) + _FRAME_BYTES * len(block)
        yield block
    with open_file(path, "rb") as file:
        expected = _unpacked_size(file)
    if size % (1 << 8 * _SIZE_BYTES) != expected:
        raise unreadable(path, f"the file is cut short; {size:,} bytes of records were left")


def unreadable(path: str, found: str) -> CatalogueError:
    """Returns the error that says what was found instead of records."""
    return CatalogueError(f"{path}: the examples can't be read: {found}. Expected GZIP TFRecord; run the stage before again.")


def _unpacked_size(file: IO[bytes]) -> int:
    """Returns how many bytes a GZIP file holds unpacked, modulo 2**32, as its last four say; -1 if it is shorter than any."""
    file.seek(0, os.SEEK_END)
    length = file.tell()
    if length < _SHORTEST_BYTES:
        return -1
    file.seek(length - _SIZE_BYTES)
    return int.from_bytes(file.read(_SIZE_BYTES), "little")
