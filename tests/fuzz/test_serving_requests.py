"""Whatever a request to the model server holds, over gRPC and REST, it gets a proper status, soon, and the server answers on."""

import json
import logging
import os
import random
import shutil
import urllib.request

import grpc
import pytest
from google.protobuf import json_format

from serving.model_server.model_config import ModelConfig, VersionPolicy
from serving.model_server.server import ModelServer, ServerOptions
from tests.fuzz.request_campaign import Outcome
from tests.fuzz.serving_requests import BODIES, methods_of, over_grpc, over_rest
from tests.support.tiny_model import write_tiny_model

# `make test-fuzz` sends 10,000 to the program.
REQUESTS = int(os.environ.get("AISLE_FUZZ_INPUTS", "600"))


@pytest.fixture(scope="module")
def base_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "tiny"
    write_tiny_model(folder / "1", 1)
    shutil.copytree(folder / "1", folder / "2")
    return folder


@pytest.fixture
def server(base_path):
    policy = VersionPolicy("specific", versions=(1, 2))
    config = ModelConfig("tiny", base_path, policy, {"stable": 1, "canary": 2})
    running = ModelServer(ServerOptions(models=(config,), port=0, rest_api_port=0, log_requests="none"))
    running.start()
    yield running
    running.stop(1)


@pytest.fixture
def tracebacks(caplog):
    """What the server's log says of bugs; its lines go nowhere else."""
    logger = logging.getLogger("serving")
    logger.addHandler(caplog.handler)
    yield lambda: [record.exc_text or str(record.exc_info) for record in caplog.records if record.exc_info]
    logger.removeHandler(caplog.handler)


def test_the_requests_that_are_damaged_are_answered_before(server, base_path):
    with grpc.insecure_channel(server.grpc_address) as channel:
        for api, method in methods_of(base_path).items():
            call = channel.unary_unary(f"/{method.service}/{api}")
            assert call(json_format.ParseDict(method.whole, method.message()).SerializeToString(), timeout=60) is not None
    for verb, body in BODIES.items():
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{server.rest_address}/v1/models/tiny{verb}", data, timeout=60) as answer:
            assert answer.status == 200


def test_malformed_calls_of_every_method_get_a_proper_status(server, base_path, tracebacks):
    found = Outcome()
    with grpc.insecure_channel(server.grpc_address) as channel:
        over_grpc(channel, methods_of(base_path), REQUESTS, random.Random(5), found)
        assert (found.wrong, tracebacks()) == ([], [])
        assert {"gRPC OK", "gRPC INVALID_ARGUMENT", "gRPC NOT_FOUND"} <= set(found.counts)


def test_malformed_requests_to_every_route_get_a_proper_status(server, tracebacks):
    found = Outcome()
    over_rest(server.rest_address, REQUESTS, random.Random(5), found)
    assert (found.wrong, tracebacks()) == ([], [])
    assert {"HTTP 200", "HTTP 400", "HTTP 404", "HTTP 405"} <= set(found.counts)
