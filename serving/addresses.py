"""Writes addresses that servers listen on, and says why one can't be used."""

from __future__ import annotations

import errno
import socket

from grpc import StatusCode

from serving.status import ServingError

_NO_SUCH_HOST = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def bracketed(host: str) -> str:
    """Returns a host as it stands before a port.

    >>> bracketed("::1"), bracketed("127.0.0.1")
    ('[::1]', '127.0.0.1')
    """
    return f"[{host}]" if ":" in host else host


def cant_listen(address: str, error: Exception, option: str) -> ServingError:
    """Returns the error of an address that can't be listened on.

    >>> print(cant_listen("127.0.0.1:80", PermissionError(13, "Permission denied"), "--port"))
    127.0.0.1:80: the port can't be used: Permission denied. Free it, or name another with --port.

    Args:
        address: host and port.
        error: of who tried.
        option: what names another port.
    """
    is_host = isinstance(error, socket.gaierror | UnicodeError) or getattr(error, "errno", None) in _NO_SUCH_HOST
    way_out = "Name an address of this machine with --host." if is_host else f"Free it, or name another with {option}."
    why = getattr(error, "strerror", None) or str(error)
    return ServingError(StatusCode.UNAVAILABLE, f"{address}: the port can't be used: {why}. {way_out}")
