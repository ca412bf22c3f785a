"""Puts the model server together, starts it and stops it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc import StatusCode

from schemas.errors import SettingsError
from schemas.settings import ServingSettings
from serving.addresses import bracketed
from serving.http_port import http_bounds
from serving.in_flight import InFlight
from serving.model_server.batching import Batcher
from serving.model_server.config_files import check_below, models_of, read_batching, read_metrics_path, read_models
from serving.model_server.grpc_server import Front, grpc_port
from serving.model_server.inference import Inference
from serving.model_server.metrics import Metrics
from serving.model_server.model_config import ModelConfig
from serving.model_server.model_manager import Loaded, ModelManager
from serving.model_server.rest_server import error_body, rest_port
from serving.model_server.saved_model import SavedModel, Threads
from serving.model_server.versions import RetryPolicy
from serving.model_server.warmup import warm_up
from serving.ports import Ports
from serving.request_log import RequestLog
from serving.request_watch import RequestWatch
from serving.status import ServingError
from serving.tls import read_tls

# A thread that loads a model mustn't keep those that answer waiting for the interpreter's default of 5 ms each time.
_SWITCH_INTERVAL_S = 0.0005
_BATCHES_S, _MOMENT_S = 5.0, 1.0


@dataclass(frozen=True)
class ServerOptions:
    """What a server is started with; names are TensorFlow Serving's where it has one, defaults those of the settings.

    Attributes:
        model_config_file: which models to serve; None: `models`.
        models: the same without a file.
        host: to listen on.
        port: of gRPC; 0: a free one.
        rest_api_port: of REST; 0: a free one.
        model_roots: more folders that models may be loaded from by a reload.
        file_system_poll_wait_seconds: between two looks for new versions; 0: none after the start.
        model_config_file_poll_wait_seconds: between two looks at the file; 0: none after the start.
        max_num_load_retries: of a version that can't be loaded.
        load_retry_interval_micros: between two of them.
        enable_batching: whether rows of requests are put together.
        batching_parameters_file: how.
        ssl_config_file: key and certificates; None: no TLS.
        monitoring_config_file: whether and where Prometheus finds metrics.
        tensorflow_intra_op_parallelism: threads of one operation; 0: all cores.
        tensorflow_inter_op_parallelism: operations at a time; 0: all cores.
        rest_api_timeout_in_ms: a REST request may wait.
        max_message_bytes: of a request.
        max_answer_bytes: of an answer; a request for more is refused, before the model runs where its signature tells.
        max_in_flight: requests answered at a time; more are refused.
        max_body_bytes: that bodies of REST requests, and answers their clients haven't read yet, may hold together.
        max_connections: of REST, open at a time; more are refused.
        grace_s: requests have to end when the server stops.
        log_requests: `all`, `errors` or `none`.
    """

    model_config_file: Path | None = None
    models: tuple[ModelConfig, ...] = ()
    host: str = ServingSettings.host
    port: int = ServingSettings.port
    rest_api_port: int = ServingSettings.rest_api_port
    model_roots: tuple[Path, ...] = ()
    file_system_poll_wait_seconds: float = ServingSettings.file_system_poll_wait_seconds
    model_config_file_poll_wait_seconds: float = ServingSettings.model_config_file_poll_wait_seconds
    max_num_load_retries: int = ServingSettings.max_num_load_retries
    load_retry_interval_micros: int = ServingSettings.load_retry_interval_micros
    enable_batching: bool = ServingSettings.enable_batching
    batching_parameters_file: Path | None = None
    ssl_config_file: Path | None = None
    monitoring_config_file: Path | None = None
    tensorflow_intra_op_parallelism: int = ServingSettings.tensorflow_intra_op_parallelism
    tensorflow_inter_op_parallelism: int = ServingSettings.tensorflow_inter_op_parallelism
    rest_api_timeout_in_ms: int = ServingSettings.rest_api_timeout_in_ms
    max_message_bytes: int = ServingSettings.max_message_bytes
    max_answer_bytes: int = ServingSettings.max_answer_bytes
    max_in_flight: int = ServingSettings.max_in_flight
    max_body_bytes: int = ServingSettings.max_body_bytes
    max_connections: int = ServingSettings.max_connections
    grace_s: float = ServingSettings.grace_seconds
    log_requests: str = ServingSettings.log_requests


class ModelServer:
    """Serves until it is stopped; both ports are known, and every model is loaded, once `start` returns.

    Args:
        options: see there.

    Raises:
        SettingsError: a file can't be used, bounds contradict each other, or batching parameters are given and batching isn't enabled.
        ServingError: a port can't be used.
    """

    def __init__(self, options: ServerOptions) -> None:
        if options.batching_parameters_file and not options.enable_batching:
            raise SettingsError("--batching-parameters-file says how to batch, but nothing is batched. Add --enable-batching.")
        self._options = options
        self._configs = list(options.models) if options.model_config_file is None else read_models(options.model_config_file)
        # A reload may name what the server was started for and what lies beside it, and no other file of this machine.
        self._roots = [*options.model_roots, *(config.base_path.parent for config in self._configs)]
        retry = RetryPolicy(options.max_num_load_retries, options.load_retry_interval_micros / 1e6)
        self.models = ModelManager(
            self._load,
            options.file_system_poll_wait_seconds,
            retry,
            self._config_reader(),
            options.model_config_file_poll_wait_seconds,
        )
        self.in_flight = InFlight(options.max_in_flight)
        metrics = Metrics(self.models.served, lambda: self.in_flight.count)
        self._batcher = _batcher(options, metrics.observe_batch)
        self.inference = Inference(self.models, self._batcher, options.max_answer_bytes)
        try:
            self._open(options, metrics)
        except BaseException:
            if self._batcher:
                self._batcher.close()
            raise

    def _open(self, options: ServerOptions, metrics: Metrics) -> None:
        watch = RequestWatch(self.in_flight, RequestLog(options.log_requests), metrics.observe_request)
        timeout_s = options.rest_api_timeout_in_ms / 1000
        self.rest_bounds = http_bounds(
            watch, options.max_message_bytes, timeout_s, options.max_body_bytes, options.max_connections, error_body
        )
        front = Front(self.inference, watch, metrics, options.max_message_bytes, self.models.reload)
        tls = read_tls(options.ssl_config_file) if options.ssl_config_file else None
        context = tls.http_context() if tls else None
        credentials, address = tls.grpc_credentials() if tls else None, f"{bracketed(options.host)}:{options.port}"
        metrics_path = read_metrics_path(options.monitoring_config_file)
        rest = rest_port(front, self.rest_bounds, options.host, options.rest_api_port, metrics_path, context)
        self._ports = Ports(lambda: grpc_port(front, self._allowed, address, credentials), rest, options.host, tls is not None)
        self.grpc_address, self.rest_address = self._ports.grpc_address, self._ports.rest_address

    def start(self) -> None:
        """Loads the models, then takes requests.

        Raises:
            ServingError: a model can't be found or loaded.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self.models.start(self._configs)
        self._ports.start()

    def stop(self, grace_s: float | None = None) -> None:
        """Takes no more requests, lets what is being answered or loaded end within the time, and frees the models."""
        grace_s = self._options.grace_s if grace_s is None else grace_s
        end_s = time.monotonic() + grace_s
        self._ports.stop(grace_s)
        if self._batcher:
            self._batcher.close(min(_BATCHES_S, _left_s(end_s)))
        self.models.close(_left_s(end_s))

    @property
    def is_at_work(self) -> bool:
        """Whether threads are still at work after the stop, on what nobody waits for any more."""
        return self.in_flight.count > 0 or self.models.is_at_work or (self._batcher is not None and self._batcher.is_at_work)

    def _load(self, name: str, version: int, folder: Path) -> Loaded:
        threads = Threads(self._options.tensorflow_intra_op_parallelism, self._options.tensorflow_inter_op_parallelism)
        loaded = Loaded(name, version, folder, SavedModel(folder, threads))
        try:
            warm_up(self.inference, loaded, self._options.max_message_bytes)
            for signature in self.models.used_signatures(name) & loaded.model.signatures.keys():
                loaded.model.prepare(signature)  # The clients of the version that goes shouldn't notice.
        except ServingError:
            loaded.model.close()
            raise
        loaded.model.is_live = True
        return loaded

    def _allowed(self, config: Any) -> list[ModelConfig]:
        found = models_of(config)
        check_below(found, self._roots)
        return found

    def _config_reader(self) -> Callable[[], Sequence[ModelConfig] | None] | None:
        path = self._options.model_config_file
        if path is None or not self._options.model_config_file_poll_wait_seconds:
            return None
        before = path.read_bytes()

        def read() -> list[ModelConfig] | None:
            nonlocal before
            try:
                now = path.read_bytes()
                if now == before:  # A reload by request stays in force until the file changes.
                    return None
                before = now
                return read_models(path)
            except OSError as error:
                raise ServingError(StatusCode.INVALID_ARGUMENT, f"{path}: can't be read: {error.strerror}.") from None
            except SettingsError as error:
                raise ServingError(StatusCode.INVALID_ARGUMENT, str(error)) from None

        return read


def _left_s(end_s: float) -> float:
    """Returns the rest of a grace; where none is left, the moment that an idle thread needs to end."""
    return max(_MOMENT_S, end_s - time.monotonic())


def _batcher(options: ServerOptions, observe: Callable[[int], None]) -> Batcher | None:
    if not options.enable_batching:
        return None
    return Batcher(read_batching(options.batching_parameters_file, os.cpu_count() or 1), observe)
