"""What clients of TensorFlow Serving rely on, over gRPC with the generated stubs and over REST, against a running server."""

import base64
import gzip
import http.client
import json
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

ROWS = np.array([[1, 2], [3, 4]], np.float32)


def asked(signature="", version=None, label="", name="tiny", output_filter=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=output_filter)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value))
    return request


def examples(message, *prices, signature=""):
    request = message()
    request.model_spec.name, request.model_spec.signature_name = "tiny", signature
    for price in prices:
        request.input.example_list.examples.add().features.feature["price"].float_list.value.append(price)
    return request


def refusal(call, request, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, **options)
    return caught.value.code(), caught.value.details()


# Predict.


def test_the_highest_version_answers_unless_a_request_names_another(client):
    for spec, version in (({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1), ({"label": "canary"}, 2)):
        response = client.predict.Predict(asked(x=ROWS, **spec))
        np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), ROWS * version)
        assert response.model_spec.version.value == version
        assert (response.model_spec.name, response.model_spec.signature_name) == ("tiny", "serving_default")


def test_numbers_come_in_the_typed_fields_that_clients_without_tensorflow_read(client):
    response = client.predict.Predict(asked(x=ROWS, version=1))
    assert list(response.outputs["y"].float_val) == [1, 2, 3, 4]
    assert list(response.outputs["version"].int64_val) == [1, 1]


def test_an_output_filter_leaves_the_other_outputs_out(client):
    assert set(client.predict.Predict(asked(x=ROWS, output_filter=["y"])).outputs) == {"y"}


def test_a_tensor_with_fewer_values_than_its_shape_repeats_the_last_one(client):
    proto = tf.make_tensor_proto(ROWS)
    proto.tensor_content = b""
    proto.float_val.append(7)
    response = client.predict.Predict(asked(x=proto, version=1))
    assert list(response.outputs["y"].float_val) == [7, 7, 7, 7]


def test_strings_that_a_tensor_leaves_out_are_empty(client):
    proto = tf.make_tensor_proto([b"a", b"b"])
    proto.string_val[:] = []
    response = client.predict.Predict(asked("text", title=proto, price=np.ones(2, np.float32)))
    assert list(response.outputs["raw_bytes"].string_val) == [b"", b""]


def wrong_requests():
    huge = tf.make_tensor_proto(ROWS)
    huge.tensor_shape.dim[0].size = 10**15
    short = tf.make_tensor_proto(ROWS)
    short.tensor_content = short.tensor_content[:7]
    many = tf.make_tensor_proto([b"a title"])
    many.tensor_shape.dim[0].size = 5_000
    negative = tf.make_tensor_proto(ROWS)
    negative.tensor_shape.dim[0].size = -1
    unknown_type = tf.make_tensor_proto(ROWS)
    unknown_type.dtype = 99
    return [
        (asked(name="", x=ROWS), StatusCode.INVALID_ARGUMENT, "model_spec.name is empty"),
        (asked(name="other", x=ROWS), StatusCode.NOT_FOUND, "'other' isn't served. Available versions: none"),
        (asked(version=9, x=ROWS), StatusCode.NOT_FOUND, "Available versions: 1, 2"),
        (asked(label="nightly", x=ROWS), StatusCode.INVALID_ARGUMENT, "Labels: canary, stable"),
        (asked("nothing", x=ROWS), StatusCode.FAILED_PRECONDITION, "no signature 'nothing'. Signatures: classify, "),
        (asked(), StatusCode.INVALID_ARGUMENT, "inputs missing x"),
        (asked(x=ROWS, z=ROWS), StatusCode.INVALID_ARGUMENT, "inputs unknown z"),
        (asked(x=ROWS.astype(np.int32)), StatusCode.INVALID_ARGUMENT, "holds DT_INT32, expected DT_FLOAT [?, 2]"),
        (asked(x=ROWS[0]), StatusCode.INVALID_ARGUMENT, "has the shape [2], expected DT_FLOAT [?, 2]"),
        (asked(x=ROWS[:, :1]), StatusCode.INVALID_ARGUMENT, "has the shape [2, 1], expected"),
        (asked(x=huge), StatusCode.INVALID_ARGUMENT, "is larger than"),
        (asked(x=short), StatusCode.INVALID_ARGUMENT, "don't make a tensor of shape [2, 2]"),
        (asked("text", title=many, price=np.zeros(5_000, np.float32)), StatusCode.INVALID_ARGUMENT, "holds 1 strings. Send every one"),
        (asked(x=negative), StatusCode.INVALID_ARGUMENT, "isn't known in full"),
        (asked(x=unknown_type), StatusCode.INVALID_ARGUMENT, "don't make a tensor"),
        (asked(x=ROWS, output_filter=["z"]), StatusCode.INVALID_ARGUMENT, "has no outputs z"),
        (asked(x=ROWS, output_filter=["y", "y"]), StatusCode.INVALID_ARGUMENT, "asked for an output twice"),
        (asked("classify", inputs=[b"\xff\xff"]), StatusCode.INVALID_ARGUMENT, "Could not parse example input"),
    ]


