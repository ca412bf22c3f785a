"""Puts the similarity server together, or a router in front of several, starts it and stops it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import SettingsError
from schemas.settings import SimilarSettings
from serving.addresses import bracketed
from serving.grpc_calls import GrpcPort
from serving.http_port import http_bounds
from serving.in_flight import InFlight
from serving.ports import Ports
from serving.request_log import RequestLog
from serving.request_watch import RequestWatch
from serving.similarity_server.answers import Answers, Bounds
from serving.similarity_server.followed_index import FollowedIndex, Shard
from serving.similarity_server.grpc_server import SERVICE, SimilarityService
from serving.similarity_server.metrics import IndexStatus, Metrics
from serving.similarity_server.model_client import ModelClient
from serving.similarity_server.rest_server import error_body, rest_port
from serving.similarity_server.router import Router
from serving.similarity_server.shard_credentials import shard_credentials
from serving.similarity_server.shards import Shards
from serving.similarity_server.similarity_pb2 import StatusRequest
from serving.similarity_server.similarity_pb2_grpc import add_SimilarityServicer_to_server
from serving.tls import read_tls


@dataclass(frozen=True, kw_only=True)
class ListenOptions:
    """Where and how requests are taken; defaults are those of the settings.

    Attributes:
        host: to listen on.
        port: of gRPC; 0: a free one.
        rest_port: of REST; 0: a free one.
        ssl_config_file: key and certificates; None: no TLS.
        bounds: what one request may ask for.
        max_message_bytes: of a request.
        max_in_flight: requests answered at a time; more are refused.
        max_body_bytes: that bodies of REST requests, and answers their clients haven't read yet, may hold together.
        max_connections: of REST, open at a time; more are refused.
        timeout_s: a REST request, or a question to another server, may take.
        grace_s: requests have to end when the server stops.
        log_requests: `all`, `errors` or `none`.
    """

    host: str = SimilarSettings.host
    port: int = SimilarSettings.port
    rest_port: int = SimilarSettings.rest_port
    ssl_config_file: Path | None = None
    bounds: Bounds = field(default_factory=Bounds)
    max_message_bytes: int = SimilarSettings.max_message_bytes
    max_in_flight: int = SimilarSettings.max_in_flight
    max_body_bytes: int = SimilarSettings.max_body_bytes
    max_connections: int = SimilarSettings.max_connections
    timeout_s: float = SimilarSettings.timeout_seconds
    grace_s: float = SimilarSettings.grace_seconds
    log_requests: str = SimilarSettings.log_requests


@dataclass(frozen=True)
class ServerOptions(ListenOptions):
    """What a server is started with.

    Attributes:
        folder: of the live index: what is built, and the changes since; this server's own.
        push_folder: whose live index is served and followed; None: `built`.
        built: folder of a built index to start with, where nothing is followed; None: what `folder` holds.
        shard: what it holds of the index; None: all of it.
        model_server: address of its REST API; empty: new products can't be embedded.
        model_name: there; empty: as pushed.
        poll_s: between two looks at what is pushed; 0: none after the start.
    """

    folder: Path
    push_folder: Path | None = None
    built: Path | None = None
    shard: Shard | None = None
    model_server: str = SimilarSettings.model_server
    model_name: str = SimilarSettings.model_name
    poll_s: float = SimilarSettings.poll_seconds


@dataclass(frozen=True)
class RouterOptions(ListenOptions):
    """What a router is started with.

    Attributes:
        shards: addresses of their gRPC ports.
        shard_ca_file: certificates that the shards' are signed with, to ask them over TLS; None: no TLS.
    """

    shards: tuple[str, ...]
    shard_ca_file: Path | None = None


def _ports(methods: Answers | Router, options: ListenOptions, in_flight: InFlight, index_status: IndexStatus | None) -> Ports:
    tls = read_tls(options.ssl_config_file) if options.ssl_config_file else None
    context = tls.http_context() if tls else None
    metrics = Metrics(index_status, lambda: in_flight.count)
    watch = RequestWatch(in_flight, RequestLog(options.log_requests), metrics.observe)
    bounds = http_bounds(watch, options.max_message_bytes, options.timeout_s, options.max_body_bytes, options.max_connections, error_body)
    service = SimilarityService(methods, watch)
    credentials = tls.grpc_credentials() if tls else None

    def open_grpc() -> GrpcPort:
        return GrpcPort(
            [SERVICE],
            lambda server: add_SimilarityServicer_to_server(service, server),
            f"{bracketed(options.host)}:{options.port}",
            options.max_in_flight,
            options.max_message_bytes,
            credentials=credentials,
        )

    rest = rest_port(methods, bounds, metrics, options.host, options.rest_port, context)
    return Ports(open_grpc, rest, options.host, tls is not None)


class SimilarityServer:
    """Serves until it is stopped; the index is open and both ports are known from the start.

    Args:
        options: see there.

    Raises:
        NeighbourIndexError: no index, a damaged one, or another process has it.
        SettingsError: an option can't be used.
        ServingError: a port can't be used.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self.index = FollowedIndex(options.folder, options.push_folder, options.built, options.poll_s, options.shard)
        self._model: ModelClient | None = None
        try:
            self._open(options)
        except BaseException:
            self.index.close()
            raise

    def _open(self, options: ServerOptions) -> None:
        self._model = _model(options, self.index)
        self.in_flight = InFlight(options.max_in_flight)
        answers = Answers(self.index, self._model, options.bounds)
        self._ports = _ports(answers, options, self.in_flight, self.index.live.status)
        self.grpc_address, self.rest_address = self._ports.grpc_address, self._ports.rest_address

    @property
    def version(self) -> int:
        """Of the index that is served."""
        return self.index.live.version

    @property
    def is_at_work(self) -> bool:
        """Whether threads are still at work after the stop, on what nobody waits for any more."""
        return self.in_flight.count > 0

    def start(self) -> None:
        """Takes requests from now on."""
        self.index.start()
        self._ports.start()

    def stop(self, grace_s: float | None = None) -> None:
        """Takes no more requests, lets those that are being answered end within the time, and closes the index."""
        self._ports.stop(self._options.grace_s if grace_s is None else grace_s)
        self.index.close()
        if self._model:
            self._model.close()


