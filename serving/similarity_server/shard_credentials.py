"""Reads by whose certificates a router knows its shards, and with which it lets them know itself."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc

from schemas.errors import SettingsError
from serving.tls import read_tls

_MAX_BYTES = 10_000_000


def shard_credentials(ca_file: Path, ssl_config_file: Path | None) -> Any:
    """Returns the credentials of gRPC channels to shards.

    Args:
        ca_file: certificates of those who sign the shards', PEM; a certificate that signs itself is its own.
        ssl_config_file: of the router, whose certificate is shown to shards that verify their clients; None: none is shown.

    Raises:
        SettingsError: a file can't be read, is larger than 10 MB, or holds no certificates.
    """
    authority = _certificates(ca_file)
    own = read_tls(ssl_config_file) if ssl_config_file else None
    return grpc.ssl_channel_credentials(authority, own.key if own else None, own.certificate if own else None)


def _certificates(path: Path) -> bytes:
    """Returns a file of certificates, which OpenSSL has read: gRPC would only say later that nobody can be asked."""
    try:
        with path.open("rb") as file:
            found = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: the shards' certificates can't be read: {error.strerror}. Name their PEM file.") from None
    if len(found) > _MAX_BYTES:
        raise SettingsError(f"{path}: it holds more than {_MAX_BYTES} bytes, expected the shards' certificates. Name their PEM file.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata=found.decode("ascii", "ignore")
        )  # Comments have names of any letters.
    except (ValueError, ssl.SSLError) as error:
        raise SettingsError(
            f"{path}: this isn't what shards' certificates are signed with: {error}. Name the PEM file of the certificates."
        ) from None
    return found