@pytest.mark.parametrize("number", range(len(wrong_requests())))
def test_a_wrong_request_gets_tensorflow_servings_code_and_the_way_out(client, number):
    request, code, message = wrong_requests()[number]
    found, details = refusal(client.predict.Predict, request)
    assert found == code
    assert message in details


def test_a_refusal_is_one_line_that_every_client_can_take(client):
    """Where it repeats what a client wrote: gRPC's library takes no status whose message is larger than some thousand bytes."""
    for letter, signature in (("a", ""), ("é", ""), ("\n", ""), ("\U0001f600", ""), ("\u202e", "x" * 9_000)):
        code, details = refusal(client.predict.Predict, asked(signature, x=ROWS, **{letter * 9_000: ROWS}))
        assert code in (StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION)
        assert details.isprintable()
        assert 300 < len(details) <= 2_000
    body = {"signature_name": "x\n" * 9_000, "instances": [1]}
    status, found = client.http("/v1/models/tiny:predict", body)
    assert (status, len(found["error"]) <= 2_000, found["error"].isprintable()) == (400, True, True)


def test_what_a_graph_says_of_a_value_is_told_with_the_operation(client):
    code, details = refusal(client.predict.Predict, asked("classify", inputs=[b"\xff" * 400]))
    assert code == StatusCode.INVALID_ARGUMENT
    assert "Could not parse example input, value: '\\xff\\xff" in details
    told, _, rest = details.partition(" ... ")  # What is cut is seen, and both ends are there.
    assert "\\xff" * 100 in told
    assert "\\xff" * 100 in rest
    assert details.endswith("\\xff' (at ParseExample/ParseExampleV2)")
    assert 1_000 < len(details) < 1_200


def test_a_message_above_the_limit_is_refused(client):
    code, _ = refusal(client.predict.Predict, asked(x=np.zeros((50_000, 2), np.float32)))
    assert code == StatusCode.RESOURCE_EXHAUSTED


def test_a_deadline_that_passes_is_told(client):
    code, _ = refusal(client.predict.Predict, asked("slow", steps=np.array([50], np.int64)), timeout=1e-6)
    assert code == StatusCode.DEADLINE_EXCEEDED