class RouterServer:
    """Serves what shards hold until it is stopped; both ports are known from the start.

    Args:
        options: see there.

    Raises:
        SettingsError: an option can't be used.
        ServingError: a port can't be used, a shard can't be asked, or nodes are in two shards or in none.
    """

    def __init__(self, options: RouterOptions) -> None:
        self._options = options
        credentials = shard_credentials(options.shard_ca_file, options.ssl_config_file) if options.shard_ca_file else None
        self._shards = Shards(options.shards, options.timeout_s, options.max_message_bytes, credentials)
        self.in_flight = InFlight(options.max_in_flight)
        try:
            self._router = Router(self._shards, options.bounds)
            self._ports = _ports(self._router, options, self.in_flight, None)
        except BaseException:
            self._shards.close()
            raise
        self.grpc_address, self.rest_address = self._ports.grpc_address, self._ports.rest_address

    @property
    def version(self) -> int:
        """The lowest that a shard serves."""
        return int(self._router.status(StatusRequest(), None).version)

    @property
    def is_at_work(self) -> bool:
        """Whether threads are still at work after the stop, on what nobody waits for any more."""
        return self.in_flight.count > 0

    def start(self) -> None:
        """Takes requests from now on."""
        self._ports.start()

    def stop(self, grace_s: float | None = None) -> None:
        """Takes no more requests, and lets those that are being answered end within the time."""
        self._ports.stop(self._options.grace_s if grace_s is None else grace_s)
        self._shards.close()


def _model(options: ServerOptions, index: FollowedIndex) -> ModelClient | None:
    if not options.model_server:
        return None
    name = options.model_name or (index.pushed.name if index.pushed else "")
    if not name:
        raise SettingsError("--model-server is named, but no model. Add --model-name.")
    return ModelClient(options.model_server, name, options.timeout_s)
