"""Puts a router in front of shards that are programs of their own, and compares it with one server that holds everything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from pipeline.cli import main
from schemas.errors import NeighbourIndexError
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.answers import Bounds
from serving.similarity_server.followed_index import Shard
from serving.similarity_server.server import RouterOptions, RouterServer, ServerOptions, SimilarityServer
from serving.similarity_server.shards import Shards
from serving.similarity_server.similarity_pb2_grpc import SimilarityStub
from serving.status import ServingError
from similarity.changes import Delete, Move, Upsert
from similarity.live_index import LiveIndex
from similarity.planner import build_index, save_index
from similarity.product_columns import ProductFilter
from similarity.vectors import in_tree_order
from tests.serving.test_similarity_server import push
from tests.serving.test_swaps import until
from tests.similarity.catalogue import DIMENSION, small_catalogue, write_built
from tests.support.certificates import certified, quoted

ROOT = Path(__file__).parents[2]
SHARDS = (["n0", "--shard-rest"], ["n4"])  # All roots of the small catalogue.


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return write_built(tmp_path_factory.mktemp("built") / "7", 300)


@pytest.fixture
def truth(built, tmp_path):
    with LiveIndex.create(tmp_path / "truth", built) as live:
        yield live


@pytest.fixture
def shards(built, tmp_path):
    """Two programs, each with its part of the index, and their addresses."""
    programs = []
    for number, words in enumerate(SHARDS):
        command = ["similar", "--json", "--index", str(built), "--folder", str(tmp_path / f"shard-{number}"), "--port=0", "--rest-port=0"]
        command = [sys.executable, "-m", "pipeline.cli", *command, "--log-requests=none", "--shard", *words]
        programs.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ)))
    try:
        yield [json.loads(program.stdout.readline())["grpc"] for program in programs]
    finally:
        for program in programs:
            program.send_signal(signal.SIGTERM)
        assert [program.wait(30) for program in programs] == [0, 0]
        for program in programs:
            program.stdout.close()


@pytest.fixture
def route():
    """Starts routers, and stops them at the end of the test."""
    running = []

    def started(*addresses, **options):
        router = RouterServer(RouterOptions(shards=addresses, port=0, rest_port=0, log_requests="none", **options))
        router.start()
        channel = grpc.insecure_channel(router.grpc_address)
        running.append((router, channel))
        return SimilarityStub(channel)

    yield started
    for router, channel in running:
        channel.close()
        router.stop(1)


def found(response):
    return [(one.product_id, one.node_id, pytest.approx(one.similarity, abs=1e-5)) for one in response.neighbours]


def expected(answer, row=0):
    return list(zip(answer.ids[row].tolist(), answer.node_ids[row].tolist(), answer.similarities[row].tolist(), strict=True))


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    return caught.value.code().name, caught.value.details()


def test_a_router_answers_what_one_server_would(shards, route, truth):
    stub = route(*shards)
    vectors = small_catalogue(300).vectors
    for product_id in ("p1", "p2", "p17", "p203"):
        for node_id in (None, "n0", "n1", "n4", "n6"):
            request = messages.SearchRequest(product_id=product_id, k=7, node_id=node_id or "")
            assert expected(truth.similar(product_id, 7, node_id)) == found(stub.Search(request, timeout=10))
    wanted = ProductFilter(shop=("shop-1", "shop-2"), max_price=60)
    limits = messages.Filter(shop=["shop-1", "shop-2"], max_price=60)
    queries = [messages.SearchRequest(vector=messages.Vector(values=vector), k=5, filter=limits) for vector in vectors[:6].tolist()]
    queries.append(messages.SearchRequest(product_id="p3", k=4, filter=limits, model_version=7))
    answers = stub.BatchSearch(messages.BatchSearchRequest(requests=queries), timeout=10).responses
    alone = truth.search(vectors[:6], 5, wanted=wanted)
    assert [found(answer) for answer in answers[:6]] == [expected(alone, row) for row in range(6)]
    assert found(answers[6]) == expected(truth.similar("p3", 4, wanted=wanted))
    assert len(stub.Search(messages.SearchRequest(product_id="p1", k=1_000), timeout=10).neighbours) == 299
    status = stub.Status(messages.StatusRequest(with_nodes=True), timeout=10)
    assert (status.num_products, status.version, status.num_nodes) == (300, 7, 7)
    assert sorted(status.nodes) == ["", *(f"n{number}" for number in range(7))]


def test_changes_reach_the_shard_they_belong_to_and_no_other(shards, route, truth):
    stub = route(*shards)
    one, other = (SimilarityStub(grpc.insecure_channel(address)) for address in shards)

    def holders(product_id):
        request = messages.FindRequest(product_ids=[product_id])
        return [[product.node_id for product in shard.Find(request, timeout=10).products] for shard in (one, other)]

    new = messages.UpsertedProduct(
        product_id="new",
        node_id="n1",
        vector=messages.Vector(values=[1.0] * DIMENSION),
        filter_fields=messages.FilterFields(shop="mine", price=3.5),
    )
    stub.Upsert(messages.UpsertRequest(products=[new], model_version=7), timeout=10)
    assert holders("new") == [["n1"], []]
    stub.Move(messages.MoveRequest(products=[messages.MovedProduct(product_id="new", node_id="n5")]), timeout=10)
    assert holders("new") == [[], ["n5"]]
    query = messages.SearchRequest(vector=new.vector, k=3, filter=messages.Filter(shop=["mine"], max_price=4))
    assert found(stub.Search(query, timeout=10)) == [("new", "n5", 1.0)]
    new.node_id = ""
    stub.Upsert(messages.UpsertRequest(products=[new], model_version=7), timeout=10)
    assert holders("new") == [[""], []]
    stub.Move(messages.MoveRequest(products=[messages.MovedProduct(product_id=name, node_id="n6") for name in ("p1", "none")]), timeout=10)
    stub.Delete(messages.DeleteRequest(product_ids=["p2", "p17"]), timeout=10)
    truth.apply(changes_of(new))
    for node_id in (None, "n0", "n4", "n6"):
        request = messages.SearchRequest(product_id="p3", k=9, node_id=node_id or "")
        assert expected(truth.similar("p3", 9, node_id)) == found(stub.Search(request, timeout=10))
    (kept,) = stub.Find(messages.FindRequest(product_ids=["p2", "new"]), timeout=10).products
    assert (kept.product_id, kept.filter_fields.shop, kept.filter_fields.price) == ("new", "mine", 3.5)
    assert stub.Status(messages.StatusRequest(), timeout=10).num_products == 299


def changes_of(new):
    fields = {"shop": "mine", "price": 3.5}
    return [Upsert("new", "", np.array(new.vector.values, np.float32), fields), Move("p1", "n6"), Delete("p2"), Delete("p17")]


def test_what_a_router_cant_answer_is_refused(shards, route):
    stub = route(*shards, bounds=Bounds(max_k=1_000, max_queries=2, max_changes=2))
    search, change = messages.SearchRequest, messages.MovedProduct
    assert refusal(stub.Search, search(product_id="gone")) == (
        "NOT_FOUND",
        "product 'gone' isn't in the index. Ask with its fields or vector, or upsert it first.",
    )
    assert refusal(stub.Search, search(product_id="p1", node_id="n99")) == (
        "INVALID_ARGUMENT",
        "node 'n99' isn't in the index's taxonomy of 7 nodes. Use one of its ids.",
    )
    code, said = refusal(stub.Search, search(product_id="p1", model_version=6))
    assert (code, "for model 6, the index was built for model 7" in said) == ("FAILED_PRECONDITION", True)
    code, said = refusal(stub.Move, messages.MoveRequest(products=[change(product_id="p1", node_id="n1")] * 3))
    assert (code, said) == ("INVALID_ARGUMENT", "products: found 3, expected 1 to 2. Send them in parts.")
    with grpc.insecure_channel(shards[0]) as channel:
        code, said = refusal(SimilarityStub(channel).Move, messages.MoveRequest(products=[change(product_id="p1", node_id="n5")]))
    assert (code, said) == ("INVALID_ARGUMENT", "node 'n5': this is for another shard. Send it to the router.")


def test_a_router_has_a_bound_on_k_of_its_own(shards, route):
    stub = route(*shards, bounds=Bounds(max_k=5))
    for node_id in ("", "n1"):
        request = messages.SearchRequest(product_id="p1", k=6, node_id=node_id)
        assert refusal(stub.Search, request) == ("INVALID_ARGUMENT", "k is 6, expected 1 to 5.")
        assert refusal(stub.BatchSearch, messages.BatchSearchRequest(requests=[request])) == (
            "INVALID_ARGUMENT",
            "k is 6, expected 1 to 5.",
        )
    assert refusal(stub.Search, messages.SearchRequest(product_id="p1", k=-1)) == ("INVALID_ARGUMENT", "k is -1, expected 1 to 5.")


def test_of_a_product_that_a_request_names_twice_the_last_counts(shards, route):
    stub = route(*shards)
    vector = messages.Vector(values=[1.0] * DIMENSION)
    products = [messages.UpsertedProduct(product_id="twice", node_id=node_id, vector=vector) for node_id in ("n1", "n5", "n2")]
    stub.Upsert(messages.UpsertRequest(products=products, model_version=7), timeout=10)
    (kept,) = stub.Find(messages.FindRequest(product_ids=["twice"]), timeout=10).products
    assert kept.node_id == "n2"
    stub.Delete(messages.DeleteRequest(product_ids=["twice"]), timeout=10)


def test_what_is_known_is_answered_while_a_shard_doesnt_say_what_else_there_is(shards, monkeypatch):
    asked = Shards(shards, 10.0, 1_000_000)
    known, is_asked, may_answer = asked.placement(), threading.Event(), threading.Event()

    def slow(*_):
        is_asked.set()
        assert may_answer.wait(30)
        return known

    monkeypatch.setattr(asked, "_placed", slow)
    monkeypatch.setattr("serving.similarity_server.shards._AGAIN_S", -1.0)
    waiting = threading.Thread(target=asked.placement, args=("unknown",))
    waiting.start()
    assert is_asked.wait(30)
    found = []
    quick = threading.Thread(target=lambda: found.append(asked.placement()))
    quick.start()
    quick.join(5)
    told = list(found)
    may_answer.set()
    waiting.join()
    quick.join()
    asked.close()
    assert told == [known]


@pytest.fixture
def shard(tmp_path):
    """Starts shards of what is pushed in this process, and stops them at the end of the test."""
    running = []

    def started(number, *nodes, with_rest=False, **options):
        given = {"port": 0, "rest_port": 0, "poll_s": 0.0, "log_requests": "none", **options}
        options = ServerOptions(tmp_path / f"shard-{number}", tmp_path, shard=Shard(nodes, with_rest), **given)
        server = SimilarityServer(options)
        server.start()
        running.append(server)
        return server

    yield started
    for server in running:
        server.stop(1)


def push_over_all_nodes(folder, version):
    """Makes an index live that has products at every root."""
    push(folder, version)
    write_built(folder / "indexes" / "shop" / f"{version}-all", 60, version, f"model-{version}", version)
    row = json.loads((folder / "live.json").read_text())
    (folder / "live.json").write_text(json.dumps({**row, "index": f"indexes/shop/{version}-all"}))


def test_while_shards_have_two_versions_nothing_is_put_together_from_both(shard, route, tmp_path):
    push_over_all_nodes(tmp_path, 7)
    one, other = shard(0, "n0", with_rest=True), shard(1, "n4")
    stub = route(one.grpc_address, other.grpc_address)
    vector = messages.Vector(values=[1.0] * DIMENSION)
    everything, category = messages.SearchRequest(vector=vector), messages.SearchRequest(vector=vector, node_id="n4")
    assert stub.Search(everything, timeout=10).version == 7
    push_over_all_nodes(tmp_path, 8)
    other.index.refresh()
    code, said = refusal(stub.Search, everything)
    assert (code, said) == ("ABORTED", "the shards answer with the versions 7 and 8. Try again when all have the same one.")
    assert stub.Search(category, timeout=10).version == 8
    assert stub.Status(messages.StatusRequest(), timeout=10).last_error == "the shards have the versions 7, 8"
    one.index.refresh()
    assert stub.Search(everything, timeout=10).version == 8


def push_with_a_node_moved(folder):
    """Makes an index live in which n6 is a child of n0, no longer of n4, and returns where its products are."""
    push_over_all_nodes(folder, 8)
    order, ends = ["n0", "n1", "n2", "n3", "n6", "n4", "n5"], (5, 3, 3, 4, 5, 7, 7)
    before = small_catalogue(60)
    names = before.nodes_of(np.arange(60)).tolist()
    names[:3] = ["n6"] * 3
    numbers = np.array([order.index(name) if name else -1 for name in names])
    products = in_tree_order(before.vectors, list(before.product_ids), numbers, order, ends, before.columns)
    shutil.rmtree(folder / "indexes" / "shop" / "8-all")
    save_index(folder / "indexes" / "shop" / "8-all", build_index(products, 10**6, 10, 0.9, 0), "model-8", "tree", 8)
    return names


def test_a_node_that_a_push_moves_to_another_shard_is_soon_asked_for_there(shard, route, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.similarity_server.shards._AGAIN_S", 0.1)
    push_over_all_nodes(tmp_path, 7)
    one, other = shard(0, "n0", with_rest=True), shard(1, "n4")
    stub = route(one.grpc_address, other.grpc_address)
    request = messages.SearchRequest(vector=messages.Vector(values=[1.0] * DIMENSION), k=60, node_id="n6")
    assert stub.Search(request, timeout=10).version == 7
    names = push_with_a_node_moved(tmp_path)
    for server in (one, other):
        server.index.refresh()
        assert server.version == 8
    until(lambda: len(stub.Search(request, timeout=10).neighbours) == names.count("n6"))
    moved = messages.MoveRequest(products=[messages.MovedProduct(product_id="p1", node_id="n6")])
    assert stub.Move(moved, timeout=10).version == 8


@pytest.fixture
def moved_node(shard, route, tmp_path, monkeypatch):
    """Two shards and a router that still looks for n6 where it was before a push, and asks anew by itself only in an hour."""
    monkeypatch.setattr("serving.similarity_server.shards._AGAIN_S", 3600.0)
    push_over_all_nodes(tmp_path, 7)
    one, other = shard(0, "n0", with_rest=True), shard(1, "n4")
    stub = route(one.grpc_address, other.grpc_address)
    push_with_a_node_moved(tmp_path)
    return one, other, stub


def product_at(node_id, product_id="new"):
    return messages.UpsertedProduct(product_id=product_id, node_id=node_id, vector=messages.Vector(values=[1.0] * DIMENSION))


def test_a_change_to_a_node_that_a_push_moved_is_made_where_the_node_is_now(moved_node):
    one, other, stub = moved_node
    for server in (one, other):
        server.index.refresh()
    products = [product_at("n6"), product_at("n1", "first"), product_at("n5", "second")]
    assert stub.Upsert(messages.UpsertRequest(products=products, model_version=8), timeout=10).version == 8
    held = [[server.index.live.find(name) is not None for name in ("new", "first", "second")] for server in (one, other)]
    assert held == [[True, True, False], [False, False, True]]
    request = messages.SearchRequest(vector=products[0].vector, node_id="n6", k=1)
    assert [one.product_id for one in stub.Search(request, timeout=10).neighbours] == ["new"]


def test_a_move_to_a_node_that_a_push_moved_is_made_where_the_node_is_now(moved_node):
    one, other, stub = moved_node
    stub.Upsert(messages.UpsertRequest(products=[product_at("")], model_version=7), timeout=10)
    for server in (one, other):
        server.index.refresh()
    stub.Upsert(messages.UpsertRequest(products=[product_at("n4")], model_version=8), timeout=10)
    stub.Move(messages.MoveRequest(products=[messages.MovedProduct(product_id="new", node_id="n6")]), timeout=10)
    assert (one.index.live.find("new").node_id, other.index.live.find("new")) == ("n6", None)


def test_a_change_while_a_push_has_reached_one_shard_only_is_refused_to_be_tried_again(moved_node):
    one, other, stub = moved_node
    other.index.refresh()  # It lost n6, which the one has not got yet.
    code, said = refusal(stub.Upsert, messages.UpsertRequest(products=[product_at("n6")]))
    assert (code, said) == ("ABORTED", "a push is moving nodes to other shards. Try again when all shards have its version.")
    one.index.refresh()
    code, said = refusal(stub.Upsert, messages.UpsertRequest(products=[product_at("n6")], model_version=7))
    assert (code, "for model 7, the index was built for model 8" in said) == ("FAILED_PRECONDITION", True)
    stub.Upsert(messages.UpsertRequest(products=[product_at("n6")], model_version=8), timeout=10)
    assert one.index.live.find("new").node_id == "n6"


def test_shards_are_asked_anew_but_once_for_changes_that_were_refused_together(shards):
    asked = Shards(shards, 10.0, 1_000_000)
    known = asked.placement()
    asked.place_anew(known, None)
    newer = asked.placement()
    asked.place_anew(known, None)
    assert newer is not known
    assert asked.placement() is newer
    asked.close()


def test_a_product_that_is_embedded_again_in_another_shard_is_no_longer_listed_in_its_first(shard, route, tmp_path):
    push_over_all_nodes(tmp_path, 7)
    one, other = shard(0, "n0", with_rest=True), shard(1, "n4")
    stub = route(one.grpc_address, other.grpc_address)
    vector = messages.Vector(values=[1.0] * DIMENSION)

    def put(product_id, node_id, version):
        product = messages.UpsertedProduct(product_id=product_id, node_id=node_id, vector=vector)
        stub.Upsert(messages.UpsertRequest(products=[product], model_version=version), timeout=10)

    for product_id in ("new", "p1", "deleted"):
        put(product_id, "n1", 7)
    push_over_all_nodes(tmp_path, 8)
    for server in (one, other):
        server.index.refresh()
    status = stub.Status(messages.StatusRequest(), timeout=10)
    assert (list(status.to_embed), status.num_to_embed) == (["new", "p1", "deleted"], 3)
    stub.Move(messages.MoveRequest(products=[messages.MovedProduct(product_id="new", node_id="n5")]), timeout=10)
    stub.Delete(messages.DeleteRequest(product_ids=["deleted"]), timeout=10)
    assert list(stub.Status(messages.StatusRequest(), timeout=10).to_embed) == ["new", "p1"]
    put("new", "n5", 8)
    assert list(stub.Status(messages.StatusRequest(), timeout=10).to_embed) == ["p1"]
    assert [len(server.index.live.status().to_embed) for server in (one, other)] == [1, 0]


def test_shards_that_dont_make_a_whole_are_refused(shard, tmp_path):
    push_over_all_nodes(tmp_path, 7)
    one, other, both = shard(0, "n0"), shard(1, "n4"), shard(2, "n4", "n0")
    for addresses, message in (
        ((one,), "the shards hold 4 of the taxonomy's 7 nodes"),
        ((one, other, both), "is in the shards"),
    ):
        with pytest.raises(ServingError, match=message):
            RouterServer(RouterOptions(shards=tuple(server.grpc_address for server in addresses), port=0, rest_port=0))
    with pytest.raises(ServingError, match="shard 127.0.0.1:1 can't be asked"):
        RouterServer(RouterOptions(shards=("127.0.0.1:1",), port=0, rest_port=0))


def test_a_folder_of_another_shard_isnt_taken(shard, tmp_path):
    push_over_all_nodes(tmp_path, 7)
    shard(0, "n0").stop(1)
    with pytest.raises(NeighbourIndexError, match="this holds another shard"):
        shard(0, "n4")
    LiveIndex.create(tmp_path / "shard-3", tmp_path / "indexes" / "shop" / "7-all").close()
    with pytest.raises(NeighbourIndexError, match="this holds another shard"):
        shard(3, "n0")
    with pytest.raises(NeighbourIndexError, match="the shard can't be made: node 'n99' isn't in the index's taxonomy"):
        shard(1, "n99")
    with pytest.raises(NeighbourIndexError, match="no product is in the shard of n6"):
        shard(2, "n6")


@pytest.fixture
def tls(tmp_path):
    """Writes a key and its certificate as a server takes them, and gives that file and the certificate's."""

    def written(name, more=""):
        key, certificate = certified()
        (tmp_path / f"{name}.pem").write_bytes(certificate)
        (tmp_path / f"{name}.config").write_text(f"server_key: {quoted(key)} server_cert: {quoted(certificate)} {more}")
        return tmp_path / f"{name}.config", tmp_path / f"{name}.pem"

    return written


