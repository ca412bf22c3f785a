"""Reads Parquet files through a process that only does that, because their bytes can crash the library that reads them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from components.feeds import parquet_process
from components.feeds.contract import FeedOptions, RawRow, RefusedRow, shorten
from components.feeds.delimited import missing_column
from schemas.errors import CatalogueError

_ROOT = Path(__file__).parents[2]
_ENDED_BY = {signal.SIGXCPU: "takes too long", signal.SIGKILL: "takes too much memory or time"}


def read_parquet(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the rows; values are what JSON has for them. A value nobody can read, such as a date in the year 100,000, refuses its row.

    Raises:
        CatalogueError: not a Parquet file, a damaged one, one that unpacks to far more than its size, or one without a wanted column.
    """
    number = 0
    with _as_file(stream) as file, _process(file, options) as process:
        for line in cast(BinaryIO, process.stdout):
            message = _read(line, feed, number)
            _check(message, feed, options)
            if "end" in message:
                return
            unreadable = {row: (column, kind) for row, column, kind in message["unreadable"]}
            for position, values in enumerate(message["rows"]):
                number += 1
                if position in unreadable:
                    column, kind = unreadable[position]
                    yield RefusedRow(feed, number, "", column, shorten(f"a {kind}"), "a text or a number")
                else:
                    yield RawRow(number, values)
        code = process.wait()
        why = _ENDED_BY.get(-code, f"ends its reader with code {code}")  # type: ignore[call-overload]
        raise CatalogueError(f"{feed}: reading it as Parquet {why} after row {number}. Don't trust the file; write it anew.")


def _read(line: bytes, feed: str, number: int) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], orjson.loads(line))
    except ValueError:
        try:
            return cast(dict[str, Any], json.loads(line))
        except ValueError:
            raise CatalogueError(
                f"{feed}: reading it as Parquet breaks off after row {number}. Don't trust the file; write it anew."
            ) from None


def _check(message: dict[str, Any], feed: str, options: FeedOptions) -> None:
    if "missing" in message:
        raise missing_column(message["missing"], message["found"], feed, options.way_out)
    if "error" in message:
        raise CatalogueError(f"{feed}: {message['error']}")


@contextmanager
def _as_file(stream: BinaryIO) -> Iterator[int]:
    """Gives a file's descriptor: the stream's own, or that of a copy where it is unpacked or remote."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)
            copy.flush()
            copy.seek(0)
            yield copy.fileno()
        return
    os.lseek(descriptor, 0, io.SEEK_SET)
    yield descriptor


@contextmanager
def _process(file: int, options: FeedOptions) -> Iterator[subprocess.Popen[bytes]]:
    words = [json.dumps(options.columns), json.dumps(sorted(options.optional))]
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-W", "ignore", "-m", parquet_process.__name__, *words]
    process = subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": paths}
    )
    try:
        yield process
    finally:
        process.kill()
        cast(BinaryIO, process.stdout).close()
        process.wait()
