"""Asks for what is similar to a picture, by its bytes alone: a real encoder in a real model, and both servers in processes of their own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from encoders.kinds import describe_encoder
from encoders.registry import load_encoder
from schemas.features import DENSE, TEXT, Feature, FeatureConfig
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.product_examples import serialized_example
from serving.similarity_server.similarity_pb2_grpc import SimilarityStub
from similarity.planner import build_index, save_index
from similarity.vectors import in_tree_order
from tests.support.examples import example
from tests.support.hostile_images import BAD, GOOD, TRANSCODED, encoded, picture
from tests.trainer_module.catalogue import products, taxonomy
from tests.trainer_module.rounds import analysed, files_of, training_config, transform
from trainer_module.trainer import run_fn

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
VERSION = 7
PICTURES = {**{name: GOOD[name] for name in ("jpeg", "grey jpeg", "png with transparency", "a line", "16 bit")}}
PICTURES |= {f"upside down {kind}": encoded(picture(120, 40).rotate(180), kind) for kind in ("PNG", "JPEG")}
UNREADABLE = {name: content for name, (content, _) in BAD.items() if content} | TRANSCODED
REFUSED = "product 0: image_bytes isn't a picture that the model can read. Send a whole JPEG or PNG, or fields, too."


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with a MobileNetV2 of random weights in its graph, as `VERSION` of a base path."""
    root = tmp_path_factory.mktemp("pictures")
    weights = root / "mobilenet.weights.h5"
    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2(input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=None, pooling="avg").save_weights(
        weights
    )
    found = describe_encoder("mobilenet_v2", weights)
    plan = {
        "name": "picture", "kind": "mobilenet_v2", "field": "image", "weights": str(weights), "max_tokens": 1,
        "reads": found.reads, "size": found.size, "digest": found.digest,
    }  # fmt: skip
    config = FeatureConfig((Feature("words", TEXT, ("title",)), Feature("picture", DENSE, ("picture",), dimensions=found.size)))
    vectors = load_encoder("mobilenet_v2", weights)(tf.constant(list(PICTURES.values()))).numpy()
    rows = [{**row, "picture": vectors[number % len(vectors)].tolist()} for number, row in enumerate(products(40))]
    analysed(root, config, rows)
    transform(root, config, [example(row).SerializeToString() for row in rows], root / "transformed")
    custom = training_config(root, config, taxonomy(), encoders=[plan], phases=[{"epochs": 0.1, "rule_based": 0.5, "exclusive": 0.5}])
    target = root / "models" / "shop" / str(VERSION)
    run_fn(
        FnArgs(
            train_files=files_of(root / "transformed"), transform_graph_path=str(root), serving_model_dir=str(target), custom_config=custom
        )
    )
    return target


@pytest.fixture(scope="module")
def built(model, tmp_path_factory):
    """An index of every picture, under its name, by the model's own vectors."""
    embed = tf.saved_model.load(str(model)).signatures["embed"]
    examples = [serialized_example(messages.NewProduct(image_bytes=content), "") for content in PICTURES.values()]
    vectors = embed(examples=tf.constant(examples))["embedding"].numpy()
    tree = taxonomy()
    numbers = np.arange(len(vectors)) % len(tree)
    folder = tmp_path_factory.mktemp("built") / str(VERSION)
    save_index(
        folder, build_index(in_tree_order(vectors, list(PICTURES), numbers, tree.ids, tree.subtree_ends), 10**6, 3, 0.9, 0), version=VERSION
    )
    return folder


@contextlib.contextmanager
def program(*words):
    """Starts a server of the program, gives its addresses, and stops it."""
    command = [sys.executable, "-W", "ignore", "-m", "pipeline.cli", *map(str, words), "--port=0", "--json", "--log-requests=none"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()


@pytest.fixture(scope="module")
def servers(model, built, tmp_path_factory):
    """Addresses of the similarity server, behind which the model server is."""
    folder = tmp_path_factory.mktemp("state") / "similar"
    with program("serve", "--model-base-path", model.parent, "--model-name", "shop", "--rest-api-port=0") as models:
        words = ("--index", built, "--folder", folder, "--rest-port=0", "--model-server", models["rest"], "--model-name", "shop")
        with program("similar", *words, "--timeout-seconds=60") as addresses:
            yield addresses


@pytest.fixture
def stub(servers):
    with grpc.insecure_channel(servers["grpc"]) as channel:
        yield SimilarityStub(channel)


def rest(servers, body):
    connection = http.client.HTTPConnection(servers["rest"].removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/similar:search", json.dumps(body))
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, found


def asked(content, **fields):
    request = messages.SearchRequest(product=messages.NewProduct(image_bytes=content), k=3)
    request.product.fields.update(fields)
    return request


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_most_similar_to_itself(stub, servers, name):
    best = stub.Search(asked(PICTURES[name]), timeout=60)
    assert (best.neighbours[0].product_id, best.version) == (name, VERSION)
    assert best.neighbours[0].similarity == pytest.approx(1, abs=1e-4)
    status, found = rest(servers, {"product": {"image_bytes": base64.b64encode(PICTURES[name]).decode()}, "k": 3})
    assert (status, found["neighbours"][0]["product_id"]) == (200, name)


@pytest.mark.parametrize("name", UNREADABLE)
def test_bytes_that_are_no_picture_are_refused_and_harm_nobody(stub, servers, name):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Search(asked(UNREADABLE[name]), timeout=60)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, REFUSED)
    status, found = rest(servers, {"product": {"image_bytes": base64.b64encode(UNREADABLE[name]).decode()}})
    assert (status, found["error"]["status"], found["error"]["message"]) == (400, "INVALID_ARGUMENT", REFUSED)


def test_a_bad_picture_in_a_batch_is_named(stub):
    requests = [asked(PICTURES["jpeg"]), messages.SearchRequest(product_id="jpeg"), asked(b"no picture")]
    with pytest.raises(grpc.RpcError, match="product 1: image_bytes isn't a picture"):
        stub.BatchSearch(messages.BatchSearchRequest(requests=requests), timeout=60)


def test_a_product_with_fields_is_searched_by_those_where_its_picture_cant_be_read(stub):
    with_bad, without = (stub.Search(asked(content, title="Nice Boots 3"), timeout=60) for content in (b"<html>404</html>", b""))
    assert with_bad.neighbours == without.neighbours
    with_good = stub.Search(asked(PICTURES["jpeg"], title="Nice Boots 3"), timeout=60)
    assert [one.similarity for one in with_good.neighbours] != [one.similarity for one in without.neighbours]


def test_a_product_is_upserted_by_its_picture_and_found_by_it(stub):
    content = encoded(picture(77, 99).rotate(90), "PNG")
    new = messages.UpsertedProduct(product_id="new", node_id="boots", product=messages.NewProduct(image_bytes=content))
    stub.Upsert(messages.UpsertRequest(products=[new]), timeout=60)
    assert stub.Search(asked(content), timeout=60).neighbours[0].product_id == "new"
    stub.Delete(messages.DeleteRequest(product_ids=["new"]), timeout=60)
