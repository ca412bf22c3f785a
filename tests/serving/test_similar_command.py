"""Starts `aisle similar` itself, asks it, and stops it; and compares generated code with what it is generated from."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

from pipeline.cli import main
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.similarity_pb2_grpc import SimilarityStub
from similarity.live_index import LiveIndex
from similarity.planner import build_index, save_index
from tests.similarity.catalogue import small_catalogue, write_built
from tests.support.written_examples import answer_to, examples_of, said_by

ROOT = Path(__file__).parents[2]
APPS = ROOT / ".venv-apps" / "bin" / "python"
FOREIGN = ("tensorflow", "keras", "tfx", "apache_beam", "scann", "components", "trainer_module")
# The program as it is, and afterwards what it loaded.
PROGRAM = (
    "import json, sys; from pipeline.cli import main; code = main(sys.argv[1:]); "
    "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules}))); sys.exit(code)"
)

# The program, and afterwards how many threads NumPy's BLAS has.
BLAS_THREADS = (
    "import sys; from pipeline.cli import main; main(sys.argv[1:]); from threadpoolctl import threadpool_info; "
    "print([one['num_threads'] for one in threadpool_info() if one['user_api'] == 'blas'])"
)


@pytest.fixture
def program(tmp_path):
    write_built(tmp_path / "built")
    words = ["similar", "--json", "--index", str(tmp_path / "built"), "--folder", str(tmp_path / "state"), "--port=0", "--rest-port=0"]
    started_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    process.started_s = started_s
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def test_the_program_starts_without_tensorflow_and_serves_until_it_is_told_to_stop(program):
    addresses = json.loads(program.stdout.readline())
    assert time.monotonic() - program.started_s < 10  # About one second where nothing else runs; TensorFlow alone takes longer.
    assert addresses["version"] == 7
    assert addresses["grpc"].startswith("127.0.0.1:")
    assert addresses["rest"].startswith("http://127.0.0.1:")
    with grpc.insecure_channel(addresses["grpc"]) as channel:
        stub = SimilarityStub(channel)
        found, call = stub.Search.with_call(messages.SearchRequest(product_id="p1", k=2), timeout=10, metadata=(("x-request-id", "mine"),))
        stub.Delete(messages.DeleteRequest(product_ids=["p2"]), timeout=10)
    assert len(found.neighbours) == 2
    assert dict(call.trailing_metadata())["x-request-id"] == "mine"
    program.send_signal(signal.SIGTERM)
    said, errors = program.communicate(timeout=30)
    assert program.returncode == 0
    assert set(json.loads(said.splitlines()[-1])) & set(FOREIGN) == set()
    rows = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert [(row["api"], row["status"], row["protocol"]) for row in rows if row.get("event") == "request"] == [
        ("Search", "OK", "grpc"),
        ("Delete", "OK", "grpc"),
    ]
    assert rows[0]["request_id"] == "mine"


@pytest.mark.parametrize(
    ("environment", "threads"),
    [({}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, 2), ({"OMP_NUM_THREADS": "2"}, 2), ({"OMP_NUM_THREADS": "1"}, 1)],
)
def test_blas_has_one_thread_unless_the_user_says_otherwise(environment, threads):
    limited = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    clean = {name: value for name, value in os.environ.items() if name not in limited}
    asked = [sys.executable, "-W", "ignore", "-c", BLAS_THREADS, "similar", "--route", "nothing"]
    done = subprocess.run(asked, cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{[threads]}\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--index", "DIR", "--config", "b"], 2, "say once what to serve"),
        (["--index", "DIR"], 2, "--index needs --folder"),
        (["--index", "DIR", "--folder", "DIR/state"], 1, "isn't an index. Name the folder of a built one."),
        (
            ["--index", "DIR/file", "--folder", "DIR/state"],
            1,
            "file/manifest.json: can't be read: Not a directory. Name the folder of a built",
        ),
        (["--set", "push.folder=DIR"], 1, "nothing is live here"),
        (["--index", "BUILT", "--folder", "DIR/state", "--model-server", "http://x"], 2, "Add --model-name."),
        (["--index", "BUILT", "--folder", "DIR/state", "--model-server", "x y", "--model-name", "n"], 2, "'x y' isn't an address."),
    ],
)
def test_what_cant_be_served_is_refused_in_one_line(tmp_path, capsys, words, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").touch()
    if "BUILT" in words:
        write_built(tmp_path / "built", 20)
    given = [word.replace("DIR", str(tmp_path / "empty")).replace("BUILT", str(tmp_path / "built")) for word in words]
    assert main(["similar", *given, "--port", "0", "--rest-port", "0"]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:0", "", "127.0.0.1", "http://127.0.0.1:8610", "::1:8610", ":8610"])
def test_a_shard_is_asked_at_a_host_and_a_port(capsys, address):
    assert main(["similar", "--route", "127.0.0.1:1", address, "--port", "0", "--rest-port", "0"]) == 2
    assert capsys.readouterr().err == (
        f"error: --route: found {address!r}, expected HOST:PORT with a port from 1 to 65535. Name a shard's gRPC address.\n"
    )


@pytest.mark.parametrize(("folder", "words"), [("FILE", []), ("FILE/x", []), ("FILE/x", ["--shard", "n0"]), ("/proc/x", ["--shard", "n0"])])
def test_a_folder_that_cant_be_made_is_refused_in_one_line(tmp_path, capsys, folder, words):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    write_built(tmp_path / "built", 20)
    folder = folder.replace("FILE", str(tmp_path / "file"))
    given = ["--index", str(tmp_path / "built"), "--folder", folder, "--port", "0", "--rest-port", "0"]
    assert main(["similar", *given, *words]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert said.endswith("Name a folder that you may write to with --folder.")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_shard_of_the_rest_is_refused_where_there_is_none(tmp_path, capsys):
    products = small_catalogue(20)
    starts = np.concatenate([products.node_starts[:-1], [len(products)]])
    save_index(tmp_path / "built", build_index(replace(products, node_starts=starts), 1_000, 10, 0.5, 0))
    given = ["--index", str(tmp_path / "built"), "--folder", str(tmp_path / "state"), "--port", "0", "--rest-port", "0"]
    assert main(["similar", *given, "--shard-rest"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "every product is at a node, so a shard of the rest alone is empty. Name nodes with --shard, too." in said


@pytest.mark.parametrize("name", ["similarity", "tf_example"])
def test_the_generated_code_is_that_of_the_proto(name):
    proto = (ROOT / "schemas" / f"{name}.proto").read_bytes()
    generated = (ROOT / "serving" / "similarity_server" / f"{name}_pb2.py").read_text(encoding="utf-8")
    (digest,) = re.findall(rf"^# sha256 of schemas/{name}\.proto: (\w+)$", generated, re.MULTILINE)
    assert digest == hashlib.sha256(proto).hexdigest(), "run make protos"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl isn't installed, so the examples of the docs aren't run")
def test_the_examples_of_the_docs_work_as_written(program):
    addresses = json.loads(program.stdout.readline())
    places = {"127.0.0.1:8600": addresses["grpc"], "127.0.0.1:8601": addresses["rest"].removeprefix("http://")}
    examples = examples_of("docs/serving.md", "## Similarity server", places)
    found, moved, status = map(answer_to, examples.asked_with("curl"))
    assert (len(found["neighbours"]), moved["version"], status["num_products"]) == (5, 7, 300)
    (found,) = map(answer_to, examples.asked_with("grpcurl"))
    assert len(found["neighbours"]) == 5
    (code,) = examples.code
    assert len(said_by(code)) == 5


@pytest.mark.skipif(not APPS.exists(), reason="the small environment isn't there: make setup-apps")
def test_the_small_environment_serves_what_the_pipeline_built(tmp_path):
    built = build_index(small_catalogue(1_200), 1_000, 10, 0.5, 0, kind="scann")
    save_index(tmp_path / "built", built, version=7)
    words = ["similar", "--json", "--index", str(tmp_path / "built"), "--folder", str(tmp_path / "state"), "--port=0", "--rest-port=0"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [str(APPS), "-W", "error", "-c", PROGRAM, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        addresses = json.loads(process.stdout.readline())
        with grpc.insecure_channel(addresses["grpc"]) as channel:
            found = SimilarityStub(channel).Search(messages.SearchRequest(product_id="p1", k=5), timeout=10)
        with urllib.request.urlopen(f"{addresses['rest']}/v1/similar/status", timeout=10) as response:
            status = json.load(response)
        with urllib.request.urlopen(f"{addresses['rest']}/openapi.json", timeout=10) as response:
            assert json.load(response)["paths"]
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert (status["kind"], status["num_products"]) == ("scann", 1_200)
    with LiveIndex.create(tmp_path / "alone", tmp_path / "built") as alone:
        assert [one.product_id for one in found.neighbours] == alone.similar("p1", 5).ids[0].tolist()
    assert set(json.loads(said.splitlines()[-1])) & (set(FOREIGN) - {"scann"}) == set()
