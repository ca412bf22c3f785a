"""What a model server may answer when it is asked for the vectors of pictures, and when it is asked for them at all."""

import numpy as np
import pytest
from grpc import StatusCode

from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.model_client import ModelClient
from serving.similarity_server.product_examples import is_picture_alone
from serving.status import ServingError

VECTORS = [[1.0, 0.0], [0.0, 1.0]]


@pytest.fixture
def answered(monkeypatch):
    """Asks for two pictures where the model server's outputs are these."""

    def asked(outputs):
        client = ModelClient("http://127.0.0.1:1", "shop")
        monkeypatch.setattr(client, "_ask", lambda *_: (200, {"outputs": outputs}))
        return client.embed_pictures([b"", b""], 7)

    return asked


def test_a_picture_is_read_where_any_encoder_says_so(answered):
    vectors, is_read = answered({"embedding": VECTORS, "has_one": [True, False], "has_two": [False, False], "scores": [1, 2]})
    assert vectors.tolist() == VECTORS
    assert is_read.tolist() == [True, False]
    assert is_read.dtype == np.bool_


@pytest.mark.parametrize("wrong", [[True], [], [[True], [True], [True]], True, None])
def test_what_isnt_a_boolean_a_product_is_told_and_no_bug(answered, wrong):
    with pytest.raises(ServingError, match="outputs has_... aren't one boolean for each of 2 products") as caught:
        answered({"embedding": VECTORS, "has_one": [True, True], "has_two": wrong})
    assert caught.value.code == StatusCode.INTERNAL


def test_a_model_without_encoders_reads_no_pictures(answered):
    for outputs in ({"embedding": VECTORS}, VECTORS):
        with pytest.raises(ServingError, match="model 7 reads no pictures"):
            answered(outputs)


@pytest.mark.parametrize(
    ("signatures", "fields"),
    [
        ({"predict_products": {"inputs": {"title": {}, "price": {}}, "outputs": {"scores": {}}}}, {"title", "price"}),
        ({"predict_products": {"inputs": {"title": {}}, "outputs": {"has_picture": {}}}}, {"title", "picture"}),
        ({"embed": {"inputs": {"examples": {}}, "outputs": {}}}, None),
        ({"predict_products": {"inputs": None, "outputs": {}}}, None),
        ({"predict_products": {"inputs": {}, "outputs": {}}}, None),
        ({"predict_products": []}, None),
        ([], None),
        (None, None),
    ],
)
def test_fields_are_known_where_the_model_names_them(monkeypatch, signatures, fields):
    client, asked = ModelClient("http://127.0.0.1:1", "shop"), []

    def answer(method, url, *_):
        asked.append((method, url))
        return 200, {"metadata": {"signature_def": {"signature_def": signatures}}}

    monkeypatch.setattr(client, "_ask", answer)
    assert [client.fields(7), client.fields(7)] == [fields, fields]
    assert asked == [("GET", "http://127.0.0.1:1/v1/models/shop/versions/7/metadata")]
    client.fields(8)
    assert len(asked) == 2


def test_fields_that_a_model_server_doesnt_tell_are_asked_for_again(monkeypatch):
    client, replies = ModelClient("http://127.0.0.1:1", "shop"), [(404, {"error": "no such version"}), (200, {"metadata": []})]
    monkeypatch.setattr(client, "_ask", lambda *_: replies.pop(0))
    assert [client.fields(7) for _ in range(3)] == [None, None, None]
    assert replies == []


@pytest.mark.parametrize(
    ("fields", "is_alone"),
    [({}, True), ({"title": None}, True), ({"title": " ", "brand": ""}, True), ({"title": "a"}, False), ({"price": 0}, False)],
)
def test_a_picture_is_alone_where_nothing_else_says_anything(fields, is_alone):
    product = messages.NewProduct(image_bytes=b"x")
    product.fields.update(fields)
    assert is_picture_alone(product) == is_alone
    assert not is_picture_alone(messages.NewProduct(fields=product.fields))
