"""Answers HTTP requests that need no bounds: pages made at once, and paths where nothing is."""

from __future__ import annotations

import time
from collections.abc import Callable

from grpc import StatusCode
from tornado.web import RequestHandler, stream_request_body

from serving.bounded_connections import ErrorBody
from serving.request_log import REQUEST_ID, request_id
from serving.request_watch import RequestWatch
from serving.status import METHOD_NOT_ALLOWED, http_status

JSON = "application/json"
UNKNOWN_API = "unknown"  # What a path is counted under that clients made up: they mustn't fill the memory.


class Page(RequestHandler):
    """A page such as metrics, health or a document.

    Args:
        content_type: of the page.
        page: makes it.
        error_body: makes the body of the refusal of any method but GET.
    """

    def initialize(self, content_type: str, page: Callable[[], bytes], error_body: ErrorBody) -> None:
        """Takes what the class says."""
        self._content_type, self._page, self._error_body = content_type, page, error_body

    def get(self) -> None:
        """Answers."""
        self.set_header("Content-Type", self._content_type)
        self.finish(self._page())

    def _refuse(self) -> None:
        identifier = request_id(self.request.headers.get(REQUEST_ID))
        self.set_status(METHOD_NOT_ALLOWED)
        self.set_header("Allow", "GET")
        self.set_header("Content-Type", JSON)
        self.set_header(REQUEST_ID, identifier)
        message = f"{self.request.method} {self.request.path[:200]}: this takes GET."
        self.finish(self._error_body(StatusCode.UNIMPLEMENTED, message, identifier))

    head = post = put = patch = delete = options = _refuse


@stream_request_body
class NoSuchPath(RequestHandler):
    """A path outside the API. Bodies are read and forgotten: many clients look for an answer only once all is sent.

    Args:
        watch: counts and logs, under one name for all such paths.
        max_bytes: of a body.
        error_body: makes the body of the refusal.
        way_out: its last sentence.
    """

    def initialize(self, watch: RequestWatch, max_bytes: int, error_body: ErrorBody, way_out: str) -> None:
        """Takes what the class says."""
        self._watch, self._started_s = watch, time.monotonic()
        self._max_bytes, self._error_body, self._way_out = max_bytes, error_body, way_out

    def prepare(self) -> None:
        """Bounds the body."""
        self.request.connection.set_max_body_size(self._max_bytes)  # type: ignore[union-attr]

    def data_received(self, chunk: bytes) -> None:
        """Forgets a part of the body."""

    def _refuse(self, *_: str) -> None:
        identifier = request_id(self.request.headers.get(REQUEST_ID))
        self.set_status(http_status(StatusCode.NOT_FOUND))
        self.set_header("Content-Type", JSON)
        self.set_header(REQUEST_ID, identifier)
        message = f"there is nothing at {self.request.path[:200]}. {self._way_out}"
        fields = {"request_id": identifier, "protocol": "rest", "api": UNKNOWN_API}
        self._watch.ended(fields, StatusCode.NOT_FOUND, time.monotonic() - self._started_s, message)
        self.finish(self._error_body(StatusCode.NOT_FOUND, message, identifier))

    get = head = post = put = patch = delete = options = _refuse
