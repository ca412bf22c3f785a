"""Starts the program itself, asks it, and stops it."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from pipeline.cli import main
from tests.serving.test_protocols import ROWS, asked
from tests.serving.test_swaps import until, write_warmup

ROOT = Path(__file__).parents[2]
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


@pytest.fixture
def program(base_path, request):
    """The program with a free port for each protocol; a parameter holds more of its options."""
    command = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "serve",
        "--json",
        "--model_base_path",
        str(base_path),
        "--port=0",
        "--rest_api_port=0",
        *getattr(request, "param", ()),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | QUIET)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


@pytest.mark.slow
def test_the_program_serves_until_it_is_told_to_stop_and_ends_what_it_began(program):
    addresses = json.loads(program.stdout.readline())
    assert addresses["models"] == {"tiny": [2]}
    assert addresses["grpc"].startswith("127.0.0.1:")
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(program.stderr))
    reader.start()
    with grpc.insecure_channel(addresses["grpc"]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(asked(x=ROWS), metadata=(("x-request-id", "mine"),))
        stub.Predict(asked("slow", steps=np.array([1])), timeout=60)
        running = stub.Predict.future(asked("slow", steps=np.array([8_000])))
        connection = http.client.HTTPConnection(addresses["rest"].removeprefix("http://"), timeout=30)
        connection.request("POST", "/v1/models/tiny:predict", json.dumps({"instances": [[1, 2]]}))
        assert json.load(connection.getresponse()) == {"predictions": [{"version": 2, "y": [2.0, 4.0]}]}
        connection.close()
        program.send_signal(signal.SIGTERM)
        assert running.result(timeout=60).model_spec.version.value == 2
    assert program.wait(60) == 0
    reader.join()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    (mine,) = [row for row in rows if row.get("request_id") == "mine"]
    assert (mine["api"], mine["model"], mine["status"], mine["protocol"]) == ("Predict", "tiny", "OK", "grpc")
    assert mine["ms"] >= 0


def half_sent(address, body):
    """Returns a connection on which half of a Predict request is sent."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/v1/models/tiny:predict")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[: len(body) // 2])
    return connection


@pytest.mark.slow
def test_a_configuration_says_what_to_serve_and_how(base_path, tmp_path):
    (tmp_path / "shop.yaml").write_text(
        "serving: {model_base_path: models/tiny, model_name: shop, port: 0, rest_api_port: 0, max_message_bytes: 50}\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--config", str(tmp_path / "shop.yaml"), "--json", "--model-name", "mine"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | QUIET
    ) as program:
        addresses = json.loads(program.stdout.readline())
        assert addresses["models"] == {"mine": [2]}
        with closing(http.client.HTTPConnection(addresses["rest"].removeprefix("http://"), timeout=60)) as connection:
            connection.request("POST", "/v1/models/mine:predict", b" " * 51)
            assert connection.getresponse().status == 413
        program.send_signal(signal.SIGTERM)
        assert program.wait(60) == 0


def said(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def page(address):
    return said(f"{address}/monitoring/prometheus/metrics")


def stopping(program):
    """Tells the program to stop, and waits until it says that it does."""
    program.send_signal(signal.SIGTERM)
    while "stopping" not in program.stderr.readline():
        pass


@pytest.mark.slow
def test_a_request_that_is_half_sent_at_the_stop_may_be_sent_to_its_end(program):
    address, body = json.loads(program.stdout.readline())["rest"], json.dumps({"instances": [[1, 2]]}).encode()
    with (
        closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)) as idle,
        closing(half_sent(address, body)) as half,
    ):
        idle.request("GET", "/v1/models/tiny")
        assert idle.getresponse().read()
        stopping(program)
        time.sleep(0.5)
        idle.request("POST", "/v1/models/tiny:predict", body)
        response = idle.getresponse()
        assert (response.status, json.load(response)["error"][:27]) == (503, "the server is shutting down")
        half.send(body[len(body) // 2 :])
        assert json.load(half.getresponse()) == {"predictions": [{"version": 2, "y": [2.0, 4.0]}]}
    assert program.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("program", [["--grace-seconds=0.5"]], indirect=True)
def test_a_request_that_is_half_sent_when_the_grace_ends_is_told_so(program):
    addresses, body = json.loads(program.stdout.readline()), json.dumps({"instances": [[1, 2]]}).encode()
    with closing(half_sent(addresses["rest"], body)) as half, grpc.insecure_channel(addresses["grpc"]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(asked("slow", steps=np.array([1])))
        long = stub.Predict.future(asked("slow", steps=np.array([10_000_000])))
        until(lambda: "aisle_serving_in_flight 1.0" in page(addresses["rest"]))
        stopping(program)
        answer = half.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (503, "close")
        assert "the server is shutting down" in json.load(answer)["error"]
        assert long.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    assert program.wait(20) == 0  # Although the model would compute on for minutes.


@pytest.mark.slow
@pytest.mark.parametrize("program", [["--grace-seconds=0.5"]], indirect=True)
def test_a_rest_request_that_is_still_computed_when_the_grace_ends_is_told_so(program):
    address = json.loads(program.stdout.readline())["rest"]
    with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)) as connection:
        connection.request("POST", "/v1/models/tiny:predict", json.dumps({"signature_name": "slow", "inputs": [10_000_000]}))
        until(lambda: "aisle_serving_in_flight 1.0" in page(address))
        stopping(program)
        answer = connection.getresponse()
        assert (answer.status, "the server is shutting down" in json.load(answer)["error"]) == (503, True)
    assert program.wait(20) == 0  # Although the model would compute on for minutes.


@pytest.mark.slow
@pytest.mark.parametrize("program", [["--grace-seconds=0.5", "--file-system-poll-wait-seconds=0.1"]], indirect=True)
def test_a_model_that_is_being_loaded_when_the_grace_ends_doesnt_keep_the_program(program, base_path):
    address = json.loads(program.stdout.readline())["rest"]
    shutil.copytree(base_path / "2", base_path.parent / "3")
    write_warmup(base_path.parent / "3", asked("slow", steps=np.array([10_000_000])))  # Minutes.
    (base_path.parent / "3").rename(base_path / "3")
    until(lambda: '"LOADING"' in said(f"{address}/v1/models/tiny"))
    program.send_signal(signal.SIGTERM)
    assert program.wait(15) == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--model-base-path", "a", "--model-config-file", "b"], 2, "say once what to serve"),
        (["--set", "serving.model_base_path=a", "--set", "serving.model_config_file=b"], 2, "say once what to serve: serving.model_base"),
        (["--config", "NOWHERE"], 2, "there is no such configuration file"),
        (["--set", "serving.prot=1"], 2, "unknown setting 'serving.prot'. Did you mean 'serving.port'?"),
        (["--set", "serving.port=70000"], 2, "--set serving.port=70000: serving.port 70000 is out of range. Allowed: in [0, 65535]"),
        (["--set", "serving.grace_seconds=soon"], 2, "serving.grace_seconds 'soon' must be a number"),
        (["--set", "serving.log_requests=some"], 2, "Known: all, errors, none"),
        (["--model-config-file", "b", "--model-name", "c"], 2, "b: a configuration file names the models itself."),
        (["--set", "serving.model_config_file=b", "--model-name", "c"], 2, "Put the name there, and leave out --model-name."),
        (["--model-base-path", "EMPTY", "--model-name", "a/b"], 1, "model name 'a/b' isn't one a request can hold. Use 1 to 200 letters"),
        (["--model-base-path", "NOWHERE"], 1, "the model's folder can't be read: No such file"),
        (["--model-config-file", "NOWHERE"], 2, "can't be read: No such file"),
        (["--model-base-path", "EMPTY"], 1, "there is no folder of a version. Found: none"),
        (["--model-base-path", "EMPTY", "--batching-parameters-file", "b"], 2, "Add --enable-batching"),
        (["--set", "push.folder=EMPTY"], 1, "nothing is live here"),
    ],
)
def test_what_cant_be_served_is_refused_in_one_line(tmp_path, capsys, monkeypatch, words, code, message):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    places = {"NOWHERE": str(tmp_path / "none"), "EMPTY": str(tmp_path)}
    ports = ["--port", "0", "--rest-api-port", "0"]
    given = [places.get(word) or word.replace("EMPTY", str(tmp_path)) for word in words]
    assert main(["serve", *given, *ports]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
