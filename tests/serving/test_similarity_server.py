"""Asks a similarity server over gRPC and REST, with a real model server behind it, and swaps both under it."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import select
import socket
import ssl
import threading
import time
import urllib.request
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from components.pair_pushing import push_pair
from components.pair_rollback import roll_back
from schemas.errors import NeighbourIndexError, SettingsError
from serving.model_server.model_config import ModelConfig, VersionPolicy
from serving.model_server.server import ModelServer
from serving.model_server.server import ServerOptions as ModelServerOptions
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.answers import Bounds
from serving.similarity_server.grpc_server import SERVICE
from serving.similarity_server.rest_server import ROUTES
from serving.similarity_server.server import ServerOptions, SimilarityServer
from serving.similarity_server.similarity_pb2_grpc import SimilarityStub
from serving.status import ServingError
from similarity.live_index import LiveIndex
from similarity.planner import build_index, save_index
from similarity.product_columns import ProductFilter, columns_from_values
from similarity.vectors import in_tree_order
from tests.components.toy_pair import make_pair
from tests.fuzz.request_campaign import Outcome
from tests.fuzz.similarity_requests import over_grpc, over_rest
from tests.similarity.catalogue import DIMENSION, NODES, SUBTREE_ENDS, small_catalogue, write_built
from tests.support.certificates import certified, quoted
from tests.support.shop import shop_taxonomy
from tests.support.tiny_embedder import write_tiny_embedder
from tests.support.toy_model import write_toy_model

VERSION = 7
PATHS = {route.api: route for route in ROUTES}


class Refused(Exception):
    """What a client sees of a refusal."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Grpc:
    """Asks over gRPC."""

    def __init__(self, server: SimilarityServer) -> None:
        self.channel = grpc.insecure_channel(server.grpc_address)
        self.stub = SimilarityStub(self.channel)

    def ask(self, api: str, body: dict[str, Any]) -> dict[str, Any]:
        method = messages.DESCRIPTOR.services_by_name["Similarity"].methods_by_name[api]
        request = json_format.ParseDict(body, getattr(messages, method.input_type.name)())
        try:
            response = getattr(self.stub, api)(request, timeout=20)
        except grpc.RpcError as error:
            raise Refused(error.code().name, error.details()) from None
        return json_format.MessageToDict(response, preserving_proto_field_name=True)

    def close(self) -> None:
        self.channel.close()


