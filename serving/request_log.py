"""Structured logs: one JSON object a line, and one line a request with its id."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any, TextIO

from grpc import StatusCode

from schemas.settings import LOGGED

REQUEST_ID = "x-request-id"
ALL, ERRORS, NONE = LOGGED
_MAX_ID = 128
log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """Writes time, level and message of a record, with the fields of a request flat beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns one line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        row: dict[str, Any] = {"time": f"{moment}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        fields = getattr(record, "fields", None)
        row.update(fields if fields else {"event": record.getMessage()})
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def log_to(stream: TextIO) -> None:
    """Sends the logs of this package's servers, and of the libraries that speak their protocols, to a stream as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    for name, level in (("serving", logging.INFO), ("grpc", logging.WARNING), ("tornado", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def request_id(given: str | None) -> str:
    """Returns the client's own id where it is short and printable, else a new one."""
    if given and len(given) <= _MAX_ID and given.isascii() and given.isprintable():
        return given
    return secrets.token_hex(8)


class RequestLog:
    """Says of every request what was asked, how it ended and how long it took.

    Args:
        which: `all`, `errors` or `none`.
    """

    def __init__(self, which: str = ALL) -> None:
        self._which = which

    def write(self, fields: Mapping[str, Any], code: StatusCode, seconds: float, message: str = "") -> None:
        """Writes one request's line."""
        if self._which == NONE or (self._which == ERRORS and code == StatusCode.OK):
            return
        row = {"event": "request", **fields, "status": code.name, "ms": round(seconds * 1000, 3)}
        if message:
            row["error"] = message
        log.info("request", extra={"fields": row})
