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
from components.feeds.lines import MAX_ROW_LENGTH, bounded_lines
from schemas.errors import CatalogueError

_UTF8 = ("utf-8", "utf8")
# Marks of UTF-16, either way round, as bytes that aren't UTF-8 are kept.
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
# Lines that are read again because of open quotation marks, beside those read once. Without a bound a file of nothing but
# open quotation marks takes time by the square of its size.
_MOST_READ_AGAIN = 4
_COLUMNS_COMPARED = 1_000


class _Lines:
    """Hands out lines, remembers those of the record being read, and takes lines back."""

    def __init__(self, source: Iterator[str | None]) -> None:
        self._source = source
        self._returned: deque[str | None] = deque()
        self._size = self._read = self._read_again = 0
        self.taken: list[str] = []
        self.nulls = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._returned:
            line = self._returned.popleft()
        else:
            line = next(self._source)
            self._read += len(line or "")
        if line is None:
            if self.taken:
                self._returned.appendleft(None)  # A row of its own, after the lines of this record.
            raise csv.Error(_TOO_LONG)
        if "\0" in line:
            self.nulls += line.count("\0")
            line = line.replace("\0", "")
        self.taken.append(line)
        self._size += len(line)
        if self._size > MAX_ROW_LENGTH:
            raise csv.Error(_TOO_LONG)
        return line

    def start_record(self) -> None:
        """Forgets the lines of the record before."""
        self.taken.clear()
        self._size = 0

    def give_back_all_but_first(self) -> bool:
        """Hands the other lines out again; returns False where too many were already, so that each must be refused."""
        if self._read_again + self._size > _MOST_READ_AGAIN * self._read + MAX_ROW_LENGTH:
            return False
        self._read_again += self._size
        self._returned.extendleft(reversed(self.taken[1:]))
        return True


_TOO_LONG = f"a row of more than {MAX_ROW_LENGTH:,} characters"


def read_delimited(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the rows of a file whose first line names the columns.

    A row with too many or too few fields, a quotation mark that is never closed, bytes that aren't in the encoding or more
    than `MAX_ROW_LENGTH` characters is refused alone: reading goes on at the next line. Empty lines are no rows; empty fields
    too many at the end are forgiven.

    Raises:
        CatalogueError: the file is empty, a wanted column isn't in the first line, or the encoding is one in which reading
            can't go on after a fault. Names the file, the column and the columns found.
    """
    encoding = "utf-8-sig" if options.encoding.lower().replace("_", "-") in _UTF8 else options.encoding
    text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
    try:
        lines = _Lines(bounded_lines(text.readline, ("\n", "\r")))
        records = csv.reader(lines, delimiter=options.delimiter, quoting=csv.QUOTE_MINIMAL if options.quoting else csv.QUOTE_NONE)
        header = _header(records, lines, feed, options)
        yield from _rows(records, lines, feed, options, len(header), _picker(header, feed, options))
    finally:
        if not stream.closed:
            text.detach()  # The stream is the caller's to close.


def _header(records: Iterator[list[str]], lines: _Lines, feed: str, options: FeedOptions) -> list[str]:
    try:
        for record in records:
            if any(record):
                if record[0].startswith(_UTF16_MARKS) or 3 * lines.nulls > sum(map(len, record)):
                    raise CatalogueError(f"{feed}:1: this looks like UTF-16, not {options.encoding}. Set the network's encoding to utf-16.")
                return [name.strip() for name in record]
            lines.start_record()
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
    raise missing_column(column, header, feed, options.way_out, options.delimiter)


def missing_column(column: str, found: Sequence[str], feed: str, way_out: str, delimiter: str = "") -> CatalogueError:
    """Returns the error that names file, column and the columns found."""
    close = get_close_matches(column, found[:_COLUMNS_COMPARED], 1)
    if close:
        way_out = f"Did you mean {close[0]!r}?"
    if delimiter and len(found) == 1:
        way_out = f"The whole line is one column: is {delimiter!r} the delimiter?"
    return CatalogueError(
        f"{feed}:1: column {column!r} isn't there. Found: {shorten(', '.join(found[:_COLUMNS_COMPARED]), 400)}. {way_out}"
    )


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
        lines.start_record()
        try:
            record = next(records, None)
        except csv.Error as error:
            refused = _broken(feed, number, lines, str(error))
            number += len(refused)
            yield from refused
            continue
        except UnicodeError as error:
            raise CatalogueError(
                f"{feed}:{number + 1}: from here on it isn't {options.encoding} text ({error})."
                " Set the network's encoding, or fetch it again."
            ) from None
        if record is None:
            return
        if not record:
            continue
        if len(lines.taken) > 1 and not _is_well_quoted(lines.taken, options.delimiter, width):
            refused = _broken(feed, number, lines, "a quotation mark that is never closed")
            number += len(refused)
            yield from refused
            continue
        number += 1
        if len(record) != width and (len(record) < width or any(record[width:])):
            yield RefusedRow(feed, number, "", "row", shorten(lines.taken[0][:200].strip()), f"{width} fields, found {len(record)}")
        elif not _is_decoded(lines.taken):
            yield RefusedRow(feed, number, "", "row", shorten(lines.taken[0][:200].strip()), f"bytes that are {options.encoding}")
        else:
            yield RawRow(number, pick(record))


def _broken(feed: str, number: int, lines: _Lines, reason: str) -> list[RefusedRow]:
    """Refuses the first line of the record after row `number`; the others are read again, each as a row of its own."""
    expected = f"fields with quotation marks in pairs, found {reason}"
    if len(lines.taken) < 2:
        if reason == _TOO_LONG:
            expected = f"at most {MAX_ROW_LENGTH:,} characters, found more"
        elif "field limit" in reason:
            expected = f"fields of at most {csv.field_size_limit():,} characters, found more"
    broken = lines.taken[:1] or [""]
    if len(lines.taken) > 1 and not lines.give_back_all_but_first():
        broken = list(lines.taken)
    return [RefusedRow(feed, row, "", "row", shorten(line[:200].strip()), expected) for row, line in enumerate(broken, number + 1)]


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
