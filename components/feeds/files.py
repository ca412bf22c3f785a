"""Finds and opens feed files, on a disk or on object storage, packed or not."""

from __future__ import annotations

import fnmatch
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
from pyarrow import fs

from schemas.errors import CatalogueError

_MAGIC = "*?["


def find_feeds(patterns: Sequence[str], folder: str | Path, place: str) -> list[str]:
    """Returns the files that the patterns name, in the order of the patterns, sorted within each, once each.

    Args:
        patterns: files or glob patterns; relative ones are looked for in `folder`.
        folder: what relative patterns are relative to.
        place: where the patterns are written, for the error, such as `shop.yaml: networks.awin.feeds`.

    Raises:
        CatalogueError: a pattern that names no file.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        files = _matches(pattern, folder)
        if not files:
            raise CatalogueError(f"{place}: {pattern!r} names no file in {folder}. Check the path and its spelling.")
        found.update(dict.fromkeys(files))
    return list(found)


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
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CatalogueError(f"{path}: the feed can't be opened: {reason}.") from None


@contextmanager
def open_feed(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a feed, unpacked where it starts as gzip files do, whatever its name.

    Raises:
        CatalogueError: it can't be opened, or its packing is damaged or cut off.
    """
    with open_bytes(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if packed:
                with gzip.open(file) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield file
        except (EOFError, gzip.BadGzipFile, gzip.zlib.error) as error:  # type: ignore[attr-defined]
            raise CatalogueError(f"{path}: the gzip file is damaged or cut off ({error}). Fetch it again.") from None
