"""Reads JSON lines: one object a line."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from components.feeds.contract import FeedOptions, RawRow, RefusedRow, shorten
from components.feeds.lines import MAX_ROW_LENGTH, bounded_lines
from schemas.errors import CatalogueError

_UTF8 = ("utf-8", "utf8", "utf-8-sig")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_json_lines(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the objects of a file; a key that a line doesn't have is None. Empty lines are no rows.

    Values stay what JSON says (text, number, list, null); cleaning makes text of them. A line that isn't an object, isn't
    in the encoding or is longer than `MAX_ROW_LENGTH` is refused.

    Raises:
        CatalogueError: the file is empty, is UTF-16 though another encoding is set, or isn't the UTF-16 that is set.
    """
    recoded = not _has_ascii_line_ends(options.encoding)
    encoding = "utf-8" if recoded else options.encoding
    plain = encoding.lower().replace("_", "-") in _UTF8
    columns, number = options.columns, 0
    for line in _recoded_lines(stream, feed, options.encoding) if recoded else _lines(stream, feed, encoding):
        if line is None:
            number += 1
            yield RefusedRow(feed, number, "", "row", "", f"at most {MAX_ROW_LENGTH:,} bytes, found more")
            continue
        if line.isspace() or not line:
            continue
        number += 1
        try:
            value = orjson.loads(line) if plain else orjson.loads(line.decode(encoding))
        except ValueError as error:
            value = _tolerant(line, encoding, error)
        if isinstance(value, dict):
            yield RawRow(number, [value.get(column) for column in columns])
        else:
            reason = value if isinstance(value, _NotJson) else f"a {type(value).__name__}"
            found = shorten(line[:200].decode("utf-8", "replace").strip())
            yield RefusedRow(feed, number, "", "row", found, f"a JSON object, found {reason}")


def _lines(stream: BinaryIO, feed: str, encoding: str) -> Iterator[bytes | None]:
    """Yields lines without a byte order mark; a carriage return alone ends one, too, as a JSON text has none inside."""
    lines = bounded_lines(stream.readline, (b"\n",))
    first = next(lines, b"")
    if first == b"":
        raise CatalogueError(f"{feed}: the file is empty. Expected one JSON object a line. Fetch it again, or take it out of the feeds.")
    if first is not None:
        if first.startswith(_UTF16_MARKS):
            raise CatalogueError(f"{feed}:1: this looks like UTF-16, not {encoding}. Set the network's encoding to utf-16.")
        first = first.removeprefix(codecs.BOM_UTF8)
    yield from _split_at_returns(first)
    for line in lines:
        if line is None or b"\r" in line:
            yield from _split_at_returns(line)
        else:
            yield line


def _split_at_returns(line: bytes | None) -> list[bytes] | tuple[None]:
    return (None,) if line is None else line.split(b"\r")


def _has_ascii_line_ends(encoding: str) -> bool:
    return "\n{".encode(encoding) == b"\n{"


def _recoded_lines(stream: BinaryIO, feed: str, encoding: str) -> Iterator[bytes | None]:
    """Yields the lines of UTF-16 and the like, where a line end isn't one byte, as UTF-8."""
    text = io.TextIOWrapper(stream, encoding, newline="")
    try:
        for line in bounded_lines(text.readline, ("\n", "\r")):
            yield None if line is None else line.encode()
    except UnicodeError as error:
        raise CatalogueError(f"{feed}: it isn't {encoding} text ({error}). Set the network's encoding, or fetch it again.") from None
    finally:
        if not stream.closed:
            text.detach()  # The stream is the caller's to close.


class _NotJson(str):
    """Why a line isn't JSON."""


def _tolerant(line: bytes, encoding: str, error: ValueError) -> Any:
    """Reads what Python writes beyond the standard: NaN, Infinity, halves of surrogate pairs."""
    try:
        return json.loads(line.decode(encoding))
    except UnicodeDecodeError:
        return _NotJson(f"bytes that aren't {encoding}")
    except (ValueError, RecursionError):
        return _NotJson(str(error))
