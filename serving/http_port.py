"""Answers HTTP requests with bounded bodies: one thread for the connections, others for the work."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from grpc import StatusCode
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, stream_request_body

from schemas.errors import SettingsError
from serving.addresses import bracketed, cant_listen
from serving.bounded_connections import BoundedConnections, ErrorBody
from serving.http_pages import JSON
from serving.open_requests import OpenRequests
from serving.request_log import REQUEST_ID, request_id
from serving.request_watch import RequestWatch, failure
from serving.status import METHOD_NOT_ALLOWED, TOO_LARGE, ServingError, http_status, invalid

_IDLE_S = 60.0
_SEND_S = 120.0
_LINGER_S = 1.0
_UNBOUNDED = 2**62
_MAX_PAGE_BODY = 100_000  # Of requests that nobody reads the body of, such as one for metrics.
_MAX_HEADER_BYTES = 16_384
_MAX_DIGITS = 18


@dataclass(frozen=True)
class HttpBounds:
    """What requests share.

    Attributes:
        watch: bounds, counts and logs.
        max_bytes: of one body.
        timeout_s: a request may take.
        max_connections: open at a time.
        open: the requests there are, and the memory they may hold.
        executor: threads that do the work, one for each request that may be in flight.
        error_body: makes the body of a refusal.
    """

    watch: RequestWatch
    max_bytes: int
    timeout_s: float
    max_connections: int
    open: OpenRequests
    executor: ThreadPoolExecutor
    error_body: ErrorBody


def http_bounds(
    watch: RequestWatch, max_bytes: int, timeout_s: float, max_body_bytes: int, max_connections: int, error_body: ErrorBody
) -> HttpBounds:
    """Returns what the requests of one port share.

    Args:
        watch: bounds, counts and logs.
        max_bytes: of one body.
        timeout_s: a request may take.
        max_body_bytes: that bodies, and answers which their clients haven't read yet, may hold together.
        max_connections: open at a time.
        error_body: makes the body of a refusal.

    Raises:
        SettingsError: not even one body has room.
    """
    if max_body_bytes < max_bytes:
        raise SettingsError(
            f"--max-body-bytes {max_body_bytes} is less than --max-message-bytes {max_bytes}, "
            "so that a request alone could be too large. Raise the first or lower the second."
        )
    executor = ThreadPoolExecutor(watch.in_flight.limit, "rest")
    return HttpBounds(watch, max_bytes, timeout_s, max_connections, OpenRequests(max_body_bytes), executor, error_body)


@stream_request_body
class WorkHandler(RequestHandler, ABC):
    """Reads a bounded body and answers it in another thread; a subclass says how.

    A request has one answer, its first. One that goes out before the body is read, a refusal, ends the connection, but only with the body:
    to close a connection on what nobody has read would take the answer back.
    """

    def initialize(self, bounds: HttpBounds) -> None:
        """Takes what all requests share."""
        self.bounds = bounds
        self.body = bytearray()
        self.identifier = request_id(self.request.headers.get(REQUEST_ID))
        self._started_s = time.monotonic()
        self._is_answered = self._is_read = self._is_busy = False
        self._num_held = 0
        self._sent: Awaitable[None] | None = None

    @abstractmethod
    def work(self, deadline_s: float) -> bytes:
        """Returns the body of the answer; runs in another thread.

        Args:
            deadline_s: of the monotonic clock, after which nobody waits any more.
        """

    @abstractmethod
    def log_fields(self) -> dict[str, str]:
        """Returns what the log's line says of the request."""

    def prepare(self) -> None:
        """Refuses a body that says it is too large, or packed."""
        self.request.connection.set_max_body_size(_UNBOUNDED)  # type: ignore[union-attr]  # It is counted here, where a refusal has a form.
        self.bounds.open.add(self)
        length = self.request.headers.get("Content-Length", "0")
        # A number of more digits than any size has isn't turned into one: Python refuses that.
        if length.isdecimal() and (len(length) > _MAX_DIGITS or int(length) > self.bounds.max_bytes):
            self.refuse(self._too_large())
        coding = self.request.headers.get("Content-Encoding", "identity").lower()
        if coding != "identity":
            self.refuse(invalid(f"Content-Encoding {coding[:50]!r} isn't read here. Send the body as it is."))

    def data_received(self, chunk: bytes) -> None:
        """Collects the body, or refuses it."""
        if self._is_answered:
            return  # Many clients look for an answer only once all is sent; the time of a body has an end, too.
        try:
            if len(self.body) + len(chunk) > self.bounds.max_bytes:
                raise self._too_large()
            self.bounds.open.take(len(chunk))
        except ServingError as error:
            self._forget()
            self.refuse(error)
            return
        self._num_held += len(chunk)
        self.body += chunk

    def _too_large(self) -> ServingError:
        return ServingError(
            StatusCode.RESOURCE_EXHAUSTED, f"the body is larger than {self.bounds.max_bytes} bytes. Send it in parts.", TOO_LARGE
        )

    def refuse(self, error: ServingError) -> None:
        """Answers with an error before the body is read or the work done; a request that has its answer keeps it."""
        self.set_header("Connection", "close")
        self.reply(*failure(error, self.identifier), None, error.http_status)

    async def get(self) -> None:
        """Answers."""
        await self._answer()

    async def post(self) -> None:
        """Answers."""
        await self._answer()

    def _unknown_method(self) -> None:
        self._is_read = True
        if self._is_answered:  # A refusal that waited for the end of the body.
            self.finish()
            return
        message = f"{self.request.method} {self.request.path[:200]}: this method isn't known here. Use GET or POST."
        self.reply(*failure(ServingError(StatusCode.UNIMPLEMENTED, message), self.identifier), None, METHOD_NOT_ALLOWED)

    head = put = patch = delete = options = _unknown_method

    async def _answer(self) -> None:
        self._is_read = True
        if self._is_answered:  # A refusal that waited for the end of the body.
            self.finish()
            return
        self._is_busy = True
        try:
            await self._work()
            await self._until_sent()
        finally:
            self._is_busy = False
            self._release()

    async def _work(self) -> None:
        deadline_s = self._started_s + self.bounds.timeout_s
        try:
            body = await asyncio.wrap_future(self._counted_work(deadline_s))
            self.reply(StatusCode.OK, "", body)
        except Exception as error:
            code, message = failure(error, self.identifier)
            self.reply(code, message, None, error.http_status if isinstance(error, ServingError) else None)

    def _counted_work(self, deadline_s: float) -> Future[bytes]:
        """Hands the work to another thread. It is in flight until that thread ends, which may be after the loop has: the stop asks."""
        with contextlib.ExitStack() as begun:
            begun.enter_context(self.bounds.watch.in_flight.one())
            work = self.bounds.executor.submit(self.work, deadline_s)
            counted = begun.pop_all()
        work.add_done_callback(lambda _: counted.close())
        return work

    async def _until_sent(self) -> None:
        """Waits until the client has taken the answer, for as long as one may be kept for it."""
        if self._sent is None:
            return
        with contextlib.suppress(StreamClosedError):
            try:
                await asyncio.wait_for(self._sent, _SEND_S)
            except asyncio.TimeoutError:
                self.request.connection.stream.close()  # type: ignore[union-attr]

    def reply(self, code: StatusCode, message: str, body: bytes | None, status: int | None = None) -> None:
        """Counts, logs and sends an answer, or a refusal where `body` is None; `status`: another than that of the code."""
        if self._is_answered:
            return
        self._is_answered = True
        self._count(code, message)
        content = body if body is not None else self.bounds.error_body(code, message, self.identifier)
        self.set_status(status or http_status(code), "Client Closed Request" if http_status(code) == 499 else None)
        self.set_header("Content-Type", JSON)
        self.set_header("Content-Length", str(len(content)))
        self.set_header(REQUEST_ID, self.identifier)
        self.bounds.open.hold(len(content))
        self._num_held += len(content)
        self.write(content)
        self._sent = self.finish() if self._is_read else self.flush()

    def _count(self, code: StatusCode, message: str) -> None:
        fields = {"request_id": self.identifier, "protocol": "rest", **self.log_fields()}
        self.bounds.watch.ended(fields, code, time.monotonic() - self._started_s, message)

    def on_finish(self) -> None:
        """Gives back what the request held."""
        self._release()

    def on_connection_close(self) -> None:
        """Gives back what the request held: its client is gone, or was too slow."""
        super().on_connection_close()
        if not self._is_answered and not self._is_busy:
            self._is_answered = True
            self._count(StatusCode.CANCELLED, f"{len(self.body)} bytes of the body came, then no more.")
        self._release()

    def _release(self) -> None:
        if not self._is_busy:  # Otherwise a thread still reads the body, or the client the answer.
            self._forget()
            self.bounds.open.remove(self)

    def _forget(self) -> None:
        """Gives back what is held: the body, and the answer where there is one."""
        held, self._num_held, self.body = self._num_held, 0, bytearray()
        self.bounds.open.give_back(held)


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
        self,
        routes: Sequence[Any],
        bounds: HttpBounds,
        host: str,
        port: int,
        option: str,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._bounds, self._context = bounds, context
        self._application = Application(list(routes), log_function=lambda handler: None, default_host=None)
        try:
            self._sockets = bind_sockets(port, host, family=socket.AF_UNSPEC)
        except (OSError, UnicodeError) as error:
            bounds.executor.shutdown(wait=False)
            raise cant_listen(f"{bracketed(host)}:{port}", error, option) from None
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
        server = BoundedConnections(
            self._application,
            self._bounds.max_connections,
            self._bounds.error_body,
            ssl_options=self._context,
            idle_connection_timeout=_IDLE_S,
            body_timeout=_IDLE_S,
            max_header_size=_MAX_HEADER_BYTES,
            max_body_size=_MAX_PAGE_BODY,
        )
        server.add_sockets(self._sockets)
        self._is_ready.set()
        await self._stop.wait()
        server.stop()
        await self._bounds.open.end(self._grace_s, _LINGER_S)
        await server.close_all_connections()

    def stop(self, grace_s: float) -> None:
        """Takes no new connections and no new requests, gives open ones time to end, and refuses those that are left."""
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
