"""Sends damaged and odd requests to a model server and counts how each ends.

`.venv/bin/python -W ignore -m tests.fuzz.serving_requests --requests 10000` starts the program with a tiny model, sends half of them over
gRPC and half over REST, and writes benchmarks/results/serving_fuzz.md. Expect 0 crashes, 0 hangs, nothing but proper statuses.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
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
from tests.fuzz.similarity_requests import HANG_S, Outcome, damaged, odd
from tests.support.tiny_model import write_tiny_model

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "serving_fuzz.md"
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


def _resident_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _program(folder: Path) -> subprocess.Popen[str]:
    for version in (1, 2):
        write_tiny_model(folder / "models" / "tiny" / str(version), version)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pipeline.cli",
        "serve",
        "--json",
        "--log-requests=errors",
        "--port=0",
        "--rest-api-port=0",
    ]
    with (folder / "log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            [*command, "--model-base-path", str(folder / "models" / "tiny")], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        )


def main(arguments: Sequence[str]) -> int:
    """Starts the program, sends the requests, writes the page; 1 where an answer wasn't proper."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.serving_requests", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args(arguments)
    rng, found = random.Random(given.seed), Outcome()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server, methods = _program(folder), methods_of(folder / "models" / "tiny")
        try:
            addresses = json.loads(server.stdout.readline())  # type: ignore[union-attr]
            with grpc.insecure_channel(addresses["grpc"]) as channel:
                over_grpc(channel, methods, 200, rng, Outcome())
                before_mb, started_s = _resident_mb(server.pid), time.monotonic()
                over_grpc(channel, methods, given.requests // 2, rng, found)
            over_rest(addresses["rest"], given.requests - given.requests // 2, rng, found)
            seconds, grown_mb = time.monotonic() - started_s, _resident_mb(server.pid) - before_mb
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
        lines = (folder / "log").read_text(encoding="utf-8").splitlines()
    tracebacks = [json.loads(line)["traceback"] for line in lines if '"traceback": ' in line]
    shown = ", ".join(f"{name}: {count:,}" for name, count in sorted(found.counts.items()))
    text = (
        f"# Malformed requests to the model server\n\n`python -m tests.fuzz.serving_requests --requests {given.requests}`\n\n"
        f"Every method, over gRPC and REST: bytes damaged, whole messages with values that nobody means, odd paths, seed {given.seed}.\n\n"
        f"{given.requests:,} requests in {seconds:.0f} s: {shown}.\n\n"
        f"Not a proper answer: {len(found.wrong)}. Tracebacks in the log: {len(tracebacks)}. Slowest: {found.slowest_s:.2f} s. "
        f"Memory grown by {grown_mb:.0f} MB.\nThe server ended with exit code {code} when it was told to.\n"
    )
    given.out.write_text(text, encoding="utf-8")
    sys.stdout.write("\n".join([text, *found.wrong[:20], *sorted(set(tracebacks))[:5]]))
    return 1 if found.wrong or code or tracebacks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
