"""Sends damaged and odd requests to a model server and counts how each ends.

`.venv/bin/python -W ignore -m tests.fuzz.serving_requests --requests 10000` starts the program with a tiny model, sends half of them over
gRPC and half over REST, and writes benchmarks/results/serving_fuzz.md. Expect 0 crashes, 0 hangs, nothing but proper statuses.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.model_server.grpc_server import MODEL, PREDICTION
from tests.fuzz.messages import shake
from tests.fuzz.request_campaign import HANG_S, Campaign, Outcome, damaged, odd, run
from tests.support.tiny_model import write_tiny_model

CODES = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
}
STATUSES = {200, 400, 404, 405, 413, 429}
_RELOAD = "HandleReloadConfigRequest"
_EXAMPLES = [{"features": {"feature": {"price": {"floatList": {"value": [0.5]}}}}}, {"features": {}}]
_CONTEXT = {"features": {"feature": {"price": {"floatList": {"value": [2]}}, "n": {"int64List": {"value": [3]}}}}}
_SPEC = {"name": "tiny", "signatureName": "", "version": "2"}


@dataclass(frozen=True)
class Method:
    """One method over gRPC.

    Attributes:
        service: its full name.
        message: class of its request.
        whole: one that is answered, as JSON.
    """

    service: str
    message: Any
    whole: dict[str, Any]


def methods_of(base_path: Path) -> dict[str, Method]:
    """Returns every method by its name.

    Args:
        base_path: of the model `tiny`, with versions 1 and 2, that the server serves.
    """
    title = {"dtype": "DT_STRING", "tensorShape": {"dim": [{"size": "1"}]}, "stringVal": ["YQ=="]}
    price = {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "1"}]}, "floatVal": [2.5]}
    config = {
        "name": "tiny",
        "basePath": str(base_path),
        "modelPlatform": "tensorflow",
        "modelVersionPolicy": {"specific": {"versions": ["1", "2"]}},
        "versionLabels": {"stable": "1", "canary": "2"},
    }
    given, both = {"exampleList": {"examples": _EXAMPLES}}, {"exampleListWithContext": {"examples": _EXAMPLES, "context": _CONTEXT}}
    tasks = [
        {"modelSpec": {"name": "tiny", "signatureName": kind}, "methodName": f"tensorflow/serving/{kind}"}
        for kind in ("classify", "regress")
    ]
    labelled = {"name": "tiny", "signatureName": "regress", "versionLabel": "stable"}
    return {
        "Predict": Method(
            PREDICTION,
            predict_pb2.PredictRequest,
            {"modelSpec": {**_SPEC, "signatureName": "text"}, "inputs": {"title": title, "price": price}, "outputFilter": ["upper"]},
        ),
        "Classify": Method(
            PREDICTION, classification_pb2.ClassificationRequest, {"modelSpec": {**_SPEC, "signatureName": "classify"}, "input": given}
        ),
        "Regress": Method(PREDICTION, regression_pb2.RegressionRequest, {"modelSpec": labelled, "input": both}),
        "MultiInference": Method(PREDICTION, inference_pb2.MultiInferenceRequest, {"tasks": tasks, "input": given}),
        "GetModelMetadata": Method(
            PREDICTION, get_model_metadata_pb2.GetModelMetadataRequest, {"modelSpec": _SPEC, "metadataField": ["signature_def"]}
        ),
        "GetModelStatus": Method(MODEL, get_model_status_pb2.GetModelStatusRequest, {"modelSpec": _SPEC}),
        _RELOAD: Method(MODEL, model_management_pb2.ReloadConfigRequest, {"config": {"modelConfigList": {"config": [config]}}}),
    }


# Verb to a body that is answered; None: a GET.
BODIES: dict[str, Any] = {
    ":predict": {"signature_name": "text", "instances": [{"title": "a", "price": 1}, {"title": {"b64": "YQ=="}, "price": 2.5}]},
    ":Predict": {"signature_name": "text", "inputs": {"title": ["a", {"b64": "YQ=="}], "price": [1, 2.5]}},
    ":classify": {"signature_name": "classify", "context": {"price": 0.5}, "examples": [{"title": ["a", "b"]}, {"price": 1.0}, {}]},
    ":regress": {"signature_name": "regress", "examples": [{"price": 0.5}, {"n": [1, 2], "x": {"b64": "YQ=="}}]},
    "/metadata": None,
    "": None,
}
PLACES = ("", "", "/versions/1", "/versions/2", "/labels/stable")
_ODD_PARTS = (
    "/",
    "//",
    ":",
    "%2F",
    "%00",
    "..",
    "é",
    "\x00",
    " ",
    "\n",
    "?x=1",
    "#",
    "9" * 19,
    "9" * 40,
    "-1",
    "0x1",
    "labels",
    "versions/",
    "a" * 3_000,
)


def over_grpc(channel: grpc.Channel, methods: dict[str, Method], count: int, rng: random.Random, found: Outcome) -> None:
    """Sends damaged messages of every method, and well-formed ones with odd values. A reload that succeeds is taken back."""
    calls = {api: channel.unary_unary(f"/{method.service}/{api}") for api, method in methods.items()}
    whole = {api: json_format.ParseDict(method.whole, method.message()) for api, method in methods.items()}
    for number in range(count):
        api = list(methods)[number % len(methods)]
        message = methods[api].message()
        message.CopyFrom(whole[api])
        if number % 4:
            shake(message, rng)
        raw = message.SerializeToString() if number % 4 else damaged(message.SerializeToString(), rng)
        code, said, started_s = "OK", "", time.monotonic()
        try:
            calls[api](raw, timeout=HANG_S + 10)
        except grpc.RpcError as error:
            code, said = error.code().name, str(error.details())
        found.add("gRPC", code, code in CODES, f"{api}: {said}", time.monotonic() - started_s)
        if api == _RELOAD and code == "OK":
            calls[api](whole[api].SerializeToString(), timeout=HANG_S + 10)


def odd_path(rng: random.Random, verb: str) -> str:
    """Returns a path of the API, in which a part here and there isn't what it should be."""
    parts = ["/v1/models/", "tiny", rng.choice(PLACES), verb]
    if rng.random() < 0.4:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(_ODD_PARTS))
    if rng.random() < 0.1:
        parts.pop(rng.randrange(len(parts)))
    return "/" + quote("".join(parts).lstrip("/"), safe="/:%?=#.")


