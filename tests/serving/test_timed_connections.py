"""A whole answer comes by the deadline or not at all, however slowly a model server takes a request or drips its answer."""

import contextlib
import socket
import ssl
import threading
import time

import pytest
from grpc import StatusCode

from serving.similarity_server.model_client import ModelClient
from serving.similarity_server.timed_connections import TimedPools, until
from serving.status import ServingError
from tests.support.certificates import certified

TIMEOUT_S = 0.6
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODY = b'{"outputs": [[1.0, 2.0]]}'
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"


def read_request(connection):
    """Returns whether a request came; reads all of it."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return False
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    left = sum(lengths) - len(body)
    while left > 0:
        left -= len(connection.recv(65536))
    return True


@pytest.fixture
def listening():
    """Starts servers that do something with each connection, and gives their ports."""
    with contextlib.ExitStack() as stack:

        def started(answer, context=None):
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            is_over = threading.Event()

            def serve():
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = server.accept()
                        connection.settimeout(30)
                        with (
                            contextlib.suppress(OSError),
                            context.wrap_socket(connection, server_side=True) if context else connection as one,
                        ):
                            answer(one, is_over)

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown, socket.SHUT_RDWR)
            stack.callback(is_over.set)
            return server.getsockname()[1]

        yield started


def dripping(data, at_once=0):
    """Returns what answers a byte every tenth of a second, after some at once."""

    def answer(connection, is_over):
        if read_request(connection):
            connection.sendall(data[:at_once])
            for place in range(at_once, len(data)):
                if is_over.wait(0.1):
                    return
                connection.sendall(data[place : place + 1])

    return answer


def prompt(connection, _):
    while read_request(connection):
        connection.sendall(WHOLE)


def refused(ask):
    started_s = time.monotonic()
    with pytest.raises(ServingError) as caught:
        ask()
    assert caught.value.code == StatusCode.DEADLINE_EXCEEDED
    return time.monotonic() - started_s


@pytest.mark.parametrize(
    ("data", "at_once"),
    [(WHOLE, 0), (WHOLE, len(WHOLE) - len(BODY)), (CHUNKED, CHUNKED.index(b"\r\n\r\n") + 4)],
    ids=["head", "body", "chunks"],
)
def test_an_answer_that_drips_is_given_up_in_time(listening, data, at_once):
    client = ModelClient(f"http://127.0.0.1:{listening(dripping(data, at_once))}", "shop", TIMEOUT_S)
    assert TIMEOUT_S <= refused(lambda: client.embed([b"x"], 7)) < 2 * TIMEOUT_S
    client.close()


def test_the_requests_own_deadline_holds_where_it_is_sooner(listening):
    client = ModelClient(f"http://127.0.0.1:{listening(dripping(WHOLE))}", "shop", 30.0)
    assert refused(lambda: client.embed([b"x"], 7, time.monotonic() + TIMEOUT_S)) < 2 * TIMEOUT_S
    client.close()


def test_a_server_that_hardly_takes_a_request_is_given_up_in_time(listening):
    def slow(connection, is_over):
        while not is_over.wait(0.1) and connection.recv(1_000):
            pass

    client = ModelClient(f"http://127.0.0.1:{listening(slow)}", "shop", TIMEOUT_S)
    assert refused(lambda: client.embed([bytes(20_000_000)], 7)) < 3 * TIMEOUT_S  # Writing 27 MB of JSON takes a while, too.
    client.close()


def test_a_prompt_server_is_asked_over_one_connection_whatever_time_was_left_before(listening):
    connections = []

    def counted(connection, is_over):
        connections.append(connection)
        prompt(connection, is_over)

    client = ModelClient(f"http://127.0.0.1:{listening(counted)}", "shop", 30.0)
    for left_s in (20, 1, 20):
        assert client.embed([b"x"], 7, time.monotonic() + left_s).tolist() == [[1.0, 2.0]]
    assert len(connections) == 1
    client.close()


def test_it_holds_over_tls_too(listening, tmp_path):
    key, certificate = certified()
    (tmp_path / "both.pem").write_bytes(key + certificate)
    (tmp_path / "certificate.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    client = ModelClient(f"https://127.0.0.1:{listening(dripping(WHOLE), context)}", "shop", TIMEOUT_S)
    client._pool.connection_pool_kw["ca_certs"] = str(tmp_path / "certificate.pem")
    assert TIMEOUT_S <= refused(lambda: client.embed([b"x"], 7)) < 2 * TIMEOUT_S
    client._root = f"https://127.0.0.1:{listening(prompt, context)}/v1/models/shop"
    assert client.embed([b"x"], 7, time.monotonic() + 20).tolist() == [[1.0, 2.0]]
    client.close()


def test_where_no_time_is_left_nothing_is_sent(listening):
    pools = TimedPools(retries=False)
    with until(time.monotonic() - 1), pytest.raises(Exception, match="timed out"):
        pools.request("GET", f"http://127.0.0.1:{listening(prompt)}/")
    pools.clear()
