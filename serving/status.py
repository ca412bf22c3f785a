"""The status codes that clients of gRPC and HTTP rely on; TensorFlow Serving's table of which is which."""

from __future__ import annotations

from grpc import StatusCode

from schemas.errors import AisleError

# TensorFlow Serving's own table; 499 is its "client closed request".
_HTTP = {
    StatusCode.OK: 200,
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
# For what would be too much at any time, where 429 says to try again.
TOO_LARGE = 413
METHOD_NOT_ALLOWED = 405
_BY_NUMBER = {int(code.value[0]): code for code in StatusCode}  # type: ignore[index]


class ServingError(AisleError):
    """A request, or a configuration of a server, that can't be served.

    Args:
        code: what gRPC clients see.
        message: one line.
        status: what HTTP clients see; None: TensorFlow Serving's for the code.
    """

    def __init__(self, code: StatusCode, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = status or http_status(code)  # type: ignore[misc]


def http_status(code: StatusCode) -> int:
    """Returns the HTTP status that TensorFlow Serving gives a gRPC code; 500 for codes that blame the server.

    >>> http_status(StatusCode.FAILED_PRECONDITION), http_status(StatusCode.DATA_LOSS)
    (400, 500)
    """
    return _HTTP.get(code, 500)


def code_of_number(number: int) -> StatusCode:
    """Returns the code of a number, as TensorFlow's errors carry it; UNKNOWN for no code's number."""
    return _BY_NUMBER.get(number, StatusCode.UNKNOWN)


def number_of_code(code: StatusCode) -> int:
    """Returns the number of a code, as `StatusProto` holds it."""
    return int(code.value[0])  # type: ignore[index]


def invalid(message: str) -> ServingError:
    """Returns the error for a request that is wrong whatever is loaded."""
    return ServingError(StatusCode.INVALID_ARGUMENT, message)
