"""Reads JSON lines: one object a line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from components.feeds.contract import FeedOptions, RawRow, RefusedRow, shorten

_UTF8 = ("utf-8", "utf8", "utf-8-sig")


def read_json_lines(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the objects of a file; a key that a line doesn't have is None. Empty lines are no rows.

    Values stay what JSON says (text, number, list, null); cleaning makes text of them. A line that isn't an object, or
    isn't in the encoding, is refused.
    """
    plain = options.encoding.lower().replace("_", "-") in _UTF8
    columns, number = options.columns, 0
    for line in stream:
        if number == 0 and line.startswith(codecs.BOM_UTF8):
            line = line[len(codecs.BOM_UTF8) :]
        if line.isspace() or not line:
            continue
        number += 1
        try:
            value = orjson.loads(line) if plain else orjson.loads(line.decode(options.encoding))
        except ValueError as error:
            value = _tolerant(line, options.encoding, error)
        if isinstance(value, dict):
            yield RawRow(number, [value.get(column) for column in columns])
        else:
            reason = value if isinstance(value, _NotJson) else f"a {type(value).__name__}"
            yield RefusedRow(feed, number, "", "row", shorten(line.decode("utf-8", "replace").strip()), f"a JSON object, found {reason}")


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
