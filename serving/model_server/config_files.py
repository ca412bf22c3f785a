"""Reads TensorFlow Serving's configuration files: models, batching, TLS and monitoring, all in protocol buffers' text format."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from grpc import StatusCode
from tensorflow_serving.config import model_server_config_pb2

from schemas.errors import SettingsError
from serving.model_server.batching import BatchingParameters
from serving.model_server.metrics import PATH
from serving.model_server.model_config import ALL, LATEST, SPECIFIC, ModelConfig, VersionPolicy, check_configs
from serving.status import ServingError, invalid

_MAX_BYTES = 1_000_000
_TENSORFLOW = 1  # ModelType.TENSORFLOW
_FIELD = descriptor_pb2.FieldDescriptorProto
# The messages that tensorflow-serving-api leaves out; on file only their fields' names count.
_MESSAGES: dict[str, dict[str, Any]] = {
    "BatchingParameters": {
        **dict.fromkeys(("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"), "Int64Value"),
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": [_FIELD.TYPE_INT64],
        "enable_large_batch_splitting": "BoolValue",
    },
    "SSLConfig": {
        **dict.fromkeys(("server_key", "server_cert", "custom_ca"), _FIELD.TYPE_STRING),
        "client_verify": _FIELD.TYPE_BOOL,
    },
    "PrometheusConfig": {"enable": _FIELD.TYPE_BOOL, "path": _FIELD.TYPE_STRING},
    "MonitoringConfig": {"prometheus_config": ".aisle.serving.PrometheusConfig"},
}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="aisle/serving/config_files.proto", package="aisle.serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), 1):
            field = described.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
            if isinstance(kind, list):
                field.label, field.type = _FIELD.LABEL_REPEATED, kind[0]
            elif isinstance(kind, str):
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = kind if kind.startswith(".") else f".google.protobuf.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"aisle.serving.{name}")) for name in _MESSAGES}


_CLASSES = _messages()


@dataclass(frozen=True)
class TlsFiles:
    """What a server needs to prove who it is, and perhaps to ask the same of its clients.

    Attributes:
        key: private key, PEM.
        certificate: of the server, PEM.
        client_authority: certificates of those who sign clients' certificates, PEM; empty: the system's.
        is_client_verified: whether clients must show a certificate.
    """

    key: bytes
    certificate: bytes
    client_authority: bytes = b""
    is_client_verified: bool = False

    def grpc_credentials(self) -> Any:
        """Returns the credentials of a gRPC server."""
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.client_authority or None, require_client_auth=self.is_client_verified
        )


def read_text_proto(path: Path, message: Any) -> Any:
    """Fills a message from a file.

    Raises:
        SettingsError: the file can't be read, is larger than 1 MB, or isn't such a message. Names line and column.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise SettingsError(f"{path}: more than {_MAX_BYTES} bytes aren't a configuration. Name the right file.")
        return text_format.Parse(raw.decode("utf-8"), message)
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}. Name a file you may read.") from None
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path}: this isn't {message.DESCRIPTOR.name} in text format: {error}.") from None


def read_models(path: Path) -> list[ModelConfig]:
    """Returns the models of a `model_config_file`.

    Raises:
        SettingsError: it isn't one.
        ServingError: INVALID_ARGUMENT: it asks for what can't be served.
    """
    return models_of(read_text_proto(path, model_server_config_pb2.ModelServerConfig()))


