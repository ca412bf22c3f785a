"""Reads delimited text (CSV, TSV), losing no more than the row that is broken."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from operator import itemgetter
from typing import Any, BinaryIO

from components.feeds.contract import FeedOptions, RawRow, RefusedRow, shorten
from schemas.errors import CatalogueError

_MAX_FIELD_CHARACTERS = 131_072


class _Lines:
    """Hands out lines, remembers those of the record being read, and takes lines back."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._returned: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._source)
        if "\0" in line:
            line = line.replace("\0", "")
        self.taken.append(line)
        return line

    def give_back_all_but_first(self) -> None:
        self._returned.extendleft(reversed(self.taken[1:]))


def read_delimited(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the rows of a file whose first line names the columns.

    A row with too many or too few fields, a quotation mark that is never closed, or bytes that aren't in the encoding is
    refused alone: reading goes on at the next line. Empty lines are no rows; empty fields too many at the end are forgiven.

    Raises:
        CatalogueError: the file is empty, or a wanted column isn't in the first line. Names the file, the column and
            the columns found.
    """
    encoding = "utf-8-sig" if options.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else options.encoding
    text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
    try:
        lines = _Lines(text)
        records = csv.reader(lines, delimiter=options.delimiter)
        header = _header(records, feed, options)
        yield from _rows(records, lines, feed, options, len(header), _picker(header, feed, options))
    finally:
        if not stream.closed:
            text.detach()  # The stream is the caller's to close.


def _header(records: Iterator[list[str]], feed: str, options: FeedOptions) -> list[str]:
    try:
        for record in records:
            if any(record):
                return [name.strip() for name in record]
    except (csv.Error, UnicodeError) as error:
        raise CatalogueError(f"{feed}:1: the header can't be read as {options.encoding} text ({error}). Set encoding and format.") from None
    raise CatalogueError(f"{feed}: the file is empty. Expected a first line with the columns {', '.join(options.columns)}.")


def _picker(header: Sequence[str], feed: str, options: FeedOptions) -> Callable[[Sequence[str]], Sequence[Any]]:
    positions = [_position(column, header, feed, options) for column in options.columns]
    width = len(header)
    if len(positions) > 1 and width not in positions:
        return itemgetter(*positions)
    return lambda record: [record[position] if position < width else None for position in positions]


def _position(column: str, header: Sequence[str], feed: str, options: FeedOptions) -> int:
    count = header.count(column)
    if count == 1:
        return header.index(column)
    if count > 1:
        raise CatalogueError(f"{feed}:1: column {column!r} is there {count} times. Rename all but one of them.")
    if column in options.optional:
        return len(header)
    raise missing_column(column, header, feed, options.delimiter)


def missing_column(column: str, found: Sequence[str], feed: str, delimiter: str = "") -> CatalogueError:
    """Returns the error that names file, column and the columns found."""
    close = get_close_matches(column, found, 1)
    way_out = f"Did you mean {close[0]!r}?" if close else "Correct the network's columns in the configuration."
    if delimiter and len(found) == 1:
        way_out = f"The whole line is one column: is {delimiter!r} the delimiter?"
    return CatalogueError(f"{feed}:1: column {column!r} isn't there. Found: {shorten(', '.join(found), 400)}. {way_out}")


def _rows(
    records: Iterator[list[str]],
    lines: _Lines,
    feed: str,
    options: FeedOptions,
    width: int,
    pick: Callable[[Sequence[str]], Sequence[Any]],
) -> Iterator[RawRow | RefusedRow]:
    number = 0
    while True:
        lines.taken.clear()
        try:
            record = next(records, None)
        except csv.Error as error:
            number += 1
            yield _broken(feed, number, lines, str(error))
            continue
        except UnicodeError as error:
            yield RefusedRow(feed, number + 1, "", "row", shorten(error), f"{options.encoding} text to the end of the file")
            return
        if record is None:
            return
        if not record:
            continue
        number += 1
        if len(lines.taken) > 1 and not _is_well_quoted(lines.taken, options.delimiter, width):
            yield _broken(feed, number, lines, "a quotation mark that is never closed")
        elif len(record) != width and (len(record) < width or any(record[width:])):
            yield RefusedRow(feed, number, "", "row", shorten("".join(lines.taken).strip()), f"{width} fields, found {len(record)}")
        elif not _is_decoded(lines.taken):
            yield RefusedRow(feed, number, "", "row", shorten("".join(lines.taken).strip()), f"bytes that are {options.encoding}")
        else:
            yield RawRow(number, pick(record))


def _broken(feed: str, number: int, lines: _Lines, reason: str) -> RefusedRow:
    """Refuses the first line of the record and reads the others again, each as a row of its own."""
    first = lines.taken[0] if lines.taken else ""
    lines.give_back_all_but_first()
    return RefusedRow(feed, number, "", "row", shorten(first.strip()), f"fields with quotation marks in pairs, found {reason}")


def _is_well_quoted(record_lines: Sequence[str], delimiter: str, width: int) -> bool:
    try:
        parsed = list(csv.reader(record_lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return len(parsed) == 1 and len(parsed[0]) == width


def _is_decoded(record_lines: Sequence[str]) -> bool:
    for line in record_lines:
        if not line.isascii():
            try:
                line.encode("utf-8")
            except UnicodeEncodeError:
                return False
    return True