class Rest:
    """Asks over REST."""

    def __init__(self, server: SimilarityServer) -> None:
        self.address = server.rest_address.removeprefix("http://")

    def ask(self, api: str, body: dict[str, Any]) -> dict[str, Any]:
        status, found, _ = self.raw(PATHS[api].verb, PATHS[api].path, json.dumps(body).encode())
        if status != 200:
            raise Refused(found["error"]["status"], found["error"]["message"])
        kind = messages.DESCRIPTOR.services_by_name["Similarity"].methods_by_name[api].output_type.name
        return json_format.MessageToDict(json_format.ParseDict(found, getattr(messages, kind)()), preserving_proto_field_name=True)

    def raw(self, verb: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Returns status, content (read where it is JSON) and headers."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request(verb, path, body if verb != "GET" else None, headers or {})
            response = connection.getresponse()
            content = response.read()
            is_json = response.getheader("Content-Type", "").startswith("application/json")
            return response.status, json.loads(content) if is_json else content.decode(), response.headers
        finally:
            connection.close()

    def close(self) -> None:
        pass


class Served(NamedTuple):
    """A server and clients of both protocols."""

    server: SimilarityServer
    grpc: Grpc
    rest: Rest


@pytest.fixture(scope="module")
def embedders(tmp_path_factory):
    """A model server with the models 7, 8 and 9, and what puts others in force."""
    root = tmp_path_factory.mktemp("embedders") / "shop"
    for version in (7, 8, 9):
        write_tiny_embedder(root / str(version), version, DIMENSION)
    server = ModelServer(
        ModelServerOptions(models=(ModelConfig("shop", root, VersionPolicy("all")),), port=0, rest_api_port=0, log_requests="none")
    )
    server.start()

    def serve(*versions: int) -> str:
        server.models.reload([ModelConfig("shop", root, VersionPolicy("specific", versions=versions))], 30)
        return server.rest_address

    serve(7, 8, 9)
    yield serve
    server.stop(1)


def push(folder, version, num_products=60):
    """Makes an index live in which product `one-V` points where model V puts everything, all else elsewhere."""
    index = folder / "indexes" / "shop" / str(version)
    if not index.exists():
        rng = np.random.default_rng(version)
        vectors = np.abs(rng.normal(size=(num_products, DIMENSION))).astype(np.float32)
        vectors[0] = np.eye(DIMENSION)[version]
        ids = [f"one-{version}", *(f"{version}-{number}" for number in range(1, num_products))]
        texts = {name: [None] * num_products for name in ("shop", "brand", "gender")}
        columns = columns_from_values(texts, np.full(num_products, np.nan, np.float32))
        products = in_tree_order(vectors, ids, np.zeros(num_products, int), NODES, SUBTREE_ENDS, columns)
        save_index(index, build_index(products, 10**6, 10, 0.9, 0), f"model-{version}", "tree", version)
    row = {"name": "shop", "version": version, "model": f"models/shop/{version}", "index": f"indexes/shop/{version}"}
    (folder / ".live.part").write_text(json.dumps(row))
    (folder / ".live.part").replace(folder / "live.json")


@pytest.fixture
def serve(tmp_path):
    """Starts servers with options, and stops them at the end of the test."""
    running = []

    def started(**options: Any) -> Served:
        given = {"folder": tmp_path / "state", "port": 0, "rest_port": 0, "log_requests": "none", **options}
        server = SimilarityServer(ServerOptions(**given))
        server.start()
        served = Served(server, Grpc(server), Rest(server))
        running.append(served)
        return served

    yield started
    for served in running:
        served.grpc.close()
        served.server.stop(1)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    return write_built(tmp_path_factory.mktemp("built") / "7", 300)


@pytest.fixture(scope="module")
def truth(catalogue, tmp_path_factory):
    """The same index, asked without a server."""
    with LiveIndex.create(tmp_path_factory.mktemp("truth") / "live", catalogue) as live:
        yield live


@pytest.fixture(scope="module")
def still(catalogue, tmp_path_factory):
    """A server for tests that change nothing."""
    options = ServerOptions(
        tmp_path_factory.mktemp("still") / "state",
        built=catalogue,
        port=0,
        rest_port=0,
        max_message_bytes=50_000,
        max_in_flight=4,
        bounds=Bounds(max_k=100, max_queries=8, max_changes=8),
        log_requests="none",
    )
    server = SimilarityServer(options)
    server.start()
    served = Served(server, Grpc(server), Rest(server))
    yield served
    served.grpc.close()
    server.stop(1)


@pytest.fixture(params=["grpc", "rest"])
def protocol(request):
    return request.param


def neighbours(response):
    return [(one["product_id"], pytest.approx(one["similarity"], abs=1e-5)) for one in response.get("neighbours", [])]


def expected(answer, row=0):
    return list(zip(answer.ids[row].tolist(), answer.similarities[row].tolist(), strict=True))


def test_similar_to_a_product_is_what_the_library_says(still, truth, protocol):
    client = getattr(still, protocol)
    found = client.ask("Search", {"product_id": "p1", "k": 5})
    assert expected(truth.similar("p1", 5)) == neighbours(found)
    assert (found["version"], found["plan"]) == (str(VERSION), "the index is exact")
    assert len(client.ask("Search", {"product_id": "p1"})["neighbours"]) == 10


def test_a_category_and_a_filter_hold_what_is_found(still, truth, protocol):
    wanted = ProductFilter(shop=("shop-1", "shop-2"), max_price=60)
    found = getattr(still, protocol).ask(
        "Search", {"product_id": "p1", "k": 4, "node_id": "n0", "filter": {"shop": ["shop-1", "shop-2"], "max_price": 60}}
    )
    assert expected(truth.similar("p1", 4, "n0", wanted)) == neighbours(found)
    assert {one["node_id"] for one in found["neighbours"]} <= {"n0", "n1", "n2", "n3"}


def test_a_batch_answers_each_query_as_it_would_be_answered_alone(still, protocol):
    client = getattr(still, protocol)
    vector = {"values": small_catalogue(300).vectors[5].tolist()}
    requests = [
        {"product_id": "p3", "k": 3},
        {"vector": vector, "k": 3},
        {"vector": vector, "k": 2, "node_id": "n1", "model_version": VERSION},
        {"product_id": "p9", "k": 3, "filter": {"gender": ["male"]}},
    ]
    found = client.ask("BatchSearch", {"requests": requests})["responses"]
    alone = [client.ask("Search", request) for request in requests]
    assert [[one[0] for one in neighbours(response)] for response in found] == [[one[0] for one in neighbours(one)] for one in alone]
    assert [len(response["neighbours"]) for response in found] == [3, 3, 2, 3]


@pytest.mark.parametrize(
    ("api", "body", "status", "message"),
    [
        ("Search", {"k": 3}, "INVALID_ARGUMENT", "the query is missing. Send a product_id, a vector or a product."),
        ("Search", {"product_id": "p1", "k": 101}, "INVALID_ARGUMENT", "k is 101, expected 1 to 100."),
        ("Search", {"product_id": "p1", "k": -1}, "INVALID_ARGUMENT", "k is -1, expected 1 to 100."),
        ("Search", {"product_id": "gone"}, "NOT_FOUND", "product 'gone' isn't in the index."),
        ("Search", {"product_id": "p1", "node_id": "n99"}, "INVALID_ARGUMENT", "node 'n99' isn't in the index's taxonomy of 7 nodes."),
        ("Search", {"vector": {"values": [1, 2]}}, "INVALID_ARGUMENT", "the query's vector has 2 numbers, the index has dimension 16."),
        ("Search", {"vector": {"values": [0] * 16}}, "INVALID_ARGUMENT", "query 0: its vector is all zeros, which nothing is similar to."),
        ("Search", {"vector": {"values": ["NaN"] * 16}}, "INVALID_ARGUMENT", "query 0 holds a number that isn't finite."),
        ("Search", {"product_id": "p1", "model_version": 6}, "FAILED_PRECONDITION", "for model 6, the index was built for model 7."),
        ("Search", {"product": {"fields": {"title": "a"}}}, "FAILED_PRECONDITION", "no model server is named. Send a vector."),
        ("Search", {"product_id": "p1", "filter": {"min_price": 2, "max_price": 1}}, "INVALID_ARGUMENT", "Swap them."),
        ("BatchSearch", {}, "INVALID_ARGUMENT", "requests: found 0, expected 1 to 8."),
        ("BatchSearch", {"requests": [{"product_id": "p1"}] * 9}, "INVALID_ARGUMENT", "requests: found 9, expected 1 to 8."),
        ("Upsert", {"products": [{"product_id": "a"}]}, "INVALID_ARGUMENT", "products[0] has neither a vector nor a product."),
        ("Upsert", {"products": [{"product_id": "a", "vector": {"values": [1] * 16}}]}, "INVALID_ARGUMENT", "holds those of 7."),
        (
            "Upsert",
            {"products": [{"product_id": "a", "vector": {"values": [1] * 16}}], "model_version": 6},
            "FAILED_PRECONDITION",
            "for model 6, the index was built for model 7.",
        ),
        (
            "Upsert",
            {"products": [{"product_id": "a", "vector": {"values": [0] * 16}}], "model_version": 7},
            "INVALID_ARGUMENT",
            "a vector of length 0.0, expected 1.",
        ),
        ("Delete", {"product_ids": [""]}, "INVALID_ARGUMENT", "a change names no product."),
        ("Delete", {"product_ids": ["a"] * 9}, "INVALID_ARGUMENT", "product_ids: found 9, expected 1 to 8."),
        ("Move", {"products": [{"product_id": "p1", "node_id": "n99"}]}, "INVALID_ARGUMENT", "node 'n99' isn't in the index's taxonomy"),
    ],
)
def test_what_cant_be_answered_is_refused_in_the_protocols_own_form(still, protocol, api, body, status, message):
    with pytest.raises(Refused) as caught:
        getattr(still, protocol).ask(api, body)
    assert caught.value.status == status
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_messages_above_the_bound_are_refused_and_the_server_goes_on(still):
    with pytest.raises(Refused) as caught:
        still.grpc.ask("Delete", {"product_ids": ["x" * 60_000]})
    assert caught.value.status == "RESOURCE_EXHAUSTED"
    status, found, _ = still.rest.raw("POST", "/v1/similar:delete", b" " * 60_000)
    assert (status, found["error"]["status"]) == (413, "RESOURCE_EXHAUSTED")
    assert still.grpc.ask("Search", {"product_id": "p1", "k": 1})["neighbours"]


def test_more_requests_than_the_bound_are_refused(still, protocol):
    with contextlib.ExitStack() as taken:
        for _ in range(4):
            taken.enter_context(still.server.in_flight.one())
        with pytest.raises(Refused) as caught:
            getattr(still, protocol).ask("Search", {"product_id": "p1"})
    assert (caught.value.status, "no more requests are taken: 4 may be answered at a time" in caught.value.message) == (
        "RESOURCE_EXHAUSTED",
        True,
    )
    assert getattr(still, protocol).ask("Search", {"product_id": "p1", "k": 1})


def test_a_body_too_many_is_refused_in_the_servers_own_form(serve, catalogue):
    served = serve(built=catalogue, max_message_bytes=100_000, max_body_bytes=100_000)
    host, port = served.rest.address.split(":")
    with contextlib.ExitStack() as begun:
        slow = [begun.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(2)]
        for one in slow:
            one.sendall(b"POST /v1/similar:search HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + b" " * 80_000)
        (refused, *_), _, _ = select.select(slow, [], [], 30)
        response = http.client.HTTPResponse(refused)
        response.begin()
        found = json.loads(response.read())["error"]
        assert (response.status, found["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert "together they may hold 100000" in found["message"]
        assert served.rest.raw("POST", "/v1/similar:search", b" " * 15_000)[0] == 400  # Read, for what was refused holds nothing.


def test_a_connection_too_many_is_refused_in_the_servers_own_form(serve, catalogue):
    served = serve(built=catalogue, max_connections=1)
    with contextlib.closing(http.client.HTTPConnection(served.rest.address, timeout=30)) as first:
        first.request("GET", "/v1/similar/status")
        assert first.getresponse().read()
        status, found, _ = served.rest.raw("GET", "/v1/similar/status")
    assert (status, found["error"]["status"]) == (503, "UNAVAILABLE")
    assert found["error"]["message"] == "no more connections are taken: 1 may be open at a time. Close one, or try again later."


@pytest.mark.filterwarnings(
    "ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning"
)  # Tornado leaves what it couldn't bind unclosed.
@pytest.mark.parametrize("taken", ["port", "rest_port"])
def test_where_one_port_is_taken_the_other_and_the_index_are_given_back(serve, catalogue, taken):
    with socket.create_server(("127.0.0.1", 0)) as busy, socket.create_server(("127.0.0.1", 0)) as free:
        (other,) = {"port", "rest_port"} - {taken}
        ports = {taken: busy.getsockname()[1], other: free.getsockname()[1]}
        free.close()
        with pytest.raises(ServingError, match="the port can't be used: Address already in use"):
            serve(built=catalogue, **ports)
    assert serve(built=catalogue, **ports).server.version == 7


def test_one_body_always_has_room(serve, catalogue):
    with pytest.raises(SettingsError, match="--max-body-bytes 10 is less than --max-message-bytes 20"):
        serve(built=catalogue, max_message_bytes=20, max_body_bytes=10)


def test_http_says_what_is_wrong_with_a_request(still):
    ask = still.rest.raw
    assert ask("POST", "/v1/similar:search", b"{")[1]["error"]["message"].startswith("the body isn't JSON")
    assert ask("POST", "/v1/similar:search", b"[]")[1]["error"]["message"] == "the body is a JSON list, expected an object."
    assert "no field named" in ask("POST", "/v1/similar:search", b'{"nonsense": 1}')[1]["error"]["message"]
    status, found, headers = ask("GET", "/v1/similar:search")
    assert (status, headers["Allow"], found["error"]["status"]) == (405, "POST", "UNIMPLEMENTED")
    places = [(path, verb) for path in ("/other", "/v1/similar/status") for verb in ("POST", "PUT", "PATCH", "DELETE")]
    for path, verb in (*places, ("/other", "GET"), ("/v1/similar:search", "PUT")):
        status, found, headers = ask(verb, path, b" " * 40_000, {"x-request-id": "mine"})
        assert (status, found["error"]["request_id"], headers["x-request-id"]) == (404 if path == "/other" else 405, "mine", "mine")
    for verb in ("POST", "PUT"):  # A body that a socket's buffers don't take is read, so that its client sees why.
        assert ask(verb, "/v1/similar/status", bytes(20_000_000))[0] == 413
    status, _, headers = ask("POST", "/v1/similar:search", b'{"product_id": "p1"}', {"x-request-id": "mine"})
    assert (status, headers["x-request-id"]) == (200, "mine")


def test_the_openapi_document_describes_every_method(still):
    _, found, _ = still.rest.raw("GET", "/openapi.json")
    names = set(found["components"]["schemas"])
    used = {text.partition('"')[0] for text in json.dumps(found).split("#/components/schemas/")[1:]}
    assert used <= names
    described = {(verb.upper(), path) for path, verbs in found["paths"].items() for verb in verbs}
    assert described == {(route.verb, route.path) for route in ROUTES}
    assert {one["operationId"] for verbs in found["paths"].values() for one in verbs.values()} == set(
        messages.DESCRIPTOR.services_by_name["Similarity"].methods_by_name
    )
    assert found["components"]["schemas"]["Neighbour"]["properties"]["similarity"] == {"type": "number", "format": "float"}


def test_health_reflection_and_metrics_are_those_of_the_standard(still):
    check = health_pb2_grpc.HealthStub(still.grpc.channel).Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=10)
    assert check.status == health_pb2.HealthCheckResponse.SERVING
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    (listed,) = reflection_pb2_grpc.ServerReflectionStub(still.grpc.channel).ServerReflectionInfo(asked, timeout=10)
    assert SERVICE in {one.name for one in listed.list_services_response.service}
    assert still.rest.raw("GET", "/healthz")[:2] == (200, {"status": "SERVING"})
    for path in ("/healthz", "/metrics", "/openapi.json"):
        status, found, headers = still.rest.raw("DELETE", path)
        assert (status, found["error"]["status"], headers["Allow"]) == (405, "UNIMPLEMENTED", "GET")
    still.grpc.ask("Search", {"product_id": "p1"})
    assert still.rest.raw("GET", "/made-up")[0] == 404
    page = still.rest.raw("GET", "/metrics")[1]
    assert 'aisle_similarity_requests_total{method="unknown",protocol="rest",status="NOT_FOUND"}' in page
    assert "made-up" not in page
    assert 'aisle_similarity_requests_total{method="Search",protocol="grpc",status="OK"}' in page
    assert f"aisle_similarity_index_version {VERSION}.0" in page
    assert "aisle_similarity_index_products 300.0" in page


def test_changes_are_seen_at_once_and_kept_over_a_restart(serve, catalogue, protocol):
    served = serve(built=catalogue)
    client = getattr(served, protocol)
    vector = {"values": [1.0] * DIMENSION}
    product = {"product_id": "new", "node_id": "n1", "vector": vector, "filter_fields": {"shop": "mine", "price": 3.5}}
    first = client.ask("Upsert", {"products": [product], "model_version": VERSION})
    query = {"vector": vector, "k": 1, "filter": {"shop": ["mine"], "max_price": 4}}
    assert neighbours(client.ask("Search", query)) == [("new", 1.0)]
    client.ask("Move", {"products": [{"product_id": "new", "node_id": "n5"}]})
    assert client.ask("Search", {**query, "node_id": "n4"})["neighbours"][0]["node_id"] == "n5"
    last = client.ask("Delete", {"product_ids": ["p1"]})
    assert (first["sequence"], last["sequence"], last["version"]) == ("1", "3", str(VERSION))
    served.server.stop(1)
    again = getattr(serve(), protocol)
    assert again.ask("Search", query)["neighbours"][0]["product_id"] == "new"
    status = again.ask("Status", {})
    assert (status["num_products"], status["sequence"], status["version"]) == ("300", "3", str(VERSION))
    with pytest.raises(Refused) as caught:
        again.ask("Search", {"product_id": "p1"})
    assert caught.value.status == "NOT_FOUND"


def test_two_servers_cant_share_a_folder(serve, catalogue):
    served = serve(built=catalogue)
    with pytest.raises(NeighbourIndexError, match="another process has this live index open"):
        serve(folder=served.server._options.folder)


def test_new_products_are_embedded_by_the_model_of_the_index(serve, tmp_path, embedders, protocol):
    push(tmp_path, 7)
    client = getattr(serve(push_folder=tmp_path, model_server=embedders(7, 8, 9)), protocol)
    product = {"fields": {"title": "red trousers", "price": 9.5, "style": [1, 2], "brand": None}, "image_bytes": "AAEC"}
    found = client.ask("Search", {"product": product, "k": 1})
    assert neighbours(found)[0][0] == "one-7"
    assert found["version"] == "7"
    new = {"product_id": "made", "node_id": "n2", "product": {"fields": {"title": "x", "shop": "mine", "price": 5}}}
    client.ask("Upsert", {"products": [new, {**new, "product_id": "other", "filter_fields": {"shop": "theirs"}}]})
    batch = {"requests": [{"product": product, "k": 2, "filter": {"shop": [shop], "max_price": 5}} for shop in ("mine", "theirs")]}
    found = client.ask("BatchSearch", batch)["responses"]
    assert [[one[0] for one in neighbours(response)] for response in found] == [["made"], ["other"]]
    for fields, message in (
        ({"title": "refuse"}, "the model refuses the product"),
        ({"title": True}, "product 0: field 'title' is a bool; expected text, a number or a list of numbers."),
        ({"style": ["a"]}, "product 0: field 'style' holds something else than numbers in its list"),
        ({}, "product 0 has no fields."),
    ):
        with pytest.raises(Refused) as caught:
            client.ask("Search", {"product": {"fields": fields}})
        assert (caught.value.status, message in caught.value.message) == ("INVALID_ARGUMENT", True), caught.value.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"titel": "red"},
            "product 0: field 'titel' is unknown. Did you mean 'title'? Known: brand, category, colour, description, gender, id, image, "
            "image_bytes, merchant_category, network, price, shop, size, style, title.",
        ),
        ({"title": "red", "titel": None}, "product 0: field 'titel' is unknown."),
        ({"title": "nothing"}, "product 0: model 7 knows nothing that it says, so nothing is similar to it. Send more fields."),
    ],
)
def test_a_product_that_the_model_cant_know_is_refused(serve, tmp_path, embedders, protocol, fields, said):
    push(tmp_path, 7)
    client = getattr(serve(push_folder=tmp_path, model_server=embedders(7, 8, 9)), protocol)
    product = {"fields": fields}
    right = {"product": {"fields": {"title": "red", "price": 3, "style": [1, 2], "shop": "a", "brand": "b", "colour": "c"}}}
    for api, body in (
        ("Search", {"product": product}),
        ("BatchSearch", {"requests": [{"product": product}, {**right, "k": 1}]}),
        ("Upsert", {"products": [{"product_id": "new", "product": product}, {"product_id": "right", **right}]}),
    ):
        with pytest.raises(Refused) as caught:
            client.ask(api, body)
        assert caught.value.status == "INVALID_ARGUMENT"
        assert caught.value.message.startswith(said)
    assert "products" not in client.ask("Find", {"product_ids": ["new", "right"]})
    assert neighbours(client.ask("Search", {**right, "k": 1}))[0][0] == "one-7"


