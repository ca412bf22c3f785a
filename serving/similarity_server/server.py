"""Puts the similarity server together, starts it and stops it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import SettingsError
from serving.grpc_calls import GrpcPort
from serving.in_flight import InFlight
from serving.request_log import ALL, RequestLog
from serving.request_watch import RequestWatch
from serving.similarity_server.answers import Answers, Bounds
from serving.similarity_server.followed_index import FollowedIndex
from serving.similarity_server.grpc_server import SERVICE, SimilarityService
from serving.similarity_server.metrics import Metrics
from serving.similarity_server.model_client import ModelClient
from serving.similarity_server.rest_server import rest_port
from serving.similarity_server.similarity_pb2_grpc import add_SimilarityServicer_to_server

LOCALHOST = "127.0.0.1"


@dataclass(frozen=True)
class ServerOptions:
    """What a server is started with.

    Attributes:
        folder: of the live index: what is built, and the changes since; this server's own.
        push_folder: whose live index is served and followed; None: `built`.
        built: folder of a built index to start with, where nothing is followed; None: what `folder` holds.
        model_server: address of its REST API; empty: new products can't be embedded.
        model_name: there; empty: as pushed.
        host: to listen on.
        port: of gRPC; 0: a free one.
        rest_port: of REST; 0: a free one.
        poll_s: between two looks at what is pushed; 0: none after the start.
        bounds: what one request may ask for.
        max_message_bytes: of a request.
        max_in_flight: requests answered at a time; more are refused.
        timeout_s: a REST request, or a question to the model server, may take.
        grace_s: requests have to end when the server stops.
        log_requests: `all`, `errors` or `none`.
    """

    folder: Path
    push_folder: Path | None = None
    built: Path | None = None
    model_server: str = ""
    model_name: str = ""
    host: str = LOCALHOST
    port: int = 8600
    rest_port: int = 8601
    poll_s: float = 1.0
    bounds: Bounds = field(default_factory=Bounds)
    max_message_bytes: int = 16_000_000
    max_in_flight: int = 64
    timeout_s: float = 10.0
    grace_s: float = 30.0
    log_requests: str = ALL


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
        self.index = FollowedIndex(options.folder, options.push_folder, options.built, options.poll_s)
        self._model: ModelClient | None = None
        try:
            self._open(options)
        except BaseException:
            self.index.close()
            raise

    def _open(self, options: ServerOptions) -> None:
        self._model = _model(options, self.index)
        self.in_flight = InFlight(options.max_in_flight)
        metrics = Metrics(self.index.live.status, lambda: self.in_flight.count)
        watch = RequestWatch(self.in_flight, RequestLog(options.log_requests), metrics.observe)
        answers = Answers(self.index, self._model, options.bounds)
        service = SimilarityService(answers, watch)
        host = f"[{options.host}]" if ":" in options.host else options.host
        self._grpc = GrpcPort(
            [SERVICE],
            lambda server: add_SimilarityServicer_to_server(service, server),
            f"{host}:{options.port}",
            options.max_in_flight,
            options.max_message_bytes,
        )
        self._rest = rest_port(answers, watch, metrics, options.host, options.rest_port, options.max_message_bytes, options.timeout_s)
        self.grpc_address = f"{host}:{self._grpc.port}"
        self.rest_address = f"http://{host}:{self._rest.port}"

    def start(self) -> None:
        """Takes requests from now on."""
        self.index.start()
        self._grpc.start()
        self._rest.start()

    def stop(self, grace_s: float | None = None) -> None:
        """Takes no more requests, lets those that are being answered end within the time, and closes the index."""
        given_s = self._options.grace_s if grace_s is None else grace_s
        self._grpc.stop(given_s)
        self._rest.stop(given_s)
        self.index.close()
        if self._model:
            self._model.close()


def _model(options: ServerOptions, index: FollowedIndex) -> ModelClient | None:
    if not options.model_server:
        return None
    name = options.model_name or (index.pushed.name if index.pushed else "")
    if not name:
        raise SettingsError("--model-server is named, but no model. Add --model-name.")
    return ModelClient(options.model_server, name, options.timeout_s)
