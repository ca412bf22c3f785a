"""The REST API on TensorFlow Serving's routes, and the metrics; one thread for the connections, others for the work."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from google.protobuf import json_format
from grpc import StatusCode
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, stream_request_body

from schemas.errors import AisleError
from serving.model_server.grpc_server import SIGNATURE_DEF, Front, metadata_of, status_of
from serving.model_server.inference import signature_of
from serving.model_server.json_tensors import examples_input, parsed, predict_inputs, predict_response, results_response, signature_name
from serving.model_server.metrics import CONTENT_TYPE
from serving.model_server.model_manager import Target
from serving.request_log import REQUEST_ID, request_id
from serving.status import ServingError, http_status, invalid

_ROUTE = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]{1,19})|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>:predict|:classify|:regress|/metadata)?",
    re.IGNORECASE,
)
_JSON = "application/json"
_IDLE_S = 60.0
_MAX_HEADER_BYTES = 16_384
log = logging.getLogger(__name__)


def answer(front: Front, method: str, path: str, body: bytes, deadline_s: float | None) -> bytes:
    """Returns the JSON that answers a request.

    Raises:
        ServingError: INVALID_ARGUMENT for a route that isn't one, or what the API says.
    """
    found = _ROUTE.fullmatch(path)
    verb = (found["verb"] or "").lower() if found else ""
    if not found or method != ("POST" if verb.startswith(":") else "GET"):
        raise invalid(
            f"{method} {path[:200]} isn't a request this server knows. See /v1/models/NAME, :predict, :classify, :regress, /metadata."
        )
    version = int(found["version"]) if found["version"] else None
    target = Target(found["name"], version, found["label"] or "")
    if verb == "/metadata":
        return _json(metadata_of(front, target, [SIGNATURE_DEF]))
    if verb == "":
        return _json(status_of(front, target))
    return _predict(front, target, body, deadline_s) if verb == ":predict" else _infer(front, target, verb, body, deadline_s)


def _json(message: Any) -> bytes:
    text: str = json_format.MessageToJson(message, including_default_value_fields=True, preserving_proto_field_name=True)
    return text.encode()


def _predict(front: Front, target: Target, body: bytes, deadline_s: float | None) -> bytes:
    request = parsed(body)
    with front.inference.models.borrow(target) as loaded:
        signature = signature_of(loaded, signature_name(request), StatusCode.INVALID_ARGUMENT)
        form, inputs = predict_inputs(request, signature)
        found = front.inference.predict(loaded, signature.name, inputs, deadline_s=deadline_s)
    return predict_response(found.outputs, form)


def _infer(front: Front, target: Target, verb: str, body: bytes, deadline_s: float | None) -> bytes:
    request = parsed(body)
    call = front.inference.classify if verb == ":classify" else front.inference.regress
    with front.inference.models.borrow(target) as loaded:
        return results_response(call(loaded, signature_name(request), examples_input(request), deadline_s).outputs)


def _api(method: str, path: str) -> str:
    found = _ROUTE.fullmatch(path)
    if not found:
        return "unknown"
    named = {":predict": "Predict", ":classify": "Classify", ":regress": "Regress", "/metadata": "GetModelMetadata"}
    return named.get((found["verb"] or "").lower(), "GetModelStatus")


class _Metrics(RequestHandler):
    """Prometheus' page."""

    def initialize(self, front: Front) -> None:
        self._front = front

    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self._front.metrics.page())