def test_a_picture_alone_is_refused_where_the_model_reads_none(serve, catalogue, tmp_path):
    write_toy_model(tmp_path / "toy" / str(VERSION), shop_taxonomy())
    models = ModelServer(ModelServerOptions(models=(ModelConfig("toy", tmp_path / "toy"),), port=0, rest_api_port=0, log_requests="none"))
    models.start()
    try:
        served = serve(built=catalogue, model_server=models.rest_address, model_name="toy")
        with pytest.raises(Refused) as caught:
            served.rest.ask("Search", {"product": {"fields": {"title": None}, "image_bytes": "AAEC"}})
    finally:
        models.stop(1)
    assert (caught.value.status, caught.value.message) == ("INVALID_ARGUMENT", "model 7 reads no pictures. Send the product's fields.")


def test_model_and_index_of_two_versions_are_refused_with_both_numbers(serve, tmp_path, embedders):
    push(tmp_path, 7)
    served = serve(push_folder=tmp_path, model_server=embedders(8, 9))
    with pytest.raises(Refused) as caught:
        served.grpc.ask("Search", {"product": {"fields": {"title": "a"}}})
    assert caught.value.status == "FAILED_PRECONDITION"
    assert caught.value.message == "the index was built for model 7, the model server serves 8, 9. Deploy index and model together."
    assert served.grpc.ask("Search", {"product_id": "one-7", "k": 1})["neighbours"]