def models_of(config: Any) -> list[ModelConfig]:
    """Returns the models of a `ModelServerConfig`.

    Raises:
        ServingError: INVALID_ARGUMENT: another kind of configuration or platform, or models that can't be told apart.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid(f"model config: found {config.WhichOneof('config') or 'nothing'}, expected model_config_list.")
    found = [_model(one) for one in config.model_config_list.config]
    check_configs(found)
    return found


def _model(one: Any) -> ModelConfig:
    if one.model_platform not in ("", "tensorflow") or one.model_type not in (0, _TENSORFLOW):
        raise invalid(f'{one.name}: model_platform {one.model_platform!r} isn\'t served here. Use "tensorflow".')
    return ModelConfig(one.name, Path(one.base_path), _policy(one.model_version_policy), dict(one.version_labels))


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == SPECIFIC:
        return VersionPolicy(SPECIFIC, versions=tuple(policy.specific.versions))
    if choice == ALL:
        return VersionPolicy(ALL)
    return VersionPolicy(LATEST, policy.latest.num_versions or 1)


def read_batching(path: Path | None, num_cores: int) -> BatchingParameters:
    """Returns the parameters of a `batching_parameters_file`; no file: TensorFlow Serving's defaults.

    Raises:
        SettingsError: it isn't one, or a value is out of range.
    """
    given: dict[str, Any] = {"num_batch_threads": num_cores}
    if path is not None:
        message = read_text_proto(path, _CLASSES["BatchingParameters"]())
        given.update({field.name: value.value for field, value in message.ListFields() if hasattr(value, "value")})
        given["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
    given.pop("thread_pool_name", None)
    try:
        return BatchingParameters(**given)
    except ServingError as error:
        raise SettingsError(f"{path}: {error}") from None


def read_tls(path: Path) -> TlsFiles:
    """Returns the key and certificates of an `ssl_config_file`, which holds them itself, in PEM.

    Raises:
        SettingsError: it isn't one, key and certificate don't belong together, or clients are to be verified by nobody.
    """
    message = read_text_proto(path, _CLASSES["SSLConfig"]())
    if not message.server_key or not message.server_cert:
        raise SettingsError(f"{path}: server_key or server_cert is missing. Put the text of both PEM files into it.")
    if message.client_verify and not message.custom_ca:
        raise SettingsError(f"{path}: client_verify needs custom_ca, the certificates that clients' are signed with.")
    return TlsFiles(message.server_key.encode(), message.server_cert.encode(), message.custom_ca.encode(), message.client_verify)


def ssl_context(tls: TlsFiles, folder: Path) -> ssl.SSLContext:
    """Returns the same for an HTTP server; `folder`, for its owner's eyes only, holds the key for a moment.

    Raises:
        SettingsError: OpenSSL refuses key or certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = folder / "server.pem"
    try:
        chain.write_bytes(tls.key + b"\n" + tls.certificate)
        context.load_cert_chain(chain)
        if tls.client_authority:
            context.load_verify_locations(cadata=tls.client_authority.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED if tls.is_client_verified else ssl.CERT_NONE
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise SettingsError(f"ssl_config_file: key or certificates can't be used: {error}. Check that they belong together.") from None
    finally:
        chain.unlink(missing_ok=True)
    return context


def read_metrics_path(path: Path | None) -> str:
    """Returns where Prometheus finds the metrics by a `monitoring_config_file`; no file: TensorFlow Serving's path; empty: nowhere.

    Raises:
        SettingsError: it isn't one.
    """
    if path is None:
        return PATH
    config = read_text_proto(path, _CLASSES["MonitoringConfig"]()).prometheus_config
    if not config.enable:
        return ""
    if config.path and not config.path.startswith("/"):
        raise SettingsError(f"{path}: prometheus_config.path {config.path!r} must begin with /.")
    return config.path or PATH


def check_below(configs: Sequence[ModelConfig], roots: Sequence[Path]) -> None:
    """Refuses models outside the folders a server was started for: whoever may call it mustn't make it load any file.

    Raises:
        ServingError: PERMISSION_DENIED: a base path isn't below one of `roots`.
    """
    for config in configs:
        place = config.base_path.resolve()
        if not any(place.is_relative_to(root.resolve()) for root in roots):
            raise ServingError(
                StatusCode.PERMISSION_DENIED,
                f"{config.name}: base_path {config.base_path} isn't in a folder this server may load from. Start it with --model-root.",
            )
