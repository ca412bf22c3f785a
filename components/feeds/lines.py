"""Reads lines of bounded length, so that a file without line ends can't fill the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import AnyStr

# Characters, or bytes, of one row of a feed. A vector of 65,536 numbers fits; no product says more.
MAX_ROW_LENGTH = 4_000_000


def bounded_lines(readline: Callable[[int], AnyStr], ends: tuple[AnyStr, ...]) -> Iterator[AnyStr | None]:
    """Yields the lines with their ends, and None for each line longer than `MAX_ROW_LENGTH`, which is read over.

    Args:
        readline: of a file; takes the most characters to return.
        ends: what `readline` ends a line at.
    """
    while line := readline(MAX_ROW_LENGTH):
        if len(line) < MAX_ROW_LENGTH or line.endswith(ends):
            yield line
            continue
        while line and not line.endswith(ends):
            line = readline(MAX_ROW_LENGTH)
        yield None