def test_a_model_server_that_doesnt_answer_is_unavailable(serve, tmp_path):
    push(tmp_path, 7)
    served = serve(push_folder=tmp_path, model_server="http://127.0.0.1:9")
    with pytest.raises(Refused) as caught:
        served.grpc.ask("Search", {"product": {"fields": {"title": "a"}}})
    assert (caught.value.status, "the model server can't be asked" in caught.value.message) == ("UNAVAILABLE", True)


def test_while_versions_are_swapped_no_answer_mixes_two(serve, tmp_path, embedders):
    push(tmp_path, 7)
    served = serve(push_folder=tmp_path, model_server=embedders(7, 8, 9), poll_s=0.02)
    stop, wrong, seen = threading.Event(), [], set()

    def ask():
        client = Grpc(served.server)
        try:
            while not stop.is_set():
                try:
                    found = client.ask("Search", {"product": {"fields": {"title": "a"}}, "k": 1})
                except Refused as error:
                    if error.status != "ABORTED":  # On a slow machine one request may meet three swaps.
                        raise
                    continue
                seen.add(found["version"])
                if found["neighbours"][0]["product_id"] != f"one-{found['version']}":
                    wrong.append(found)
        except Refused as error:
            wrong.append(error.message)
        finally:
            client.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for version in (8, 9, 7, 9, 8):
        push(tmp_path, version)
        deadline_s = time.monotonic() + 20
        while served.server.index.live.version != version and time.monotonic() < deadline_s:
            time.sleep(0.01)
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert seen == {"7", "8", "9"}


