"""Clients that send slowly, much, on many connections, or while the server stops, get an answer each, and none of them the memory."""

import contextlib
import http.client
import json
import socket
import ssl
from collections import Counter

import numpy as np
import pytest

from schemas.errors import SettingsError
from serving import http_port
from serving.model_server.model_config import ModelConfig
from tests.serving.test_protocols import asked
from tests.serving.test_swaps import until
from tests.support.certificates import certified, quoted

PREDICT = "/v1/models/tiny:predict"
BODY = json.dumps({"instances": [[1, 2]]}).encode()


def address_of(client):
    host, port = client.server.rest_address.partition("://")[2].rsplit(":", 1)
    return host, int(port)


def begun(client, num_bytes, sent=b"", path=PREDICT):
    """Returns a connection on which a request of so many bytes is begun, and these of them are sent."""
    connection = socket.create_connection(address_of(client), timeout=30)
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {num_bytes}\r\n\r\n".encode() + sent)
    return connection


def answer_on(connection):
    """Returns status, JSON and whether the server ends the connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    found = response.status, json.loads(response.read()), response.getheader("Connection") == "close"
    connection.close()
    return found


def held(client):
    return client.server.rest_bounds.open.num_bytes


def test_bodies_that_are_still_being_sent_share_a_bound_and_one_too_many_is_told(start, base_path):
    client = start(ModelConfig("tiny", base_path), max_message_bytes=1_000_000, max_body_bytes=2_000_000)
    slow = [begun(client, 900_000, b" " * 800_000) for _ in range(2)]
    until(lambda: held(client) == 1_600_000)
    status, found, is_last = answer_on(begun(client, 900_000, b" " * 900_000))
    assert (status, is_last) == (429, True)
    assert "together they may hold 2000000. Try again later." in found["error"]
    assert client.http(PREDICT, BODY)[0] == 200  # A small one has room.
    slow[0].sendall(b" " * (100_000 - len(BODY)) + BODY)
    assert answer_on(slow[0])[:2] == (200, {"predictions": [{"version": 2, "y": [2.0, 4.0]}]})
    slow[1].close()  # In the middle.
    until(lambda: held(client) == 0)
    assert client.http(PREDICT, b" " * 900_000 + BODY)[0] == 200


def test_a_large_body_that_is_refused_is_read_so_that_its_client_sees_why(start, base_path):
    client = start(ModelConfig("tiny", base_path), max_message_bytes=20_000_000, max_body_bytes=20_000_000)
    for path, num_bytes, status, message in (
        (PREDICT, 30_000_000, 413, "larger than"),
        ("/models/tiny:predict", 15_000_000, 404, "nothing at"),
    ):
        found, answer = client.http(path, bytes(num_bytes))
        assert (found, message in answer["error"]) == (status, True)
    assert held(client) == 0


def test_a_body_that_stops_coming_is_forgotten(start, base_path, monkeypatch):
    monkeypatch.setattr(http_port, "_IDLE_S", 0.5)
    client = start(ModelConfig("tiny", base_path))
    with contextlib.closing(begun(client, 100, b" " * 50)) as connection:
        until(lambda: held(client) == 50)
        assert connection.recv(1) == b""  # Closed.
    until(lambda: held(client) == 0)


def test_an_answer_that_nobody_takes_is_forgotten(start, base_path, monkeypatch):
    monkeypatch.setattr(http_port, "_SEND_S", 0.5)
    client = start(ModelConfig("tiny", base_path), max_message_bytes=20_000_000)
    body = json.dumps({"instances": [[1, 2]] * 400_000}).encode()
    with contextlib.closing(begun(client, len(body), body)):
        until(lambda: held(client) > 2 * len(body))  # Read, and answered by more than a socket's buffers take.
        until(lambda: held(client) == 0)
    assert client.http(PREDICT, BODY)[0] == 200


def test_pages_that_take_no_body_hold_none(start, base_path):
    client = start(ModelConfig("tiny", base_path), max_message_bytes=1_000_000)
    connection = begun(client, 50_000_000, b" " * 100_000, path="/monitoring/prometheus/metrics")
    assert b" 400 " in connection.recv(1_000)
    connection.close()


def test_connections_above_the_limit_are_told_and_the_others_answered(start, base_path):
    client = start(ModelConfig("tiny", base_path), max_connections=3)
    taken = [http.client.HTTPConnection(*address_of(client), timeout=30) for _ in range(3)]
    for one in taken:
        one.request("POST", PREDICT, BODY)
        assert one.getresponse().read()
    for _ in range(20):
        status, found = client.http(PREDICT, BODY)
        assert (status, "no more connections are taken: 3 may be open at a time" in found["error"]) == (503, True)
    taken[0].request("POST", PREDICT, BODY)
    assert taken[0].getresponse().status == 200
    for one in taken:
        one.close()
    until(lambda: client.http(PREDICT, BODY)[0] == 200)


def test_connections_above_the_limit_are_closed_where_they_speak_tls(start, base_path, tmp_path):
    key, certificate = certified()
    (tmp_path / "tls.config").write_text(f"server_key: {quoted(key)} server_cert: {quoted(certificate)}", encoding="utf-8")
    client = start(ModelConfig("tiny", base_path), max_connections=1, ssl_config_file=tmp_path / "tls.config")
    context = ssl.create_default_context(cadata=certificate.decode())
    context.check_hostname = False
    with context.wrap_socket(socket.create_connection(address_of(client), timeout=30)), pytest.raises(OSError):
        context.wrap_socket(socket.create_connection(address_of(client), timeout=30))


def test_one_message_always_has_room(base_path, start):
    with pytest.raises(SettingsError, match="--max-body-bytes 10 is less than --max-message-bytes 20"):
        start(ModelConfig("tiny", base_path), max_message_bytes=20, max_body_bytes=10)


@pytest.mark.parametrize(
    ("num_calls", "allowed"), [(60, {"OK", "RESOURCE_EXHAUSTED"}), (3_000, {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})]
)
def test_a_flood_of_calls_on_one_connection_is_refused_and_the_server_answers_on(start, base_path, num_calls, allowed):
    client = start(ModelConfig("tiny", base_path), max_in_flight=2)
    slow = asked("slow", steps=np.array([500], np.int64))
    client.predict.Predict(slow)
    calls = [client.predict.Predict.future(slow) for _ in range(num_calls)]
    codes = Counter(one.exception().code().name if one.exception() else "OK" for one in calls)
    assert set(codes) <= allowed
    assert codes["OK"] >= 2
    assert client.predict.Predict(slow).model_spec.version.value == 2
