"""Runs the examples of the README's part on serving, and of the docs' on the model server, as they are written but for the ports."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from serving.model_server.model_config import ModelConfig
from serving.similarity_server.server import ServerOptions, SimilarityServer
from similarity.planner import build_index, save_index
from similarity.vectors import in_tree_order
from tests.support.shop import shop_taxonomy
from tests.support.toy_model import EMBEDDING_DIMENSION, write_toy_model
from tests.support.written_examples import answer_to, examples_of, said_by

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl isn't installed, so the examples of README and docs aren't run")


@pytest.fixture
def model_server(start, tmp_path):
    """A server of a model with the pipeline's signatures, under the names it has in README and docs."""
    tree = shop_taxonomy()
    for name in ("demo", "shop"):
        write_toy_model(tmp_path / name / "1", tree)
    return start(*(ModelConfig(name, tmp_path / name) for name in ("demo", "shop"))).server


@pytest.fixture
def places(model_server):
    return {"127.0.0.1:8500": model_server.grpc_address, "127.0.0.1:8501": model_server.rest_address.removeprefix("http://")}


@pytest.fixture
def similarity_server(model_server, tmp_path):
    """A server of twenty products, one of them the demo catalogue's."""
    ids = ["A-000100", *(f"p{number}" for number in range(19))]
    vectors = np.random.default_rng(0).normal(size=(len(ids), EMBEDDING_DIMENSION)).astype(np.float32)
    products = in_tree_order(vectors, ids, np.arange(len(ids)) % 2, ["n001", "n002"], [2, 2])
    save_index(tmp_path / "built", build_index(products, 10**6, 3, 0.9, 0), version=1)
    options = ServerOptions(
        tmp_path / "state",
        built=tmp_path / "built",
        model_server=model_server.rest_address,
        model_name="demo",
        port=0,
        rest_port=0,
        log_requests="none",
    )
    server = SimilarityServer(options)
    server.start()
    yield server
    server.stop(1)


def test_the_examples_of_the_readme_answer_as_written(places, similarity_server):
    own = {"127.0.0.1:8600": similarity_server.grpc_address, "127.0.0.1:8601": similarity_server.rest_address.removeprefix("http://")}
    examples = examples_of("README.md", "## Serving", places | own)
    model, classified, embedded, similar, to_new = (answer_to(words) for words in examples.asked_with("curl"))
    assert model["model_version_status"][0]["state"] == "AVAILABLE"
    assert len(classified["results"][0]) == 8
    assert np.shape(embedded["outputs"]) == (1, EMBEDDING_DIMENSION)
    assert [len(answer["neighbours"]) for answer in (similar, to_new)] == [5, 5]
    over_grpc, similar_over_grpc = (answer_to(words) for words in examples.asked_with("grpcurl"))
    best = max(over_grpc["result"]["classifications"][0]["classes"], key=lambda one: one["score"])
    assert [one["productId"] for one in similar_over_grpc["neighbours"]] == [one["product_id"] for one in similar["neighbours"]]
    ask_the_model, ask_for_similar = examples.code
    ((label, score, version),) = map(str.split, said_by(ask_the_model))
    assert (label, version, float(score)) == (best["label"], "1", pytest.approx(best["score"], abs=1e-5))
    assert [line.split()[0] for line in said_by(ask_for_similar)] == [one["product_id"] for one in similar["neighbours"]]


def test_the_examples_of_the_model_server_answer_as_written(places):
    examples = examples_of("docs/serving.md", "## The model server", places)
    (metadata,) = map(answer_to, examples.asked_with("grpcurl"))
    assert "embed" in metadata["metadata"]["signature_def"]["signatureDef"]
    (classified,) = map(answer_to, examples.asked_with("curl"))
    assert len(classified["results"][0]) == 8