def test_a_request_that_notices_a_push_first_waits_for_it(serve, tmp_path, embedders):
    push(tmp_path, 7)
    served = serve(push_folder=tmp_path, model_server=embedders(8), poll_s=0)
    push(tmp_path, 8)
    assert served.rest.ask("Search", {"product": {"fields": {"title": "a"}}, "k": 1})["version"] == "8"


def test_upserts_of_the_model_before_are_named_and_deletions_hold(serve, tmp_path):
    push(tmp_path, 7)
    served = serve(push_folder=tmp_path, poll_s=0)
    vector = {"values": [1.0] * DIMENSION}
    served.grpc.ask("Upsert", {"products": [{"product_id": "new", "vector": vector}], "model_version": 7})
    served.grpc.ask("Delete", {"product_ids": ["8-3"]})
    push(tmp_path, 8)
    served.server.index.refresh()
    status = served.grpc.ask("Status", {})
    assert (status["version"], status["to_embed"], status["num_to_embed"], status["num_products"]) == ("8", ["new"], "1", "59")
    with pytest.raises(Refused, match="for model 7, the index was built for model 8"):
        served.grpc.ask("Upsert", {"products": [{"product_id": "new", "vector": vector}], "model_version": 7})


def test_what_is_to_embed_is_told_after_more_swaps_and_a_restart_until_it_is_done(serve, tmp_path, protocol):
    push(tmp_path, 7)
    served = serve(push_folder=tmp_path, poll_s=0)

    def told(client):
        status = client.ask("Status", {})
        return status["version"], status.get("to_embed", []), status.get("num_to_embed", "0")

    vector = {"values": [1.0] * DIMENSION}
    products = [{"product_id": product_id, "vector": vector} for product_id in ("new", "gone", "one-7")]
    served.grpc.ask("Upsert", {"products": products, "model_version": 7})
    for version in (8, 9):
        push(tmp_path, version)
        served.server.index.refresh()
    client = getattr(served, protocol)
    assert told(client) == ("9", ["new", "gone", "one-7"], "3")
    found = client.ask("Find", {"product_ids": ["one-9", "gone", "new"]})
    assert ([one["product_id"] for one in found["products"]], found["to_embed"]) == (["one-9"], ["gone", "new"])
    served.server.stop(1)
    push(tmp_path, 8)
    client = getattr(serve(push_folder=tmp_path, poll_s=0), protocol)
    assert told(client) == ("8", ["new", "gone", "one-7"], "3")
    client.ask("Delete", {"product_ids": ["gone"]})
    client.ask("Upsert", {"products": products[:1], "model_version": 8})
    assert told(client) == ("8", ["one-7"], "1")