def test_a_router_asks_its_shards_over_tls(shard, route, tls, tmp_path):
    push_over_all_nodes(tmp_path, 7)
    config, certificate = tls("shards")
    certificate.write_bytes("# Főtanúsítvány, as bundles have it.\n".encode() + certificate.read_bytes())
    addresses = [
        shard(number, *nodes, with_rest=not number, ssl_config_file=config).grpc_address for number, nodes in enumerate((["n0"], ["n4"]))
    ]
    stub = route(*addresses, shard_ca_file=certificate)
    assert len(stub.Search(messages.SearchRequest(vector=messages.Vector(values=[1.0] * DIMENSION), k=60), timeout=10).neighbours) == 60
    with pytest.raises(ServingError, match="can't be asked"):
        route(*addresses)  # In the clear.
    with pytest.raises(ServingError, match="can't be asked"):
        route(*addresses, shard_ca_file=tls("others")[1])


def test_shards_that_verify_their_clients_are_shown_the_routers_certificate(shard, route, tls, tmp_path):
    push_over_all_nodes(tmp_path, 7)
    config, certificate = tls("router")
    verifying, shards_certificate = tls("shards", f"custom_ca: {quoted(certificate.read_bytes())} client_verify: true")
    address = shard(0, "n0", "n4", with_rest=True, ssl_config_file=verifying).grpc_address
    router = RouterServer(RouterOptions((address,), shards_certificate, port=0, rest_port=0, ssl_config_file=config, log_requests="none"))
    assert router.version == 7
    router.start()
    with grpc.secure_channel(router.grpc_address, grpc.ssl_channel_credentials(certificate.read_bytes())) as channel:
        assert SimilarityStub(channel).Status(messages.StatusRequest(), timeout=10).num_products == 60
    router.stop(1)
    with pytest.raises(ServingError, match="can't be asked"):
        route(address, shard_ca_file=shards_certificate)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file"),
        (b"", "isn't what shards' certificates are signed with"),
        (b"\xff", "isn't what shards'"),
        pytest.param(b"#" * 10_000_001, "holds more than 10000000 bytes", id="too large"),
    ],
)
def test_a_file_of_certificates_that_cant_be_used_is_refused(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    assert main(["similar", "--route", "127.0.0.1:1", "--shard-ca-file", str(tmp_path / "ca.pem"), "--port", "0", "--rest-port", "0"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {tmp_path / 'ca.pem'}: ")
    assert message in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--index", "x"], "--index"),
        (["--set", "similar.max_k=3"], "--config or --set"),
        (["--shard", "n0", "--shard-rest"], "--shard, --shard-rest"),
        (["--folder", "x", "--model-server", "http://x"], "--folder, --model-server"),
        (["--model-name", "x"], "--model-name"),
        (["--poll-seconds", "0"], "--poll-seconds"),
    ],
)
def test_a_router_takes_no_options_of_a_server(capsys, words, named):
    assert main(["similar", "--route", "127.0.0.1:1", *words]) == 2
    assert capsys.readouterr().err == (
        f"error: --route asks other servers, whose options these are: {named}. Leave them to those servers.\n"
    )


def test_certificates_of_shards_are_for_a_router(capsys):
    assert main(["similar", "--index", "x", "--folder", "y", "--shard-ca-file", "z"]) == 2
    assert "--shard-ca-file is for a router" in capsys.readouterr().err
