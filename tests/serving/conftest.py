"""One model server on free ports, with two versions of a tiny model, that the tests of its protocols share."""

from __future__ import annotations

import http.client
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.model_server.model_config import ModelConfig, VersionPolicy
from serving.model_server.server import ModelServer, ServerOptions
from tests.support.tiny_model import write_tiny_model


class Client(NamedTuple):
    """A server and stubs for it."""

    server: ModelServer
    predict: Any
    models: Any

    def http(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Returns status and JSON of a GET, or of a POST where there is a body; bytes are sent as they are."""
        connection = http.client.HTTPConnection(self.server.rest_address.removeprefix("http://"), timeout=30)
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("GET" if body is None else "POST", path, raw, headers or {})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        is_json = response.getheader("Content-Type", "").startswith("application/json")
        return response.status, json.loads(content) if is_json else content.decode()


@pytest.fixture(scope="session")
def versions(tmp_path_factory) -> dict[int, Path]:
    """SavedModels by the version they say."""
    root = tmp_path_factory.mktemp("tiny")
    for version in (1, 2):
        write_tiny_model(root / str(version), version)
    return {version: root / str(version) for version in (1, 2)}


@pytest.fixture
def base_path(versions, tmp_path) -> Path:
    """A folder of both versions that a test may change."""
    for version, folder in versions.items():
        shutil.copytree(folder, tmp_path / "models" / "tiny" / str(version))
    return tmp_path / "models" / "tiny"


@pytest.fixture
def start():
    """Starts servers with options, and stops them at the end of the test."""
    running = []

    def started(*configs: ModelConfig, **options: Any) -> Client:
        server = ModelServer(ServerOptions(models=configs, **{"port": 0, "rest_api_port": 0, "log_requests": "none", **options}))
        running.append(server)
        server.start()
        return Client(server, *stubs(server))

    yield started
    for server in running:
        server.stop(1)


def stubs(server: ModelServer, credentials: Any = None) -> tuple[Any, Any]:
    """Returns stubs of both services."""
    channel = grpc.secure_channel(server.grpc_address, credentials) if credentials else grpc.insecure_channel(server.grpc_address)
    return prediction_service_pb2_grpc.PredictionServiceStub(channel), model_service_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture(scope="session")
def client(versions):
    """A server with both versions, labelled, for tests that change nothing."""
    config = ModelConfig("tiny", versions[1].parent, VersionPolicy("all"), {"stable": 1, "canary": 2})
    server = ModelServer(
        ServerOptions(models=(config,), port=0, rest_api_port=0, max_message_bytes=200_000, max_in_flight=4, log_requests="none")
    )
    server.start()
    yield Client(server, *stubs(server))
    server.stop(1)