def test_a_push_that_cant_be_taken_leaves_the_old_index_in_use(serve, tmp_path):
    push(tmp_path, 7)
    served = serve(push_folder=tmp_path, poll_s=0)
    push(tmp_path, 8)
    damaged = tmp_path / "indexes" / "shop" / "8" / "vectors.npy"
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\0\0\0\1")
    served.server.index.refresh()
    status = served.rest.ask("Status", {})
    assert (status["version"], status["pushed_version"]) == ("7", "8")
    assert "the content isn't what the manifest says" in status["last_error"]
    assert served.grpc.ask("Search", {"product_id": "one-7", "k": 1})["neighbours"]
    push(tmp_path, 7)
    served.server.index.refresh()
    assert "last_error" not in served.rest.ask("Status", {})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "this can't be read: found something else than a JSON object"),
        ("[" * 100_000, "this can't be read: found something else"),
        (" " * 1_000_001, "this can't be read: found something else"),
        ('{"name": "shop", "version": 99999999999999999999, "index": "a"}', "version is 99999999999999999999, expected a whole number"),
        ('{"name": "shop", "version": true, "index": "a"}', "version is True, expected a whole number"),
        ('{"name": "shop", "version": 7, "index": null}', "name and index are 'shop' and None, expected texts"),
        ('{"name": "shop", "version": 7, "index": "../../etc"}', "leads out of the folder"),
        ('{"name": "shop", "version": 7, "index": "/etc"}', "leads out of the folder"),
        ('{"name": "shop", "version": 9, "index": "indexes/shop/7"}', "the index says version 7, live.json says 9"),
        (None, "nothing is live here"),
    ],
)
def test_a_pointer_that_cant_be_followed_is_refused(serve, tmp_path, row, message):
    push(tmp_path, 7)
    if row is None:
        (tmp_path / "live.json").unlink()
    else:
        (tmp_path / "live.json").write_text(row)
    with pytest.raises(NeighbourIndexError, match=message):
        serve(push_folder=tmp_path)


