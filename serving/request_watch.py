"""Bounds, counts and logs requests, and turns what goes wrong into a status, whichever protocol asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from grpc import StatusCode

from schemas.errors import AisleError, one_line
from serving.in_flight import InFlight
from serving.request_log import RequestLog
from serving.status import ServingError

_MAX_MESSAGE = 2_000
log = logging.getLogger(__name__)


class RequestWatch:
    """What every server does with every request.

    Args:
        in_flight: refuses what is too much at a time.
        request_log: writes a line a request.
        observe: told the fields of that line, how the request ended and the seconds it took.
    """

    def __init__(
        self, in_flight: InFlight, request_log: RequestLog, observe: Callable[[Mapping[str, str], StatusCode, float], None]
    ) -> None:
        self.in_flight, self._log, self._observe = in_flight, request_log, observe

    def ended(self, fields: Mapping[str, str], code: StatusCode, seconds: float, message: str) -> None:
        """Counts and logs a request."""
        self._observe(fields, code, seconds)
        self._log.write(fields, code, seconds, message)


def failure(error: Exception, identifier: str) -> tuple[StatusCode, str]:
    """Returns the status of an error and its message in one line. A bug keeps its traceback in the log; clients learn where to look."""
    if isinstance(error, ServingError):
        return error.code, one_line(str(error), _MAX_MESSAGE)
    if isinstance(error, AisleError):
        return StatusCode.INTERNAL, one_line(str(error), _MAX_MESSAGE)
    log.error("request_id=%s failed", identifier, exc_info=error)
    return StatusCode.INTERNAL, f"the server failed; its log says more at request_id {identifier}."