def test_more_requests_than_may_be_in_flight_are_refused_and_health_still_answers(client):
    client.predict.Predict(asked("slow", steps=np.array([1], np.int64)))
    waiting = [client.predict.Predict.future(asked("slow", steps=np.array([4_000], np.int64))) for _ in range(8)]
    health = health_pb2_grpc.HealthStub(grpc.insecure_channel(client.server.grpc_address))
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
    codes = [one.exception().code() if one.exception() else StatusCode.OK for one in waiting]
    assert set(codes) == {StatusCode.OK, StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(StatusCode.OK) >= 4


SHORT = [b"", "é".encode(), b"a\0b", *(bytes([65 + size]) * size for size in range(1, 23))]


@pytest.mark.parametrize(
    "titles",
    [
        pytest.param(SHORT, id="short"),
        pytest.param([b"", b""], id="empty"),
        pytest.param([*SHORT, b"a\0"], id="a zero byte at the end"),
        pytest.param([b"", b"\0", "é".encode(), *(bytes([65 + size % 26]) * size for size in (21, 22, 23, 24, 200, 5_000))], id="any"),
    ],
)
def test_strings_of_every_length_come_back_whole(client, titles):
    response = client.predict.Predict(asked("text", title=titles, price=np.arange(len(titles), dtype=np.float32)))
    assert list(response.outputs["raw_bytes"].string_val) == titles
    assert list(response.outputs["upper"].string_val) == [
        title.decode().upper().encode() if title.isascii() else b"\xc3\xa9" for title in titles
    ]


def test_no_rows_are_answered_with_no_rows(client):
    response = client.predict.Predict(asked(x=np.zeros((0, 2), np.float32)))
    assert tf.make_ndarray(response.outputs["y"]).shape == (0, 2)


# The other services.


def test_classify_answers_labels_and_scores(client):
    response = client.predict.Classify(examples(classification_pb2.ClassificationRequest, 0.25, 1.0, signature="classify"))
    found = [[(one.label, one.score) for one in row.classes] for row in response.result.classifications]
    assert found == [[("cheap", 0.75), ("dear", 0.25)], [("cheap", 0.0), ("dear", 1.0)]]


def test_features_of_a_context_belong_to_every_example(client):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", "regress"
    given = request.input.example_list_with_context
    given.context.features.feature["price"].float_list.value.append(3)
    given.examples.add()
    given.examples.add().features.feature["price"].float_list.value.append(5)
    assert [one.value for one in client.predict.Regress(request).result.regressions] == [6, 10]


@pytest.mark.parametrize(
    ("signature", "prices", "message"),
    [("classify", (), "no examples"), ("nothing", (1,), "no signature 'nothing'"), ("regress", (1,), "Name another signature")],
)
def test_classify_refuses_what_it_cant_classify(client, signature, prices, message):
    code, details = refusal(client.predict.Classify, examples(classification_pb2.ClassificationRequest, *prices, signature=signature))
    assert code == StatusCode.INVALID_ARGUMENT
    assert message in details


def multi(*tasks):
    request = inference_pb2.MultiInferenceRequest()
    for method, signature in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "tiny", signature
    request.input.example_list.examples.add().features.feature["price"].float_list.value.append(0.5)
    return request


def test_multi_inference_answers_every_task_on_the_same_examples(client):
    first, second = client.predict.MultiInference(multi(("classify", "classify"), ("regress", "regress"))).results
    assert [one.score for one in first.classification_result.classifications[0].classes] == [0.5, 0.5]
    assert second.regression_result.regressions[0].value == 1.0
    assert second.model_spec.signature_name == "regress"


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([], StatusCode.INVALID_ARGUMENT),
        ([("classify", "classify"), ("regress", "classify")], StatusCode.INVALID_ARGUMENT),
        ([("predict", "classify")], StatusCode.UNIMPLEMENTED),
    ],
)
def test_multi_inference_refuses_tasks_it_cant_do(client, tasks, code):
    assert refusal(client.predict.MultiInference, multi(*tasks))[0] == code


def test_metadata_holds_every_signature(client):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    response = client.predict.GetModelMetadata(request)
    found = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) == {"serving_default", "text", "classify", "regress", "scalar", "slow"}
    request.metadata_field[:] = ["weights"]
    assert refusal(client.predict.GetModelMetadata, request)[0] == StatusCode.INVALID_ARGUMENT


def test_status_names_every_version(client):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "tiny"
    states = {one.version: one.state for one in client.models.GetModelStatus(request).model_version_status}
    assert states == {1: get_model_status_pb2.ModelVersionStatus.AVAILABLE, 2: get_model_status_pb2.ModelVersionStatus.AVAILABLE}
    request.model_spec.version.value = 9
    assert refusal(client.models.GetModelStatus, request)[0] == StatusCode.NOT_FOUND


