"""Reads TensorFlow Serving's own configuration files, and refuses what can't be used with the place and the way out."""

import os
import socket
import threading

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from schemas.errors import AisleError, SettingsError
from serving.grpc_calls import GrpcPort
from serving.model_server.batching import BatchingParameters
from serving.model_server.config_files import read_batching, read_metrics_path, read_models
from serving.model_server.model_config import ModelConfig, VersionPolicy
from serving.model_server.server import ModelServer, ServerOptions
from serving.status import ServingError
from serving.tls import read_tls
from tests.serving.conftest import stubs
from tests.serving.test_protocols import ROWS, asked, refusal
from tests.support.certificates import certified, quoted


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "given.config"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


MODELS = """
model_config_list {
  config {
    name: "shop" base_path: "/models/shop" model_platform: "tensorflow"
    model_version_policy { specific { versions: 41 versions: 42 } }
    version_labels { key: "stable" value: 41 }
  }
  config { name: "all" base_path: "/models/all" model_version_policy { all {} } }
  config { name: "two" base_path: "/models/two" model_version_policy { latest { num_versions: 2 } } }
}
"""


def test_models_policies_and_labels_are_read(file):
    shop, every, two = read_models(file(MODELS))
    assert (shop.name, str(shop.base_path), dict(shop.labels)) == ("shop", "/models/shop", {"stable": 41})
    assert shop.policy == VersionPolicy("specific", versions=(41, 42))
    assert (every.policy, two.policy) == (VersionPolicy("all"), VersionPolicy("latest", 2))


def test_batching_parameters_have_tensorflow_servings_names_and_defaults(file):
    text = "max_batch_size { value: 128 } batch_timeout_micros { value: 500 } num_batch_threads { value: 4 } allowed_batch_sizes: [64, 128]"
    found = read_batching(file(text + ' max_enqueued_batches { value: 9 } thread_pool_name { value: "p" }'), 2)
    assert found == BatchingParameters(128, 500, 9, 4, (64, 128))
    assert read_batching(None, 6) == BatchingParameters(1000, 0, 10, 6)


def test_monitoring_says_whether_and_where(file):
    assert read_metrics_path(None) == "/monitoring/prometheus/metrics"
    assert read_metrics_path(file('prometheus_config { enable: true path: "/metrics" }')) == "/metrics"
    assert read_metrics_path(file("prometheus_config { enable: false }")) == ""


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_models, "model_config_list { confg {} }", r"given.config: this isn't ModelServerConfig in text format: 1:\d+"),
        (read_models, b"\xff", "this isn't ModelServerConfig"),
        (read_models, "", "found nothing, expected model_config_list"),
        (read_models, "model_config_list {}", "it holds 0 models"),
        (read_models, 'model_config_list { config { name: "a" base_path: "models/a" } }', "isn't an absolute path"),
        (read_models, 'model_config_list { config { name: "a/b" base_path: "/a" } }', "isn't one a request can hold"),
        (read_models, 'model_config_list { config { name: "a" base_path: "/a" model_platform: "onnx" } }', "'onnx' isn't served here"),
        (read_models, "model_config_list { " + 'config { name: "a" base_path: "/a" } ' * 2 + "}", "'a' is listed twice"),
        (read_models, "#" * 1_000_001, "more than 1000000 bytes"),
        (lambda path: read_batching(path, 2), "max_batch_size { value: 0 }", "max_batch_size is 0, expected 1 or more"),
        (
            lambda path: read_batching(path, 2),
            "max_batch_size { value: 4 } allowed_batch_sizes: 2",
            "must rise and end with max_batch_size",
        ),
        (lambda path: read_batching(path, 2), "pad_variable_length_inputs: true", "isn't BatchingParameters in text format"),
        (read_metrics_path, 'prometheus_config { enable: true path: "metrics" }', "must begin with /"),
        (read_tls, 'server_key: "k"', "server_key or server_cert is missing"),
        (read_tls, 'server_key: "k" server_cert: "c" client_verify: true', "client_verify needs custom_ca"),
    ],
)
def test_a_file_that_cant_be_used_is_refused(file, read, text, message):
    with pytest.raises(SettingsError, match=message) as caught:
        read(path := file(text))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_isnt_there_is_named(tmp_path):
    with pytest.raises(AisleError, match="none.config: can't be read: No such file"):
        read_models(tmp_path / "none.config")


# TLS.


def test_both_ports_speak_tls_and_clients_may_have_to_show_a_certificate(start, base_path, file):
    key, certificate = certified()
    client_key, client_certificate = certified()
    text = f"server_key: {quoted(key)} server_cert: {quoted(certificate)} custom_ca: {quoted(client_certificate)} client_verify: true"
    client = start(ModelConfig("tiny", base_path), ssl_config_file=file(text))
    assert client.server.rest_address.startswith("https://")
    known = grpc.ssl_channel_credentials(certificate, client_key, client_certificate)
    assert stubs(client.server, known)[0].Predict(asked(x=ROWS)).model_spec.version.value == 2
    for stranger in (grpc.ssl_channel_credentials(certificate), None):
        assert refusal(stubs(client.server, stranger)[0].Predict, asked(x=ROWS), timeout=5)[0] == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("case", ["mixed", "swapped", "locked", "authority"])