def over_rest(address: str, count: int, rng: random.Random, found: Outcome) -> None:
    """Sends damaged and odd bodies to every route, and whole ones to odd routes."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=HANG_S + 10)
    for number in range(count):
        verb = list(BODIES)[number % len(BODIES)]
        whole, path = BODIES[verb], odd_path(rng, verb)
        body = None if whole is None else json.dumps(whole if rng.random() < 0.2 else odd(whole, rng)).encode()
        body = damaged(body, rng) if body and rng.random() < 0.4 else body
        method = "GET" if body is None else "POST"
        started_s = time.monotonic()
        connection.request(method if rng.random() < 0.97 else rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]), path, body)
        response = connection.getresponse()
        said = response.read().decode()
        is_proper = response.status in STATUSES and (response.status == 200 or not said or "error" in json.loads(said))
        found.add("HTTP", response.status, is_proper, f"{method} {path[:100]}: {said}", time.monotonic() - started_s)
    connection.close()


def _base_path(folder: Path) -> Path:
    return folder / "models" / "tiny"


def _words(folder: Path) -> list[str]:
    for version in (1, 2):
        write_tiny_model(_base_path(folder) / str(version), version)
    return ["serve", "--model-base-path", str(_base_path(folder)), "--rest-api-port=0"]


CAMPAIGN = Campaign(
    module="serving_requests",
    server="the model server",
    sent="bytes damaged, whole messages with values that nobody means, odd paths",
    result="serving_fuzz.md",
    num_first=200,
    words=_words,
    over_grpc=lambda channel, folder, count, rng, found: over_grpc(channel, methods_of(_base_path(folder)), count, rng, found),
    over_rest=over_rest,
)

if __name__ == "__main__":
    sys.exit(run(CAMPAIGN, sys.argv[1:]))
