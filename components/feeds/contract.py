"""Says what every reader of feeds gives and refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol


class RefusedRow(NamedTuple):
    """A row that can't be used. `row` 1 is the first data row; `field` is a field, a column, or `row` for all of it."""

    feed: str
    row: int
    shop: str
    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        """Returns it as errors are written: file:row, what was found, what was expected."""
        return f"{self.feed}:{self.row}: {self.field} {self.found!r} can't be used. Expected {self.expected}."


class RawRow(NamedTuple):
    """One row as the file holds it: `values` in the order of the columns asked for, None or `''` where it has none."""

    row: int
    values: Sequence[Any]


@dataclass(frozen=True)
class FeedOptions:
    """What a reader must know about a file.

    `columns` are wanted, in this order; those in `optional` may be missing from the whole file. `encoding` and `delimiter`
    are for the text formats. Without `quoting` a quotation mark in delimited text is a letter like others. `way_out` ends the
    error about a column that isn't there.
    """

    columns: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    encoding: str = "utf-8"
    delimiter: str = ","
    quoting: bool = True
    way_out: str = "Correct the network's columns in the configuration."


class FeedReader(Protocol):
    """Reads one format from `stream`, unpacked bytes; `feed` is the name that errors and refused rows carry.

    Yields raw and refused rows in the order of the file, numbered together from 1, and never holds more than a few rows of
    it, none longer than `lines.MAX_ROW_LENGTH`. Takes time linear in the file's size, whatever is in it. Raises
    CatalogueError where the file as a whole can't be read.
    """

    def __call__(self, stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
        """Yields the rows of one file."""


def shorten(value: Any, length: int = 80) -> str:
    """Returns at most `length` characters of what was found, for a message."""
    text = value if isinstance(value, str) else str(value)
    text = text if len(text) <= length else text[: length - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
