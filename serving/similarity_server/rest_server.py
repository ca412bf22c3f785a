"""The REST twins of the service's methods, with their OpenAPI document, health and metrics."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from grpc import StatusCode

from serving.http_pages import JSON, NoSuchPath, Page
from serving.http_port import HttpBounds, HttpPort, WorkHandler
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.answers import Answers
from serving.similarity_server.json_messages import parsed, written
from serving.similarity_server.metrics import CONTENT_TYPE, PATH, Metrics
from serving.similarity_server.openapi import Route, document
from serving.similarity_server.router import Router
from serving.status import METHOD_NOT_ALLOWED, ServingError

ROUTES = (
    Route("POST", "/v1/similar:search", "Search", "The products most similar to one query, best first"),
    Route("POST", "/v1/similar:batchSearch", "BatchSearch", "The same for several queries, all answered by one version"),
    Route("POST", "/v1/similar:upsert", "Upsert", "Put products into the index, all or none"),
    Route("POST", "/v1/similar:delete", "Delete", "Take products out of the index, all or none"),
    Route("POST", "/v1/similar:move", "Move", "Put products at other nodes, all or none"),
    Route("POST", "/v1/similar:find", "Find", "Products as they are in the index, with vector and filter fields"),
    Route("GET", "/v1/similar/status", "Status", "What is served now"),
)
DOCUMENT, HEALTH = "/openapi.json", "/healthz"


@dataclass(frozen=True)
class Method:
    """One method of the service.

    Attributes:
        route: where it is.
        request: class of its message.
        answer: makes the response.
    """

    route: Route
    request: Any
    answer: Callable[[Any, float | None], Any]


def methods_of(answers: Answers | Router) -> dict[str, Method]:
    """Returns every method by its path."""
    kinds: dict[str, tuple[Any, Callable[[Any, float | None], Any]]] = {
        "Search": (messages.SearchRequest, answers.search),
        "BatchSearch": (messages.BatchSearchRequest, answers.batch_search),
        "Upsert": (messages.UpsertRequest, answers.upsert),
        "Delete": (messages.DeleteRequest, answers.delete),
        "Move": (messages.MoveRequest, answers.move),
        "Find": (messages.FindRequest, answers.find),
        "Status": (messages.StatusRequest, answers.status),
    }
    return {route.path: Method(route, *kinds[route.api]) for route in ROUTES}


def error_body(code: StatusCode, message: str, identifier: str) -> bytes:
    """Returns the JSON of a refusal."""
    return orjson.dumps({"error": {"status": code.name, "message": message, "request_id": identifier}})


class _Methods(WorkHandler):
    """Every method."""

    def initialize(self, bounds: HttpBounds, methods: dict[str, Method]) -> None:  # type: ignore[override]
        """Takes what all requests share."""
        super().initialize(bounds)
        self._method = methods[self.request.path]

    def prepare(self) -> None:
        """Refuses another verb."""
        super().prepare()
        route = self._method.route
        if self.request.method != route.verb:
            self.set_header("Allow", route.verb)
            self.refuse(
                ServingError(StatusCode.UNIMPLEMENTED, f"{self.request.method} {route.path}: this takes {route.verb}.", METHOD_NOT_ALLOWED)
            )

    def work(self, deadline_s: float) -> bytes:
        """Returns the response as JSON."""
        return written(self._method.answer(parsed(self.body, self._method.request), deadline_s))

    def log_fields(self) -> dict[str, str]:
        """Returns the method."""
        return {"api": self._method.route.api}

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Keeps the form for what the HTTP library refuses by itself."""
        self.set_header("Connection", "close")
        self.set_header("Content-Type", JSON)
        self.finish(error_body(StatusCode.INVALID_ARGUMENT, f"{self.request.method}: {self._reason}.", self.identifier))


def rest_port(
    answers: Answers | Router, bounds: HttpBounds, metrics: Metrics, host: str, port: int, context: ssl.SSLContext | None = None
) -> HttpPort:
    """Returns the REST API on one port, not started yet.

    Args:
        answers: what answers.
        bounds: what requests share.
        metrics: what Prometheus finds.
        host: to listen on.
        port: 0: a free one.
        context: for TLS; None: plain.

    Raises:
        ServingError: UNAVAILABLE: the port can't be used.
    """
    methods = methods_of(answers)
    described = orjson.dumps(document(ROUTES))
    routes = [
        *((re.escape(path), _Methods, {"bounds": bounds, "methods": methods}) for path in methods),
        *(
            (re.escape(path), Page, {"content_type": content_type, "page": page, "error_body": error_body})
            for path, content_type, page in (
                (DOCUMENT, JSON, lambda: described),
                (HEALTH, JSON, lambda: b'{"status": "SERVING"}'),
                (PATH, CONTENT_TYPE, metrics.page),
            )
        ),
        (
            r".*",
            NoSuchPath,
            {"watch": bounds.watch, "max_bytes": bounds.max_bytes, "error_body": error_body, "way_out": f"See {DOCUMENT}."},
        ),
    ]
    return HttpPort(routes, bounds, host, port, "--rest-port", context)
