"""Reads TensorFlow Serving's configuration files of models, batching and monitoring, all in protocol buffers' text format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grpc import StatusCode
from tensorflow_serving.config import model_server_config_pb2

from schemas.errors import SettingsError
from serving.model_server.batching import BatchingParameters
from serving.model_server.metrics import PATH
from serving.model_server.model_config import ALL, LATEST, SPECIFIC, ModelConfig, VersionPolicy, check_configs
from serving.status import ServingError, invalid
from serving.text_messages import FIELD, message_classes, read_text_message

_TENSORFLOW = 1  # ModelType.TENSORFLOW
# The messages that tensorflow-serving-api leaves out.
_CLASSES = message_classes(
    "aisle/serving/config_files.proto",
    {
        "BatchingParameters": {
            **dict.fromkeys(("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"), "Int64Value"),
            "thread_pool_name": "StringValue",
            "allowed_batch_sizes": [FIELD.TYPE_INT64],
            "enable_large_batch_splitting": "BoolValue",
        },
        "PrometheusConfig": {"enable": FIELD.TYPE_BOOL, "path": FIELD.TYPE_STRING},
        "MonitoringConfig": {"prometheus_config": ".PrometheusConfig"},
    },
)


def read_models(path: Path) -> list[ModelConfig]:
    """Returns the models of a `model_config_file`.

    Raises:
        SettingsError: it isn't one, or asks for what can't be served.
    """
    message = read_text_message(path, model_server_config_pb2.ModelServerConfig())
    try:
        return models_of(message)
    except ServingError as error:
        raise SettingsError(f"{path}: {error}") from None


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
        message = read_text_message(path, _CLASSES["BatchingParameters"]())
        given.update({field.name: value.value for field, value in message.ListFields() if hasattr(value, "value")})
        given["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
    given.pop("thread_pool_name", None)
    try:
        return BatchingParameters(**given)
    except ServingError as error:
        raise SettingsError(f"{path}: {error}") from None


def read_metrics_path(path: Path | None) -> str:
    """Returns where Prometheus finds the metrics by a `monitoring_config_file`; no file: TensorFlow Serving's path; empty: nowhere.

    Raises:
        SettingsError: it isn't one.
    """
    if path is None:
        return PATH
    config = read_text_message(path, _CLASSES["MonitoringConfig"]()).prometheus_config
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
