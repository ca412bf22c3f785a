"""An answer is bounded in every form that it can have, and its estimate is near what is written."""

import numpy as np
import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2

from serving.model_server.answer_size import check_json, check_rows, check_tensors
from serving.model_server.json_tensors import COLUMNS, ROWS, predict_response
from serving.model_server.model_config import ModelConfig
from serving.model_server.model_manager import Target
from serving.model_server.saved_model import Signature
from serving.model_server.tensors import TensorSpec
from serving.status import ServingError
from tests.serving.test_protocols import asked, examples, refusal

PREDICT, MOST = "/v1/models/tiny:predict", 10_000
SIGNATURE = Signature("s", "", {}, {"y": TensorSpec("y:0", types_pb2.DT_FLOAT, (-1, 500))})


@pytest.fixture
def client(start, base_path):
    return start(ModelConfig("tiny", base_path), max_answer_bytes=MOST)


def rows(count):
    return np.ones([count, 2], np.float32)


def test_rows_whose_answer_cant_be_small_are_refused_before_the_model_runs(client):
    with client.server.models.borrow(Target("tiny")) as loaded:
        code, details = refusal(client.predict.Predict, asked(x=rows(5_000)))
        assert (code, "the answer to 5000 rows would take some 15000 bytes" in details) == (StatusCode.RESOURCE_EXHAUSTED, True), details
        assert loaded.model.prepared() == []


def test_every_form_of_answer_is_bounded_and_a_smaller_one_fits(client):
    code, details = refusal(client.predict.Predict, asked(x=rows(1_000)))
    assert code == StatusCode.RESOURCE_EXHAUSTED
    assert "would take some 16000 bytes, an answer may take 10000. Send fewer rows" in details
    assert len(client.predict.Predict(asked(x=rows(1_000), output_filter=["y"])).outputs["y"].float_val) == 2_000
    title = asked("text", title=[b"t" * 6_000], price=np.ones(1, np.float32))
    assert refusal(client.predict.Predict, title)[0] == StatusCode.RESOURCE_EXHAUSTED
    many = examples(classification_pb2.ClassificationRequest, *[0.5] * 500, signature="classify")
    assert refusal(client.predict.Classify, many)[0] == StatusCode.RESOURCE_EXHAUSTED
    for path, body in (
        (PREDICT, {"instances": rows(300).tolist()}),
        (PREDICT, {"inputs": rows(600).tolist()}),
        ("/v1/models/tiny:classify", {"signature_name": "classify", "examples": [{"price": 0.5}] * 500}),
    ):
        status, found = client.http(path, body)
        assert (status, "an answer may take 10000" in found["error"]) == (413, True)
    assert client.http(PREDICT, {"instances": rows(100).tolist()})[0] == 200


def refused(check, *words):
    try:
        check(*words)
    except ServingError:
        return True
    return False


arrays = st.one_of(
    st.lists(st.floats(0, 1, width=32), min_size=1).map(lambda values: np.array(values, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1).map(lambda values: np.array(values, np.int64)),
    st.lists(st.binary(max_size=30).filter(bytes.isascii), min_size=1).map(lambda values: np.array(values, object)),
    st.lists(st.booleans(), min_size=1).map(np.array),
)


@given(arrays, st.sampled_from(["y", "y_bytes"]), st.sampled_from([ROWS, COLUMNS]))
def test_the_estimate_of_json_is_near_its_size(array, name, form):
    written = len(predict_response({name: array, "z": array[:]}, form))
    assert not refused(check_json, SIGNATURE, {name: array, "z": array}, form == ROWS, 3 * written)
    assert refused(check_json, SIGNATURE, {name: array, "z": array}, form == ROWS, (written - 40) // 3)


def test_the_bound_itself_is_allowed():
    assert not refused(check_tensors, SIGNATURE, {"y": np.zeros([2, 500], np.float32)}, 2, 4_000)
    assert refused(check_tensors, SIGNATURE, {"y": np.zeros([2, 500], np.float32)}, 2, 3_999)
    assert not refused(check_rows, SIGNATURE, ["y"], 8, 4_000)
    assert refused(check_rows, SIGNATURE, ["y"], 9, 4_000)