def test_reflection_lists_the_services(client):
    stub = reflection_pb2_grpc.ServerReflectionStub(grpc.insecure_channel(client.server.grpc_address))
    (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {one.name for one in answer.list_services_response.service}
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health"} <= names


def test_the_request_id_of_a_client_comes_back(client):
    _, call = client.predict.Predict.with_call(asked(x=ROWS), metadata=(("x-request-id", "mine-1"),))
    assert ("x-request-id", "mine-1") in call.trailing_metadata()


# REST.


def test_rows_and_columns_answer_in_their_own_form(client):
    rows = {"instances": [[1.0, 2.0], [3, 4]]}
    assert client.http("/v1/models/tiny/versions/1:predict", rows) == (
        200,
        {"predictions": [{"version": 1, "y": [1.0, 2.0]}, {"version": 1, "y": [3.0, 4.0]}]},
    )
    columns = {"inputs": {"x": [[1, 2], [3, 4]]}}
    expected = {"outputs": {"version": [2, 2], "y": [[2.0, 4.0], [6.0, 8.0]]}}
    assert client.http("/v1/models/tiny/labels/canary:predict", columns) == (200, expected)


def test_strings_bytes_and_numbers_that_arent_finite_cross_json(client):
    body = {"signature_name": "text", "instances": [{"title": {"b64": base64.b64encode("é".encode()).decode()}, "price": float("nan")}]}
    status, found = client.http("/v1/models/tiny:predict", body)
    assert status == 200
    assert found["predictions"][0]["upper"] == "é"
    assert found["predictions"][0]["raw_bytes"] == {"b64": "w6k="}
    assert np.isnan(found["predictions"][0]["double"])


def test_a_single_output_stands_without_its_name(client):
    assert client.http("/v1/models/tiny:predict", {"signature_name": "scalar", "inputs": 4}) == (200, {"outputs": 5})


def test_classify_and_regress_answer_results(client):
    given = {"context": {"price": 0.25}, "examples": [{"title": ["a", "b"]}, {"price": 1.0}]}
    status, found = client.http("/v1/models/tiny:classify", {**given, "signature_name": "classify"})
    assert (status, found) == (200, {"results": [[["cheap", 0.75], ["dear", 0.25]], [["cheap", 0.0], ["dear", 1.0]]]})
    assert client.http("/v1/models/tiny:regress", {**given, "signature_name": "regress"}) == (200, {"results": [0.5, 2.0]})


def test_status_and_metadata_have_tensorflow_servings_shape(client):
    status, found = client.http("/v1/models/tiny/versions/1")
    expected = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert (status, found) == (200, {"model_version_status": [expected]})
    status, found = client.http("/v1/models/tiny/metadata")
    assert (status, found["model_spec"]) == (200, {"name": "tiny", "signature_name": "", "version": "2"})
    shape = found["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]["tensor_shape"]
    assert [dim["size"] for dim in shape["dim"]] == ["-1", "2"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/other:predict", {"instances": [1]}, 404, "'other' isn't served"),
        ("/v1/models/tiny/versions/7", None, 404, "version 7"),
        ("/v1/models/tiny:predict", b"{", 400, "this isn't JSON"),
        ("/v1/models/tiny:predict", b"[" * 100_000, 400, "this isn't JSON: lists or objects are nested too deep. Send"),
        ("/v1/models/tiny:predict", b'{"a": ' + b"9" * 5_000 + b"}", 400, "this isn't JSON: a number has too many digits. Send"),
        ("/v1/models/tiny:predict", b"\x1f\x8b\x08", 400, "this isn't JSON: it isn't Unicode. Send"),
        ("/v1/models/tiny:predict", [], 400, "found a list"),
        ("/v1/models/tiny:predict", {}, 400, "either instances (rows) or inputs (columns)"),
        ("/v1/models/tiny:predict", {"instances": [1], "inputs": 1}, 400, "either instances"),
        ("/v1/models/tiny:predict", {"instances": [[1, 2], [3]]}, 400, "expected a list of 2 as in the first row"),
        ("/v1/models/tiny:predict", {"instances": [["a", "b"]]}, 400, "found a string, expected DT_FLOAT"),
        ("/v1/models/tiny:predict", {"instances": [[True, 1]]}, 400, "found a boolean"),
        ("/v1/models/tiny:predict", {"instances": [[1e300, 1]]}, 400, "doesn't fit into DT_FLOAT"),
        ("/v1/models/tiny:predict", {"instances": [{"z": 1}]}, 400, "no input 'z'"),
        ("/v1/models/tiny:predict", {"instances": [1, 2], "signature_name": "text"}, 400, "Send an object that names each"),
        ("/v1/models/tiny:predict", {"instances": [1], "signature_name": "none"}, 400, "no signature 'none'"),
        ("/v1/models/tiny:predict", {"instances": [1], "signature_name": 5}, 400, "expected a string"),
        ("/v1/models/tiny:predict", {"inputs": {"title": [{"b64": "?"}], "price": [1]}, "signature_name": "text"}, 400, "can't be decoded"),
        ("/v1/models/tiny:predict", {"inputs": 2**70, "signature_name": "scalar"}, 400, "doesn't fit into DT_INT64"),
        ("/v1/models/tiny:predict", {"instances": [1], "signature_name": "scalar"}, 400, "has the shape [1]"),
        ("/v1/models/tiny:classify", {"examples": []}, 400, "expected a list of one or more"),
        ("/v1/models/tiny:classify", {"examples": [{"a": [1, "b"]}], "signature_name": "classify"}, 400, "expected strings or numbers"),
        ("/v1/models/tiny:classify", b'{"examples": [{"\\ud800": "x"}]}', 400, "isn't Unicode"),
        ("/v1/models/tiny", {}, 400, "isn't a request this server knows"),
        ("/v1/models/tiny:predict", None, 400, "isn't a request this server knows"),
        ("/v1/nonsense", None, 400, "isn't a request this server knows"),
        ("/etc/passwd", None, 404, "there is nothing at"),
        ("/v1/models/tiny:predict", b" " * 300_000, 413, "larger than 200000 bytes"),
    ],
)
def test_a_wrong_rest_request_gets_its_status_and_the_way_out(client, path, body, status, message):
    found, answer = client.http(path, body)
    assert (found, message in answer["error"]) == (status, True), answer


def test_a_chunked_body_is_read_and_bounded(client):
    body = b'{"instances": [[1, 2]]}'
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    headers = {"Transfer-Encoding": "chunked"}
    assert client.http("/v1/models/tiny:predict", chunked, headers)[0] == 200


def test_a_packed_body_is_refused(client):
    packed = gzip.compress(b'{"instances": [[1, 2]]}')
    status, found = client.http("/v1/models/tiny:predict", packed, {"Content-Encoding": "gzip"})
    assert (status, found["error"]) == (400, "Content-Encoding 'gzip' isn't read here. Send the body as it is.")
    assert client.http("/v1/models/tiny:predict", {"instances": [[1, 2]]}, {"Content-Encoding": "identity"})[0] == 200


def test_a_page_is_only_read_and_says_so_in_the_form_of_the_api(client):
    status, found = client.http("/monitoring/prometheus/metrics", b"x")
    assert (status, found) == (405, {"error": "POST /monitoring/prometheus/metrics: this takes GET."})


def test_rest_refuses_what_is_too_much_at_a_time_and_keeps_request_ids(client):
    client.predict.Predict(asked("slow", steps=np.array([1], np.int64)))
    body, found = {"signature_name": "slow", "inputs": [4_000]}, []
    threads = [threading.Thread(target=lambda: found.append(client.http("/v1/models/tiny:predict", body)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {200, 429}


def test_prometheus_finds_tensorflow_servings_metrics(client):
    client.predict.Predict(asked(x=ROWS))
    for number in range(3):
        client.http(f"/v1/models/unknown-{number}", None)
    deadline_s = time.monotonic() + 5
    status, page = client.http("/monitoring/prometheus/metrics")
    assert status == 200
    assert time.monotonic() < deadline_s
    assert ':tensorflow:serving:request_count{model_name="tiny",status="OK"}' in page
    assert ':tensorflow:serving:request_latency_bucket{API="Predict",entrypoint="GRPC",le="10.0",model_name="tiny"}' in page
    assert 'aisle_serving_model_available{model_name="tiny",version="2"} 1.0' in page
    assert "unknown-" not in page


def test_paths_and_methods_that_nobody_knows_are_counted_under_one_name(client):
    def counts():
        _, page = client.http("/monitoring/prometheus/metrics")
        rows = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        names = [
            ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"}',
            ':tensorflow:serving:request_latency_count{API="unknown",entrypoint="REST",model_name=""}',
            ':tensorflow:serving:request_count{model_name="tiny",status="UNIMPLEMENTED"}',
        ]
        return np.array([float(rows.get(name, 0)) for name in names]), page

    before, _ = counts()
    for number in range(3):
        assert client.http(f"/made-up-{number}")[0] == 404
        assert client.http(f"/made-up-{number}", b"body")[0] == 404
    connection = http.client.HTTPConnection(client.server.rest_address.removeprefix("http://"), timeout=30)
    for method in ("PUT", "DELETE"):
        connection.request(method, "/v1/models/tiny:predict", b"body")
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["error"]) == (
            405,
            f"{method} /v1/models/tiny:predict: this method isn't known here. Use GET or POST.",
        )
    connection.close()
    after, page = counts()
    assert list(after - before) == [6, 6, 2]
    assert "made-up" not in page