def test_malformed_requests_always_get_a_proper_status(serve, catalogue):
    served, rng, found = serve(built=catalogue), random.Random(3), Outcome()
    over_grpc(served.grpc.channel, 300, rng, found)
    over_rest(served.server.rest_address, 300, rng, found)
    assert found.wrong == []
    assert {"gRPC OK", "gRPC INVALID_ARGUMENT", "HTTP 200", "HTTP 400", "HTTP 405"} <= set(found.counts)
    cut = b'{"product":{"fields":{"a":' + b"[" * 20_000
    deep = b'{"product":{"fields":{"a":' + b"[" * 900 + b"]" * 900 + b"}}}"
    assert [served.rest.raw("POST", "/v1/similar:search", body)[0] for body in (cut, deep)] == [400, 400]
    assert served.grpc.ask("Search", {"product_id": "p5", "k": 1})["neighbours"]


def test_what_the_pipeline_pushes_and_rolls_back_is_followed(serve, tmp_path):
    for version in (100, 200):
        push_pair(*make_pair(tmp_path / f"pair-{version}", f"weights {version}"), tmp_path / "serving", "shop", version)
    served = serve(push_folder=tmp_path / "serving", poll_s=0.02)
    assert served.grpc.ask("Search", {"product_id": "a", "k": 3})["version"] == "200"
    roll_back(tmp_path / "serving", "shop", 5_000, "ann@shop", None)
    deadline_s = time.monotonic() + 20
    while served.rest.ask("Status", {})["version"] != "100" and time.monotonic() < deadline_s:
        time.sleep(0.02)
    status = served.rest.ask("Status", {})
    assert (status["version"], status["pushed_version"], status["model_name"], status["num_products"]) == ("100", "100", "shop", "4")


