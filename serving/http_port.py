"""Answers HTTP requests with bounded bodies: one thread for the connections, others for the work."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from grpc import StatusCode
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, stream_request_body

from serving.request_log import REQUEST_ID, request_id
from serving.request_watch import RequestWatch, failure
from serving.status import ServingError, http_status

JSON = "application/json"
_IDLE_S = 60.0
_MAX_HEADER_BYTES = 16_384
_MAX_DIGITS = 18


@dataclass(frozen=True)
class HttpBounds:
    """What requests share.

    Attributes:
        watch: bounds, counts and logs.
        max_bytes: of one body.
        timeout_s: a request may take.
        executor: threads that do the work.
    """

    watch: RequestWatch
    max_bytes: int
    timeout_s: float
    executor: ThreadPoolExecutor


@stream_request_body
class WorkHandler(RequestHandler, ABC):
    """Reads a bounded body and answers it in another thread; a subclass says how, and in which form errors go out."""

    def initialize(self, bounds: HttpBounds) -> None:
        """Takes what all requests share."""
        self.bounds = bounds
        self.body = bytearray()
        self.identifier = request_id(self.request.headers.get(REQUEST_ID))
        self._started_s = time.monotonic()

    @abstractmethod
    def work(self, deadline_s: float) -> bytes:
        """Returns the body of the answer; runs in another thread.

        Args:
            deadline_s: of the monotonic clock, after which nobody waits any more.
        """

    @abstractmethod
    def error_body(self, code: StatusCode, message: str) -> bytes:
        """Returns the body of a refusal."""

    @abstractmethod
    def log_fields(self) -> dict[str, str]:
        """Returns what the log's line says of the request."""

    def prepare(self) -> None:
        """Refuses a body that says it is too large."""
        length = self.request.headers.get("Content-Length", "0")
        # A number of more digits than any size has isn't turned into one: Python refuses that.
        if length.isdecimal() and (len(length) > _MAX_DIGITS or int(length) > self.bounds.max_bytes):
            self._refuse_body()

    def data_received(self, chunk: bytes) -> None:
        """Collects the body, or refuses it."""
        if self._finished:
            return
        if len(self.body) + len(chunk) > self.bounds.max_bytes:
            self._refuse_body()
            return
        self.body += chunk

    def _refuse_body(self) -> None:
        self.set_header("Connection", "close")
        message = f"the body is larger than {self.bounds.max_bytes} bytes. Send it in parts."
        self.reply(StatusCode.RESOURCE_EXHAUSTED, message, None, 413)

    async def get(self) -> None:
        """Answers."""
        await self._answer()

    async def post(self) -> None:
        """Answers."""
        await self._answer()

    async def _answer(self) -> None:
        deadline_s = self._started_s + self.bounds.timeout_s
        try:
            with self.bounds.watch.in_flight.one():
                body = await asyncio.get_running_loop().run_in_executor(self.bounds.executor, self.work, deadline_s)
            self.reply(StatusCode.OK, "", body)
        except Exception as error:
            self.reply(*failure(error, self.identifier), None)

    def reply(self, code: StatusCode, message: str, body: bytes | None, status: int | None = None) -> None:
        """Counts, logs and sends an answer, or a refusal where `body` is None; `status`: another than that of the code."""
        fields = {"request_id": self.identifier, "protocol": "rest", **self.log_fields()}
        self.bounds.watch.ended(fields, code, time.monotonic() - self._started_s, message)
        self.set_status(status or http_status(code), "Client Closed Request" if http_status(code) == 499 else None)
        self.set_header("Content-Type", JSON)
        self.set_header(REQUEST_ID, self.identifier)
        self.finish(body if body is not None else self.error_body(code, message))


class HttpPort:
    """An application on one port.

    Args:
        routes: of the application.
        bounds: what its requests share.
        host: to listen on.
        port: 0: a free one.
        option: what names another port, for the error.
        context: for TLS; None: plain.

    Raises:
        ServingError: UNAVAILABLE: the port can't be used.
    """

    def __init__(
        self, routes: Sequence[Any], bounds: HttpBounds, host: str, port: int, option: str, context: ssl.SSLContext | None = None
    ) -> None:
        self._bounds, self._context = bounds, context
        self._application = Application(list(routes), log_function=lambda handler: None, default_host=None)
        try:
            self._sockets = bind_sockets(port, host, family=socket.AF_UNSPEC)
        except OSError as error:
            bounds.executor.shutdown(wait=False)
            raise ServingError(
                StatusCode.UNAVAILABLE,
                f"{host}:{port}: the port can't be used: {error.strerror}. Free it, or name another with {option}.",
            ) from None
        self.port = int(self._sockets[0].getsockname()[1])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()
        self._is_ready.wait()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = HTTPServer(
            self._application,
            ssl_options=self._context,
            idle_connection_timeout=_IDLE_S,
            body_timeout=_IDLE_S,
            max_header_size=_MAX_HEADER_BYTES,
            max_body_size=2**62,  # Bodies are counted where a refusal can be answered in the API's own form.
        )
        server.add_sockets(self._sockets)
        self._is_ready.set()
        await self._stop.wait()
        server.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._bounds.watch.in_flight.wait_until_idle, self._grace_s)
        await server.close_all_connections()

    def stop(self, grace_s: float) -> None:
        """Takes no new connections, and gives requests that are being answered time to end."""
        self._grace_s = grace_s
        loop = self._loop
        if loop:
            with contextlib.suppress(RuntimeError):  # It was stopped already.
                loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(grace_s + 5)
        else:
            for one in self._sockets:
                one.close()
        self._bounds.executor.shutdown(wait=False)