def test_keys_and_certificates_that_cant_be_used_are_refused_by_the_name_of_their_file(file, case):
    (key, certificate), (other, _) = certified(), certified()
    authority = 'custom_ca: "-----BEGIN" client_verify: true' if case == "authority" else ""
    message = {"locked": "server_key has a pass phrase", "authority": "custom_ca can't be used"}.get(case, "Check that each is the text of")
    if case == "locked":  # Nobody is asked for the phrase.
        locked = serialization.BestAvailableEncryption(b"phrase")
        loaded = serialization.load_pem_private_key(key, None)
        key = loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    if case == "mixed":
        key = other
    if case == "swapped":
        key, certificate = certificate, key
    path = file(f"server_key: {quoted(key)} server_cert: {quoted(certificate)} {authority}")
    with pytest.raises(SettingsError, match=message) as caught:
        read_tls(path).http_context()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_model_is_found_by_any_name_it_may_have(start, base_path):
    client = start(ModelConfig("my shop ü%", base_path, labels={"blue, green": 2}))
    assert client.predict.Predict(asked(name="my shop ü%", x=ROWS, label="blue, green")).model_spec.version.value == 2
    for path in ("/v1/models/my%20shop%20%C3%BC%25", "/v1/models/my%20shop%20%C3%BC%25/labels/blue%2C%20green"):
        assert client.http(f"{path}:predict", {"instances": ROWS.tolist()})[0] == 200
        assert client.http(f"{path}/metadata")[0] == 200
    assert client.http("/v1/models/my%20shop")[0] == 404
    assert client.http("/v1/models/%FF%00%2F:predict", {})[0] == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_busy_port_is_refused_before_grpc_writes_about_it(capfd, host):
    try:
        busy = socket.create_server((host.strip("[]"), 0), family=socket.AF_INET6 if "[" in host else socket.AF_INET)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with busy:
        address = f"{host}:{busy.getsockname()[1]}"
        with pytest.raises(ServingError, match="the port can't be used: Address already in use. Free it, or name another with --port"):
            GrpcPort([], lambda server: None, address, 1, 1_000)
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings(
    "ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning"
)  # Tornado leaves what it couldn't bind unclosed.
@pytest.mark.parametrize("taken", ["port", "rest_api_port"])
def test_where_one_port_is_taken_the_other_is_given_back(base_path, taken):
    with socket.create_server(("127.0.0.1", 0)) as busy, socket.create_server(("127.0.0.1", 0)) as free:
        (other,) = {"port", "rest_api_port"} - {taken}
        ports = {taken: busy.getsockname()[1], other: free.getsockname()[1]}
        free.close()
        threads = set(threading.enumerate())
        with pytest.raises(ServingError, match="the port can't be used: Address already in use"):
            ModelServer(ServerOptions(models=(ModelConfig("tiny", base_path),), enable_batching=True, **ports))
        socket.create_server(("127.0.0.1", ports[other])).close()
        assert set(threading.enumerate()) <= threads


def test_a_server_that_cant_start_gives_its_ports_back(base_path):
    server = ModelServer(ServerOptions(models=(ModelConfig("tiny", base_path / "none"),), port=0, rest_api_port=0))
    with pytest.raises(ServingError, match="can't be read"):
        server.start()
    server.stop()
    for address in (server.grpc_address, server.rest_address):
        socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))).close()


@pytest.mark.parametrize("host", ["x y", ""])
def test_a_host_that_isnt_there_is_refused(capfd, host):
    with pytest.raises(ServingError, match=f"^{host}:0: the port can't be used: .*. Name an address of this machine with --host.$"):
        GrpcPort([], lambda server: None, f"{host}:0", 1, 1_000)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["999.1.1.1", "ü:x", "a..b", "192.0.2.1"])
@pytest.mark.filterwarnings(
    "ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning"
)  # Tornado leaves what it couldn't bind unclosed.
def test_a_server_says_that_its_host_is_no_address_of_the_machine(base_path, host):
    with pytest.raises(ServingError, match="the port can't be used: .*. Name an address of this machine with --host.$"):
        ModelServer(ServerOptions(models=(ModelConfig("tiny", base_path),), host=host, port=0, rest_api_port=0))


@pytest.mark.timeout(60)
def test_a_configuration_file_may_be_a_pipe_where_nobody_looks_again(start, base_path, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    text = f'model_config_list {{ config {{ name: "tiny" base_path: "{base_path}" }} }}'
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,))
    writer.start()
    assert start(model_config_file=tmp_path / "pipe").server.models.served() == {"tiny": [2]}
    writer.join()


def test_a_key_of_another_certificate_is_refused(start, base_path, file):
    text = f"server_key: {quoted(certified()[0])} server_cert: {quoted(certified()[1])}"
    with pytest.raises(AisleError, match="that they belong together"):
        start(ModelConfig("tiny", base_path), ssl_config_file=file(text))
