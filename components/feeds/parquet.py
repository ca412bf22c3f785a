"""Reads Parquet files, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from components.feeds.contract import FeedOptions, RawRow, RefusedRow
from components.feeds.delimited import missing_column
from schemas.errors import CatalogueError

_BATCH_ROWS = 2_000


def read_parquet(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the rows; values stay text, number or list, and decimals become floats.

    Raises:
        CatalogueError: not a Parquet file, a damaged one, or one without a wanted column.
    """
    number = 0
    try:
        file = pq.ParquetFile(stream)
        found = file.schema_arrow.names
        for column in options.columns:
            if column not in found and column not in options.optional:
                raise missing_column(column, found, feed)
        wanted = [column for column in options.columns if column in found]
        for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
            present = {name: _values(batch.column(name)) for name in wanted}
            nothing = [None] * batch.num_rows
            for values in zip(*(present.get(column, nothing) for column in options.columns), strict=True):
                number += 1
                yield RawRow(number, values)
    except (pa.ArrowException, OSError) as error:
        raise CatalogueError(f"{feed}: it can't be read as Parquet after row {number}: {str(error)[:200]}. Fetch the file again.") from None


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.cast(pa.binary()).to_pylist())
