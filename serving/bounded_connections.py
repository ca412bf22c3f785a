"""Takes HTTP connections up to a limit, and tells those above it why they aren't taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from grpc import StatusCode
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from serving.status import http_status

_LINGER_S = 1.0
_MAX_LINGERING = 64
_DRAINED_BYTES = 65_536
_LOG_EVERY_S = 1.0
ErrorBody = Callable[[StatusCode, str, str], bytes]  # Of a code, a message and the id of the request, empty where there is none.
log = logging.getLogger(__name__)


class BoundedConnections(HTTPServer):
    """An HTTP server with a limit of open connections.

    Args:
        application: answers.
        max_connections: open at a time. Another one is told UNAVAILABLE before it asks; over TLS, and where many are told already,
            it is closed without a word.
        error_body: makes the body of that refusal.
        options: of the server.
    """

    def initialize(self, application: Any, max_connections: int, error_body: ErrorBody, **options: Any) -> None:  # type: ignore[override]
        """Takes what the class says; the library calls this instead of a constructor."""
        super().initialize(application, **options)
        self._max_connections, self._error_body = max_connections, error_body
        self._num_open, self._num_refused, self._logged_s = 0, 0, 0.0
        self._lingering: set[asyncio.Task[None]] = set()

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serves a new connection, or refuses it."""
        if self._num_open < self._max_connections:
            self._num_open += 1
            super().handle_stream(stream, address)
            return
        self._log_refusal()
        if isinstance(stream, SSLIOStream) or len(self._lingering) >= _MAX_LINGERING:
            stream.close()
            return
        task = asyncio.get_running_loop().create_task(self._refuse(stream))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    def on_close(self, server_conn: object) -> None:
        """Makes room for another connection."""
        self._num_open -= 1
        super().on_close(server_conn)

    def _log_refusal(self) -> None:
        self._num_refused += 1
        if time.monotonic() >= self._logged_s + _LOG_EVERY_S:
            self._logged_s = time.monotonic()
            log.warning("rest connections=%d limit=%d refused=%d", self._num_open, self._max_connections, self._num_refused)

    async def _refuse(self, stream: IOStream) -> None:
        message = f"no more connections are taken: {self._max_connections} may be open at a time. Close one, or try again later."
        body, status = self._error_body(StatusCode.UNAVAILABLE, message, ""), http_status(StatusCode.UNAVAILABLE)
        head = (
            f"HTTP/1.1 {status} Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
        )
        with contextlib.suppress(StreamClosedError, OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._say_and_drain(stream, head.encode() + b"\r\n\r\n" + body), _LINGER_S)
        stream.close()

    async def _say_and_drain(self, stream: IOStream, answer: bytes) -> None:
        """Writes, then reads until the client ends: to close on what nobody has read would take the answer back."""
        await stream.write(answer)
        stream.socket.shutdown(socket.SHUT_WR)
        while True:
            await stream.read_bytes(_DRAINED_BYTES, partial=True)
