"""Finds and opens feed files, on a disk or on object storage, packed or not."""

from __future__ import annotations

import fnmatch
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
from pyarrow import fs

from schemas.errors import CatalogueError

_MAGIC = "*?["
# Real feeds shrink to a tenth, the most repetitive ones to a fiftieth; what unpacks to more than this was made to do harm.
MOST_UNPACKED_TIMES = 200
_ALWAYS_UNPACKED_BYTES = 64 << 20
_BUFFER_BYTES = 1 << 16
_OTHER_PACKINGS = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}


def find_feeds(patterns: Sequence[str], folder: str | Path, place: str) -> list[str]:
    """Returns the files that the patterns name, in the order of the patterns, sorted within each, once each.

    Args:
        patterns: files or glob patterns; relative ones are looked for in `folder`.
        folder: what relative patterns are relative to.
        place: where the patterns are written, for the error, such as `shop.yaml: networks.awin.feeds`.

    Raises:
        CatalogueError: a pattern that names no file, or can't be looked for, or a file whose name isn't UTF-8.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            files = _matches(pattern, folder)
        except (OSError, ValueError, NotImplementedError, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CatalogueError(f"{place}: {pattern!r} can't be looked for: {reason}. Check the path and its spelling.") from None
        if not files:
            raise CatalogueError(f"{place}: {pattern!r} names no file in {folder}. Check the path and its spelling.")
        _check_names(files, place)
        found.update(dict.fromkeys(files))
    return list(found)


def _check_names(files: Sequence[str], place: str) -> None:
    for file in files:
        try:
            file.encode()
        except UnicodeEncodeError:
            raise CatalogueError(f"{place}: the name of file {file!r} isn't UTF-8. Rename it.") from None


def _matches(pattern: str, folder: str | Path) -> list[str]:
    if "://" in pattern:
        return _remote_matches(pattern)
    path = Path(folder) / pattern
    if path.is_file():
        return [str(path)]
    fixed = next((parent for parent in path.parents if not _is_pattern(str(parent))), Path())
    return sorted(str(found) for found in fixed.glob(str(path.relative_to(fixed))) if found.is_file())


def _is_pattern(path: str) -> bool:
    return any(letter in path for letter in _MAGIC)


def _remote_matches(pattern: str) -> list[str]:
    start = min((pattern.find(letter) for letter in _MAGIC if letter in pattern), default=-1)
    filesystem, path = fs.FileSystem.from_uri(pattern if start < 0 else pattern[:start].rpartition("/")[0])
    if start < 0:
        return [pattern] if filesystem.get_file_info(path).type == fs.FileType.File else []
    scheme = pattern.partition("://")[0]
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive="**" in pattern, allow_not_found=True))
    names = [f"{scheme}://{info.path}" for info in infos if info.type == fs.FileType.File]
    return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))


def open_bytes(path: str | Path) -> BinaryIO:
    """Opens a file as it is.

    Raises:
        CatalogueError: there is no such file, or it can't be opened.
    """
    try:
        if "://" in str(path):
            filesystem, inside = fs.FileSystem.from_uri(str(path))
            return cast(BinaryIO, filesystem.open_input_file(inside))
        return Path(path).open("rb")
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CatalogueError(f"{path}: the feed can't be opened: {reason}.") from None


class _Unpacked(io.RawIOBase):
    """Unpacks a gzip file, and stops where it unpacks to far more than any feed does."""

    def __init__(self, file: BinaryIO, path: str | Path) -> None:
        self._path = path
        self._most_bytes = MOST_UNPACKED_TIMES * file.seek(0, io.SEEK_END) + _ALWAYS_UNPACKED_BYTES
        file.seek(0)
        self._unpacked = gzip.GzipFile(fileobj=file)
        self._read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._unpacked.read(len(buffer))
        self._read_bytes += len(data)
        if self._read_bytes > self._most_bytes:
            raise CatalogueError(
                f"{self._path}: the gzip file unpacks to more than {MOST_UNPACKED_TIMES} times its size, as no feed does."
                " Ask its sender, or unpack it yourself."
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._unpacked.close()
        super().close()


@contextmanager
def open_feed(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a feed, unpacked where it starts as gzip files do, whatever its name.

    Raises:
        CatalogueError: it can't be opened or read, its packing is damaged, cut off or another one than gzip, or it unpacks to
            more than `MOST_UNPACKED_TIMES` its size.
    """
    with open_bytes(path) as file:
        try:
            start = file.read(6)
            file.seek(0)
            _check_packing(start, path)
            if start.startswith(b"\x1f\x8b"):
                with io.BufferedReader(_Unpacked(file, path), _BUFFER_BYTES) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise CatalogueError(f"{path}: the gzip file is damaged or cut off ({error}). Fetch it again.") from None
        except OSError as error:
            raise CatalogueError(f"{path}: the feed can't be read: {error.strerror or error}. Fetch it again.") from None


def _check_packing(start: bytes, path: str | Path) -> None:
    for magic, name in _OTHER_PACKINGS.items():
        if start.startswith(magic):
            raise CatalogueError(f"{path}: it is packed by {name}, which isn't unpacked here. Unpack it, or pack it by gzip.")