@stream_request_body
class _Models(RequestHandler):
    """Everything else: reads a bounded body and answers it in another thread."""

    def initialize(self, front: Front, executor: ThreadPoolExecutor, timeout_s: float) -> None:
        self._front, self._executor, self._timeout_s = front, executor, timeout_s
        self._body = bytearray()
        self._started_s = time.monotonic()
        self._id = request_id(self.request.headers.get(REQUEST_ID))

    def prepare(self) -> None:
        length = self.request.headers.get("Content-Length", "0")
        if length.isdecimal() and int(length) > self._front.max_bytes:
            self._refuse_body()

    def data_received(self, chunk: bytes) -> None:
        if self._finished:
            return
        if len(self._body) + len(chunk) > self._front.max_bytes:
            self._refuse_body()
            return
        self._body += chunk

    def _refuse_body(self) -> None:
        self.set_header("Connection", "close")
        self._reply(StatusCode.RESOURCE_EXHAUSTED, f"the body is larger than {self._front.max_bytes} bytes. Send it in parts.", None, 413)

    async def get(self) -> None:
        await self._answer()

    async def post(self) -> None:
        await self._answer()

    async def _answer(self) -> None:
        work = asyncio.get_running_loop().run_in_executor
        try:
            with self._front.in_flight.one():
                body = await work(self._executor, self._work)
            self._reply(StatusCode.OK, "", body)
        except ServingError as error:
            self._reply(error.code, str(error), None)
        except AisleError as error:
            self._reply(StatusCode.INTERNAL, str(error), None)
        except Exception:  # A bug keeps its traceback in the log; the client learns only where to look.
            log.exception("request_id=%s failed", self._id)
            self._reply(StatusCode.INTERNAL, f"the server failed; its log says more at request_id {self._id}.", None)

    def _work(self) -> bytes:
        deadline_s = self._started_s + self._timeout_s
        return answer(self._front, self.request.method or "", self.request.path, bytes(self._body), deadline_s)

    def _reply(self, code: StatusCode, message: str, body: bytes | None, status: int | None = None) -> None:
        path = self.request.path
        route = _ROUTE.fullmatch(path)
        name = route["name"] if route else ""
        api, seconds = _api(self.request.method or "", path), time.monotonic() - self._started_s
        self._front.metrics.observe_request(name, api, "REST", code, seconds)
        fields = {"request_id": self._id, "protocol": "rest", "api": api, "model": name[:200]}
        self._front.log.write(fields, code, seconds, message)
        self.set_status(status or http_status(code), "Client Closed Request" if http_status(code) == 499 else None)
        self.set_header("Content-Type", _JSON)
        self.set_header(REQUEST_ID, self._id)
        self.finish(body if body is not None else orjson.dumps({"error": message}))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Keeps TensorFlow Serving's shape for what the HTTP library refuses by itself, such as a method."""
        self.set_header("Content-Type", _JSON)
        self.finish(orjson.dumps({"error": f"{self.request.method} {self.request.path[:200]}: {self._reason}"}))


class _Unknown(RequestHandler):
    """A path outside the API."""

    def prepare(self) -> None:
        self.set_status(404)
        self.set_header("Content-Type", _JSON)
        self.finish(orjson.dumps({"error": f"there is nothing at {self.request.path[:200]}. The API is below /v1/models/."}))


class RestServer:
    """The REST API on one port.

    Args:
        front: what answers.
        host: to listen on.
        port: 0: a free one.
        metrics_path: where Prometheus finds the metrics; empty: nowhere.
        context: for TLS; None: plain.
        timeout_s: a request may take; DEADLINE_EXCEEDED where it waits longer for its turn.

    Raises:
        ServingError: UNAVAILABLE: the port can't be used.
    """

    def __init__(
        self,
        front: Front,
        host: str,
        port: int,
        metrics_path: str,
        context: ssl.SSLContext | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._front, self._context = front, context
        self._executor = ThreadPoolExecutor(front.in_flight.limit, "rest")
        extra = {"front": front, "executor": self._executor, "timeout_s": timeout_s}
        metrics: list[Any] = [(re.escape(metrics_path), _Metrics, {"front": front})] if metrics_path else []
        self._application = Application(
            [*metrics, (r"(?i)/v1/.*", _Models, extra), (r".*", _Unknown)], log_function=lambda handler: None, default_host=None
        )
        try:
            self._sockets = bind_sockets(port, host, family=socket.AF_UNSPEC)
        except OSError as error:
            self._executor.shutdown(wait=False)
            raise ServingError(
                StatusCode.UNAVAILABLE,
                f"{host}:{port}: the port can't be used: {error.strerror}. Free it, or name another with --rest-api-port.",
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
        await asyncio.get_running_loop().run_in_executor(None, self._front.in_flight.wait_until_idle, self._grace_s)
        await server.close_all_connections()

    def stop(self, grace_s: float) -> None:
        """Takes no new connections, and gives requests that are being answered time to end."""
        self._grace_s = grace_s
        loop = self._loop
        if loop:
            loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(grace_s + 5)
        else:
            for one in self._sockets:
                one.close()
        self._executor.shutdown(wait=False)
