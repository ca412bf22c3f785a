"""Reads the key and certificates of a server from an `ssl_config_file`, as TensorFlow Serving has it, for both protocols."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from schemas.errors import SettingsError
from serving.text_messages import FIELD, message_classes, read_text_message

_TEXT = dict.fromkeys(("server_key", "server_cert", "custom_ca"), FIELD.TYPE_STRING)
_SSL_CONFIG = message_classes("aisle/serving/tls.proto", {"SSLConfig": {**_TEXT, "client_verify": FIELD.TYPE_BOOL}})["SSLConfig"]


@dataclass(frozen=True)
class TlsFiles:
    """What a server needs to prove who it is, and perhaps to ask the same of its clients.

    Attributes:
        path: of the file that holds it, for errors.
        key: private key, PEM.
        certificate: of the server, PEM.
        client_authority: certificates of those who sign clients' certificates, PEM; empty: the system's.
        is_client_verified: whether clients must show a certificate.
    """

    path: Path
    key: bytes
    certificate: bytes
    client_authority: bytes = b""
    is_client_verified: bool = False

    def grpc_credentials(self) -> Any:
        """Returns the credentials of a gRPC server."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.client_authority or None, require_client_auth=self.is_client_verified
        )

    def http_context(self) -> ssl.SSLContext:
        """Returns the same for an HTTP server. The key is in a file for a moment, in a folder that its owner alone may enter.

        Raises:
            SettingsError: OpenSSL refuses key or certificates, or the key has a pass phrase, which nobody is asked for.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            # Two files, as gRPC takes them: of one, OpenSSL would pick out each by its kind, and never see that they are swapped.
            key, certificate = Path(folder) / "server.key", Path(folder) / "server.crt"
            key.write_bytes(self.key)
            certificate.write_bytes(self.certificate)
            try:
                context.load_cert_chain(certificate, key, password=self._refuse_pass_phrase)
            except OSError as error:
                raise SettingsError(
                    f"{self.path}: server_key or server_cert can't be used: {error}. "
                    "Check that each is the text of its own PEM file, and that they belong together."
                ) from None
        if self.client_authority:
            try:
                context.load_verify_locations(cadata=self.client_authority.decode("ascii"))
            except (OSError, ValueError) as error:
                raise SettingsError(
                    f"{self.path}: custom_ca can't be used: {error}. Put the text of the PEM file of the certificates into it."
                ) from None
        context.verify_mode = ssl.CERT_REQUIRED if self.is_client_verified else ssl.CERT_NONE
        return context

    def _refuse_pass_phrase(self) -> bytes:
        raise SettingsError(
            f"{self.path}: server_key has a pass phrase, expected a key without. Take it off with openssl pkey -in KEY -out NEW-KEY."
        )


def read_tls(path: Path) -> TlsFiles:
    """Returns the key and certificates of an `ssl_config_file`, which holds them itself, in PEM.

    Raises:
        SettingsError: it isn't one, key or certificate are missing, or clients are to be verified by nobody.
    """
    message = read_text_message(path, _SSL_CONFIG())
    if not message.server_key or not message.server_cert:
        raise SettingsError(f"{path}: server_key or server_cert is missing. Put the text of both PEM files into it.")
    if message.client_verify and not message.custom_ca:
        raise SettingsError(f"{path}: client_verify needs custom_ca, the certificates that clients' are signed with.")
    return TlsFiles(path, message.server_key.encode(), message.server_cert.encode(), message.custom_ca.encode(), message.client_verify)
