"""Answers gRPC calls, each bounded, counted and logged, and starts and stops the server that takes them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc import StatusCode
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.addresses import cant_listen
from serving.header_text import header_text
from serving.request_log import REQUEST_ID, request_id
from serving.request_watch import RequestWatch, failure

_SPARE_THREADS = 16
_CALLS_A_THREAD = 8  # One is being read or answered, the others wait with nothing but their headers read.
_NO_DEADLINE_S = 1e6  # gRPC shows a call without a deadline as one in centuries, which no clock here can hold.


def answered(
    watch: RequestWatch, fields: dict[str, str], context: Any, work: Callable[[float | None], Any], is_bounded: bool = True
) -> Any:
    """Returns what `work` answers, or ends the call with the status of what it raises.

    Args:
        watch: bounds, counts and logs.
        fields: of the log's line.
        context: of the call.
        work: told when the client stops waiting, in seconds of the monotonic clock; None: never.
        is_bounded: whether it is refused where too many requests are in flight.
    """
    started_s = time.monotonic()
    left_s = context.time_remaining()
    deadline_s = None if left_s is None or left_s > _NO_DEADLINE_S else started_s + left_s
    identifier = request_id(dict(context.invocation_metadata()).get(REQUEST_ID))
    code, message, response = StatusCode.OK, "", None
    try:
        if is_bounded:
            with watch.in_flight.one():
                response = work(deadline_s)
        else:
            response = work(deadline_s)
    except Exception as error:
        code, message = failure(error, identifier)
    watch.ended({"request_id": identifier, "protocol": "grpc", **fields}, code, time.monotonic() - started_s, message)
    context.set_trailing_metadata(((REQUEST_ID, identifier),))
    if response is None:
        context.abort(code, header_text(message))
    return response


class _UnreadableMessages(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses bytes that aren't the method's message.

    Left to the library, each of them costs 16 kB that never come back (measured with grpcio 1.65), and a traceback in the log.
    """

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Returns what answers a call."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or handler.request_deserializer is None:
            return handler

        def answer(raw: bytes, context: Any) -> Any:
            try:
                request = handler.request_deserializer(raw)
            except Exception:  # Whatever a library makes of bytes.
                context.abort(StatusCode.INVALID_ARGUMENT, f"the message isn't what {handler_call_details.method} takes.")
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, None, handler.response_serializer)


class GrpcPort:
    """Services on one port, with health and reflection.

    Args:
        services: their full names.
        add: adds them to a server.
        address: host and port; port 0: a free one.
        limit: requests in flight.
        max_bytes: of one message.
        option: what names another port, for the error.
        credentials: for TLS; None: plain.

    Raises:
        ServingError: UNAVAILABLE: the port can't be used.
    """

    def __init__(
        self,
        services: Sequence[str],
        add: Callable[[grpc.Server], None],
        address: str,
        limit: int,
        max_bytes: int,
        option: str = "--port",
        credentials: Any = None,
    ) -> None:
        # Requests above the limit still need a thread that refuses them, and a busy server's health must be told.
        threads = limit + _SPARE_THREADS
        options = [
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            # Of one connection. Above the calls that are refused with a reason: the library resets a stream too many without one.
            ("grpc.max_concurrent_streams", 2 * _CALLS_A_THREAD * threads),
        ]
        self._server = grpc.server(
            ThreadPoolExecutor(threads, "grpc"),
            interceptors=[_UnreadableMessages()],
            options=options,
            maximum_concurrent_rpcs=_CALLS_A_THREAD * threads,
        )
        add(self._server)
        self._is_started = False
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = ("", *services)
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        _check_free(address, option)
        try:
            self.port = self._server.add_secure_port(address, credentials) if credentials else self._server.add_insecure_port(address)
        except RuntimeError:
            raise cant_listen(address, OSError("gRPC doesn't say why"), option) from None

    def start(self) -> None:
        """Answers from now on, and says so to health checks."""
        for name in self._names:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._server.start()
        self._is_started = True

    def stop(self, grace_s: float) -> None:
        """Tells health checks to go elsewhere, takes no new calls, gives those that are running time to end, and frees the port."""
        if not self._is_started:
            self._server.start()  # The library frees the port of no server that was never started.
            grace_s = 0
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()


def _check_free(address: str, option: str) -> None:
    """Refuses an address that no socket can have: gRPC would write lines of its own about it first."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise cant_listen(address, error, option) from None
    why = OSError("it has no address")
    for family, kind, protocol, _, place in found:
        try:
            with socket.socket(family, kind, protocol) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(place)
            return  # One address of a name's several is enough for gRPC.
        except OSError as error:
            why = error
    raise cant_listen(address, why, option)
