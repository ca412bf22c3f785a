"""Reads one Parquet file in a process of its own: a file made to break the reader takes this process down, and no other.

`python -m components.feeds.parquet_process COLUMNS OPTIONAL` reads standard input, a file, and writes JSON lines:
`{"rows": [[value, ...], ...], "unreadable": [[position in rows, column, type], ...]}` again and again, then `{"end": true}`,
or `{"error": what is wrong}` or `{"missing": column, "found": columns}`. `components/feeds/parquet.py` starts it and reads them.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow_hotfix

# Without it pyarrow before 14.0.1 unpickles, and so runs, what a file puts into its metadata (CVE-2023-47248).
pyarrow_hotfix.install()

_BATCH_ROWS = 2_000
# What one batch of one column may take once the dictionary that packs it is looked up.
_BATCH_BYTES = 64 << 20
MAX_VALUE_BYTES = 131_072
# A packed file can claim any number of rows; rows of different ids take more than a hundredth of a byte each.
_MOST_ROWS_A_BYTE = 100
_MOST_COLUMN_BYTES = 1 << 30
_MEMORY_BYTES = 8 << 30
_SECONDS, _BYTES_A_SECOND = 120, 1 << 20


# Stands for a value that Python has none for, such as a date in the year 100,000.
_UNREADABLE = object()


class _Refused(Exception):
    """What is wrong with the file as a whole."""


def messages(stream: BinaryIO, columns: Sequence[str], optional: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields what the module's first lines say, as plain data."""
    try:
        size = stream.seek(0, os.SEEK_END)
        file = pq.ParquetFile(stream)
        found = file.schema_arrow.names
        for column in columns:
            if column not in found and column not in optional:
                yield {"missing": column, "found": found[:1_000]}
                return
            if found.count(column) > 1:
                yield {"error": f"column {column!r} is there {found.count(column)} times. Rename all but one of them."}
                return
        _check_claims(file.metadata, size)
        wanted = [column for column in dict.fromkeys(columns) if column in found]
        for group in range(file.num_row_groups):
            rows = _rows_at_once(stream, file, group, wanted)
            for batch in file.iter_batches(rows, row_groups=[group], columns=wanted):
                yield _message(batch, wanted, columns)
        yield {"end": True}
    except _Refused as error:
        yield {"error": str(error)}
    except (pa.ArrowException, OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
        yield {"error": f"it can't be read as Parquet: {str(error)[:200] or type(error).__name__}. Fetch the file again."}


def _check_claims(metadata: pq.FileMetaData, size: int) -> None:
    """Refuses a file that claims more than it can hold, before anything is unpacked."""
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if column.num_values > _MOST_ROWS_A_BYTE * size or column.total_uncompressed_size > _MOST_COLUMN_BYTES:
                raise _Refused(
                    f"column {column.path_in_schema!r} claims {column.num_values:,} values in {column.total_uncompressed_size:,} bytes,"
                    f" more than a feed of {size:,} bytes holds. Write it anew with smaller row groups."
                )


def _rows_at_once(stream: BinaryIO, file: pq.ParquetFile, group: int, wanted: Sequence[str]) -> int:
    """Returns how many rows to unpack together: a dictionary can repeat one long text for every row of a batch."""
    columns = [file.schema.column(number) for number in range(len(file.schema.names))]
    texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    probe = pq.ParquetFile(stream, metadata=file.metadata, read_dictionary=texts)
    first_row = next(probe.iter_batches(1, row_groups=[group], columns=wanted), None)
    longest = 1
    for name, column in zip(first_row.schema.names, first_row.columns, strict=True) if first_row is not None else ():
        length = _longest_text(column)
        if length > MAX_VALUE_BYTES:
            raise _Refused(
                f"column {name!r} repeats a text of {length:,} bytes; at most {MAX_VALUE_BYTES:,} are a product's. Correct the feed."
            )
        longest = max(longest, length)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // longest))


def _longest_text(column: pa.Array) -> int:
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.flatten()
    if not pa.types.is_dictionary(column.type) or not len(column.dictionary):
        return 0
    return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)


def _message(batch: pa.RecordBatch, wanted: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    unreadable: list[tuple[int, str, str]] = []
    present = {name: _values(batch.column(name), name, unreadable) for name in wanted}
    nothing = [None] * batch.num_rows
    return {"rows": list(zip(*(present.get(column, nothing) for column in columns), strict=True)), "unreadable": unreadable}


def _values(column: pa.Array, name: str, unreadable: list[tuple[int, str, str]]) -> list[Any]:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):  # Bytes that aren't UTF-8 are a ValueError, too.
        found = [_value(item) for item in column]
    unreadable += [(row, name, str(column.type)) for row, value in enumerate(found) if value is _UNREADABLE]
    return [None if value is _UNREADABLE else value for value in found]


def _value(item: pa.Scalar) -> Any:
    try:
        return item.as_py()
    except UnicodeDecodeError:
        return item.as_buffer().to_pybytes() if hasattr(item, "as_buffer") else _UNREADABLE
    except (ValueError, OverflowError, pa.ArrowException):
        return _UNREADABLE


def _plain(value: Any) -> Any:
    """Returns what JSON has for a value of Python; a mapping says nothing to a product."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (dict, tuple)):
        return None
    return str(value)


def write_messages(stream: BinaryIO, out: BinaryIO, columns: Sequence[str], optional: Sequence[str]) -> None:
    """Writes the messages as JSON lines, each at once."""
    options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    for message in messages(stream, columns, optional):
        try:
            line = orjson.dumps(message, _plain, options)
        except TypeError:  # A whole number of more than 64 bits, or half a surrogate pair.
            line = json.dumps(message, default=_plain).encode() + b"\n"
        out.write(line)
        out.flush()


def limit(size: int) -> None:
    """Bounds this process' memory and time, so that no file can take the machine's."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    seconds = _SECONDS + size // _BYTES_A_SECOND
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    limit(os.fstat(0).st_size)
    with os.fdopen(0, "rb") as source:
        write_messages(source, sys.stdout.buffer, json.loads(sys.argv[1]), json.loads(sys.argv[2]))
