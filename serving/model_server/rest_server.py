"""The REST API on TensorFlow Serving's routes, and the metrics."""

from __future__ import annotations

import re
import ssl
from typing import Any
from urllib.parse import unquote

import orjson
from google.protobuf import json_format
from grpc import StatusCode

from serving.http_pages import JSON, UNKNOWN_API, NoSuchPath, Page
from serving.http_port import HttpBounds, HttpPort, WorkHandler
from serving.model_server.answer_size import check_json
from serving.model_server.grpc_server import SIGNATURE_DEF, Front, metadata_of, status_of
from serving.model_server.inference import signature_of
from serving.model_server.json_tensors import (
    ROWS,
    examples_input,
    parsed,
    predict_inputs,
    predict_response,
    results_response,
    signature_name,
)
from serving.model_server.metrics import CONTENT_TYPE
from serving.model_server.model_manager import Target
from serving.status import invalid

_ROUTE = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]{1,19})|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>:predict|:classify|:regress|/metadata)?",
    re.IGNORECASE,
)


def answer(front: Front, method: str, path: str, body: bytes | bytearray, deadline_s: float | None) -> bytes:
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
    target = Target(_decoded(found["name"]), version, _decoded(found["label"] or ""))
    if verb == "/metadata":
        return _json(metadata_of(front, target, [SIGNATURE_DEF]))
    if verb == "":
        return _json(status_of(front, target))
    return _predict(front, target, body, deadline_s) if verb == ":predict" else _infer(front, target, verb, body, deadline_s)


def _decoded(name: str) -> str:
    """Returns a part of a path as it is meant: clients write what a path can't hold, such as a space, as %20."""
    return unquote(name, errors="replace")


def _json(message: Any) -> bytes:
    text: str = json_format.MessageToJson(message, including_default_value_fields=True, preserving_proto_field_name=True)
    return text.encode()


def _predict(front: Front, target: Target, body: bytes | bytearray, deadline_s: float | None) -> bytes:
    request = parsed(body)
    with front.inference.models.borrow(target) as loaded:
        signature = signature_of(loaded, signature_name(request), StatusCode.INVALID_ARGUMENT)
        form, inputs = predict_inputs(request, signature)
        found = front.inference.predict(loaded, signature.name, inputs, deadline_s=deadline_s)
    check_json(signature, found.outputs, form == ROWS, front.inference.max_answer_bytes)
    return predict_response(found.outputs, form)


def _infer(front: Front, target: Target, verb: str, body: bytes | bytearray, deadline_s: float | None) -> bytes:
    request = parsed(body)
    call = front.inference.classify if verb == ":classify" else front.inference.regress
    with front.inference.models.borrow(target) as loaded:
        return results_response(call(loaded, signature_name(request), examples_input(request), deadline_s).outputs)


def _api(method: str, path: str) -> str:
    found = _ROUTE.fullmatch(path)
    if not found:
        return UNKNOWN_API
    named = {":predict": "Predict", ":classify": "Classify", ":regress": "Regress", "/metadata": "GetModelMetadata"}
    return named.get((found["verb"] or "").lower(), "GetModelStatus")


def error_body(code: StatusCode, message: str, identifier: str) -> bytes:
    """Returns the JSON of a refusal in TensorFlow Serving's form, which holds the message alone."""
    return orjson.dumps({"error": message})


class _Models(WorkHandler):
    """Everything below /v1/."""

    def initialize(self, bounds: HttpBounds, front: Front) -> None:  # type: ignore[override]
        super().initialize(bounds)
        self._front = front

    def work(self, deadline_s: float) -> bytes:
        return answer(self._front, self.request.method or "", self.request.path, self.body, deadline_s)

    def log_fields(self) -> dict[str, str]:
        path = self.request.path
        route = _ROUTE.fullmatch(path)
        return {"api": _api(self.request.method or "", path), "model": _decoded(route["name"])[:200] if route else ""}

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Keeps the form for what the HTTP library refuses by itself, such as a method."""
        self.set_header("Content-Type", JSON)
        message = f"{self.request.method} {self.request.path[:200]}: {self._reason}"
        self.finish(error_body(StatusCode.INVALID_ARGUMENT, message, self.identifier))


def rest_port(front: Front, bounds: HttpBounds, host: str, port: int, metrics_path: str, context: ssl.SSLContext | None = None) -> HttpPort:
    """Returns the REST API on one port, not started yet.

    Args:
        front: what answers.
        bounds: what requests share.
        host: to listen on.
        port: 0: a free one.
        metrics_path: where Prometheus finds the metrics; empty: nowhere.
        context: for TLS; None: plain.

    Raises:
        ServingError: UNAVAILABLE: the port can't be used.
    """
    metrics: list[Any] = (
        [(re.escape(metrics_path), Page, {"content_type": CONTENT_TYPE, "page": front.metrics.page, "error_body": error_body})]
        if metrics_path
        else []
    )
    routes = [
        *metrics,
        (r"(?i)/v1/.*", _Models, {"bounds": bounds, "front": front}),
        (
            r".*",
            NoSuchPath,
            {
                "watch": bounds.watch,
                "max_bytes": bounds.max_bytes,
                "error_body": error_body,
                "way_out": "The API is below /v1/models/.",
            },
        ),
    ]
    return HttpPort(routes, bounds, host, port, "--rest-api-port", context)