@pytest.fixture
def swapped_meanwhile(serve, tmp_path, embedders, monkeypatch):
    """A server whose index is swapped, as often as told, just after the model has answered."""

    def started(*versions: int) -> Served:
        push(tmp_path, 7)
        served = serve(push_folder=tmp_path, model_server=embedders(7, 8, 9), poll_s=0)
        model, waiting = served.server._model, list(versions)
        embed = model.embed

        def embed_and_swap(*words: Any) -> Any:
            vectors = embed(*words)
            if waiting:
                push(tmp_path, waiting.pop(0))
                served.server.index.refresh()
            return vectors

        monkeypatch.setattr(model, "embed", embed_and_swap)
        return served

    return started


def test_an_index_that_is_swapped_after_embedding_isnt_searched_with_the_old_vector(swapped_meanwhile):
    found = swapped_meanwhile(8).grpc.ask("Search", {"product": {"fields": {"title": "a"}}, "k": 1})
    assert (found["version"], neighbours(found)) == ("8", [("one-8", 1.0)])


def test_a_product_embedded_for_the_old_index_isnt_put_into_the_new_one(swapped_meanwhile):
    served = swapped_meanwhile(8)
    changed = served.grpc.ask("Upsert", {"products": [{"product_id": "made", "product": {"fields": {"title": "a"}}}]})
    assert changed["version"] == "8"
    found = served.grpc.ask("Search", {"product_id": "made", "k": 1})
    assert neighbours(found) == [("one-8", 1.0)]


def test_a_request_that_meets_a_swap_each_time_is_given_up(swapped_meanwhile):
    with pytest.raises(Refused) as caught:
        swapped_meanwhile(8, 9, 7).grpc.ask("Search", {"product": {"fields": {"title": "a"}}})
    assert caught.value.status == "ABORTED"


def test_both_ports_speak_tls_from_the_file_that_the_model_server_takes(serve, catalogue, tmp_path):
    key, certificate = certified()
    (tmp_path / "tls.config").write_text(f"server_key: {quoted(key)} server_cert: {quoted(certificate)}")
    server = serve(built=catalogue, ssl_config_file=tmp_path / "tls.config").server
    request = messages.SearchRequest(product_id="p1", k=3)
    with grpc.secure_channel(server.grpc_address, grpc.ssl_channel_credentials(certificate)) as channel:
        over_grpc = [one.product_id for one in SimilarityStub(channel).Search(request, timeout=10).neighbours]
    context = ssl.create_default_context(cadata=certificate.decode())
    asked = urllib.request.Request(f"{server.rest_address}/v1/similar:search", b'{"product_id": "p1", "k": 3}')
    with urllib.request.urlopen(asked, timeout=10, context=context) as response:
        over_rest = [one["product_id"] for one in json.load(response)["neighbours"]]
    assert over_grpc == over_rest
    assert len(over_rest) == 3
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        SimilarityStub(channel).Search(request, timeout=3)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_products_are_found_as_they_are_now(still, protocol):
    found = getattr(still, protocol).ask("Find", {"product_ids": ["p4", "gone", "p1"]})
    assert [one["product_id"] for one in found["products"]] == ["p4", "p1"]
    kept = small_catalogue(300)
    row = kept.product_ids.find("p4")
    assert found["products"][0]["vector"]["values"] == pytest.approx(kept.vectors[row].tolist(), abs=1e-5)
    assert found["products"][0].get("node_id", "") == kept.node_id(row)
    assert found["products"][0]["filter_fields"] == kept.columns.at(row)
    assert found["version"] == str(VERSION)
