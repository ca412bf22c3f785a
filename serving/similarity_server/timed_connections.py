"""HTTP connections on which a whole answer has to come by a moment, however slowly the other end sends it.

urllib3's timeouts hold for each read alone: who sends a byte now and then keeps a client waiting without end.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_deadline_s: ContextVar[float] = ContextVar("deadline_s")  # Connections are the pool's, a moment is the request's.


class _TimedReader(io.RawIOBase):
    """Reads from a socket until the moment that holds when it is made."""

    def __init__(self, sock: Any) -> None:
        self._sock, self._raw, self._until_s = sock, sock.makefile("rb", buffering=0), _deadline_s.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left_s(self._until_s))
        found: int | None = self._raw.readinto(buffer)
        return found

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *words: Any, **named: Any) -> None:
        super().__init__(sock, *words, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock))


class _TimedConnection(HTTPConnection):  # type: ignore[misc]
    response_class = _TimedResponse

    def send(self, data: Any) -> None:
        _send(self, super().send, data)


class _TimedSecureConnection(HTTPSConnection):  # type: ignore[misc]
    response_class = _TimedResponse

    def send(self, data: Any) -> None:
        _send(self, super().send, data)


def _send(connection: Any, send: Callable[[Any], None], data: Any) -> None:
    if connection.sock is None and connection.auto_open:
        connection.connect()
    if connection.sock is not None:
        connection.sock.settimeout(_left_s(_deadline_s.get()))
    send(data)


class _TimedPool(HTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TimedConnection


class _TimedSecurePool(HTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TimedSecureConnection


class TimedPools(urllib3.PoolManager):  # type: ignore[misc]
    """Pools of connections whose requests are made within `until`; names and addresses are looked up in the time of each by itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = {"http": _TimedPool, "https": _TimedSecurePool}


@contextlib.contextmanager
def until(deadline_s: float) -> Iterator[None]:
    """Has requests of this thread, and reads of their answers, end by a moment of the monotonic clock, as if they had timed out."""
    token = _deadline_s.set(deadline_s)
    try:
        yield
    finally:
        _deadline_s.reset(token)


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s
