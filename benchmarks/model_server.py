"""python -m benchmarks.model_server MODEL_BASE_PATH [PART ...]: what the model server does with two cores, its client included.

MODEL_BASE_PATH holds the version folders of one model, such as serving/models/NAME. Parts: latency (one product a request),
batches (128 products a request, beside the SavedModel in a process of its own), swaps (50 versions under load), fuzz (malformed
messages and JSON), soak (memory over many requests). Every client is a process of its own with the generated stubs; the server
is the program. Writes benchmarks/results/model_server.md, part by part: parts that aren't asked for keep their last figures.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from benchmarks.processes import figures_of, program

RESULTS = Path(__file__).parent / "results" / "model_server.md"
_FIGURES = Path(__file__).parents[1] / "var" / "model_server_figures.json"
PARTS = ("latency", "batches", "swaps", "fuzz", "soak")
_WORDS = ("red", "blue", "cotton", "leather", "trousers", "shoes", "women", "men", "slim", "kids", "running", "shirt", "watch", "silver")
_BRANDS = ("acme", "nord", "levis", "kita", "")
_BATCH = 128


# The client's side: a process of its own, told what to do by its arguments.


def serialized_product(rng: random.Random) -> bytes:
    """Returns a serialized example of a made-up product."""
    example = tf.train.Example()
    example.features.feature["title"].bytes_list.value.append(" ".join(rng.choices(_WORDS, k=6)).encode())
    example.features.feature["brand"].bytes_list.value.append(rng.choice(_BRANDS).encode())
    return bytes(example.SerializeToString())


def request_of(model: str, rows: int, rng: random.Random) -> Any:
    """Returns a Predict request for so many products."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([serialized_product(rng) for _ in range(rows)], tf.string))
    return request


class Load:
    """Asks the server again and again from several threads, in turn or at a fixed rate, and keeps what each answer took.

    Args:
        address: of gRPC.
        model: name.
        rows: products a request.
        threads: that ask.
        rate: requests a second of all threads together; 0: as fast as answers come. Time a request waits for a free thread counts.
    """

    def __init__(self, address: str, model: str, rows: int, threads: int, rate: float = 0) -> None:
        rng = random.Random(7)
        self._requests = [request_of(model, rows, rng) for _ in range(50)]
        self._address, self._threads, self._rate = address, threads, rate
        self._lock = threading.Lock()
        self._started_s = time.perf_counter()
        self.count, self.seconds, self.failed = 0, list[tuple[float, float]](), dict[str, int]()

    def run(self, requests: int = 0, seconds: float = 0, until: threading.Event | None = None) -> None:
        """Asks until so many were asked, so much time is gone, or the event is set."""
        self._started_s = time.perf_counter()
        end_s = self._started_s + seconds if seconds else float("inf")
        workers = [threading.Thread(target=self._work, args=(requests or sys.maxsize, end_s, until)) for _ in range(self._threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _work(self, requests: int, end_s: float, until: threading.Event | None) -> None:
        with grpc.insecure_channel(self._address, options=[("grpc.max_receive_message_length", -1)]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while time.perf_counter() < end_s and not (until and until.is_set()):
                with self._lock:
                    number, self.count = self.count, self.count + 1
                if number >= requests:
                    return
                due_s = time.perf_counter()
                if self._rate:
                    due_s = self._started_s + number / self._rate
                    time.sleep(max(0.0, due_s - time.perf_counter()))
                self._ask(stub, self._requests[number % len(self._requests)], due_s)

    def _ask(self, stub: Any, request: Any, due_s: float) -> None:
        try:
            stub.Predict(request, timeout=30)
        except grpc.RpcError as error:
            with self._lock:
                self.failed[error.code().name] = self.failed.get(error.code().name, 0) + 1
        self.seconds.append((due_s - self._started_s, time.perf_counter() - due_s))

    def figures(self) -> dict[str, Any]:
        """Returns rate, percentiles in milliseconds and failures."""
        taken = np.array([seconds for _, seconds in self.seconds]) * 1000
        wall_s = time.perf_counter() - self._started_s
        return {
            "requests": len(taken),
            "failed": sum(self.failed.values()),
            "rate": len(taken) / wall_s,
            "p50_ms": float(np.percentile(taken, 50)),
            "p99_ms": float(np.percentile(taken, 99)),
            "max_ms": float(taken.max()),
        }


def load_main(given: argparse.Namespace) -> int:
    """The client process: warms the server up, then asks and writes its figures."""
    Load(given.address, given.model, given.rows, 1).run(requests=30)
    load = Load(given.address, given.model, given.rows, given.threads, given.rate)
    load.run(given.requests, given.seconds)
    sys.stdout.write(json.dumps(load.figures()) + "\n")
    return 0


def in_process_main(given: argparse.Namespace) -> int:
    """Calls the SavedModel as a program would that holds it itself; arrays out, one call after another."""
    signature = tf.saved_model.load(str(given.folder))
    call, rng = signature.signatures["serving_default"], random.Random(7)
    batches = [tf.constant([serialized_product(rng) for _ in range(given.rows)]) for _ in range(50)]

    def ask(count: int) -> None:
        for number in range(count):
            {name: value.numpy() for name, value in call(examples=batches[number % 50]).items()}

    ask(30)
    started_s = time.perf_counter()
    ask(given.requests)
    sys.stdout.write(json.dumps({"rate": given.requests / (time.perf_counter() - started_s)}) + "\n")
    return 0


# The server's side.


def serving(*options: str) -> AbstractContextManager[tuple[dict[str, Any], int]]:
    """Starts the model server, and gives its addresses and its process id."""
    return program("serve", "--rest-api-port=0", *options)


def child(*words: object) -> dict[str, Any]:
    """Runs this file as a client and returns its figures."""
    return figures_of("benchmarks.model_server", *words)


def measure_latency(given: argparse.Namespace) -> dict[str, Any]:
    """One product a request: as fast as one and two threads can, and at 200 requests a second."""
    found: dict[str, Any] = {}
    with serving("--model-base-path", str(given.base_path)) as (server, _):
        for name, threads, rate in (("1 thread", 1, 0), ("2 threads", 2, 0), ("4 threads", 4, 0), ("200 a second", 8, 200)):
            words = ("--load", server["grpc"], given.name, "--rows", 1, "--threads", threads, "--rate", rate, "--seconds", given.seconds)
            found[name] = child(*words)
    return found


def measure_batches(given: argparse.Namespace) -> dict[str, Any]:
    """128 products a request, beside the model in a process of its own, in turns, so that noise falls on both."""
    served, alone = list[float](), list[float]()
    with serving("--model-base-path", str(given.base_path), "--file-system-poll-wait-seconds", "0") as (server, _):
        for _ in range(3):
            folder = max((path for path in given.base_path.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
            alone.append(child("--in-process", folder, "--rows", _BATCH, "--requests", 600)["rate"] * _BATCH)
            words = ("--load", server["grpc"], given.name, "--rows", _BATCH, "--threads", 4, "--requests", 600)
            served.append(child(*words)["rate"] * _BATCH)
    shares = [one / other for one, other in zip(served, alone, strict=True)]
    return {"served": np.median(served), "alone": np.median(alone), "share": np.median(shares), "shares": shares}


def measure_swaps(given: argparse.Namespace) -> dict[str, Any]:
    """Swaps between two versions by reload while one product a request is asked for, and compares with the time before."""
    folder = max((path for path in given.base_path.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    with tempfile.TemporaryDirectory() as root:
        base = Path(root) / given.name
        base.mkdir()
        for version in (1, 2):
            (base / str(version)).symlink_to(folder.absolute())
        with serving("--model-base-path", str(base)) as (server, _):
            load = ("--load", server["grpc"], given.name, "--rows", 1, "--threads", 4, "--rate", given.swap_rate)
            steady = child(*load, "--seconds", given.seconds)
            found: dict[str, Any] = {}
            client = threading.Thread(target=lambda: found.update(child(*load, "--seconds", given.swaps * given.swap_every + 15)))
            client.start()
            time.sleep(12)  # The client needs its time to load TensorFlow.
            seconds = _swap(server["grpc"], given.name, base, given.swaps, given.swap_every)
            client.join()
    return {"steady": steady, "swapping": found, "swaps": given.swaps, "swap_s": float(np.median(seconds)), "rate": given.swap_rate}


def _swap(address: str, name: str, base: Path, swaps: int, every_s: float) -> list[float]:
    taken = []
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        for number in range(swaps):
            started_s = time.perf_counter()
            request = model_management_pb2.ReloadConfigRequest()
            model = request.config.model_config_list.config.add(name=name, base_path=str(base), model_platform="tensorflow")
            model.model_version_policy.specific.versions.append(1 + number % 2)
            stub.HandleReloadConfigRequest(request, timeout=120)
            taken.append(time.perf_counter() - started_s)
            time.sleep(max(0.0, every_s - taken[-1]))
    return taken


def measure_fuzz(given: argparse.Namespace) -> dict[str, Any]:
    """Sends malformed messages and JSON, and looks whether each gets a proper status and the server answers afterwards."""
    rng = random.Random(11)
    counts: dict[str, int] = {}
    with serving("--model-base-path", str(given.base_path), "--log-requests", "none") as (server, _):
        with grpc.insecure_channel(server["grpc"]) as channel:
            call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            whole = request_of(given.name, 2, rng).SerializeToString()
            for _ in range(given.fuzz // 2):
                status = _raw_status(call, damaged(whole, rng))
                counts[f"gRPC {status}"] = counts.get(f"gRPC {status}", 0) + 1
        body = json.dumps({"instances": [{"b64": "CgA="}], "signature_name": "serving_default"}).encode()
        host, port = server["rest"].removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        for _ in range(given.fuzz - given.fuzz // 2):
            answered = _posted(connection, f"/v1/models/{given.name}:predict", damaged(body, rng))
            counts[f"HTTP {answered}"] = counts.get(f"HTTP {answered}", 0) + 1
        alive = child("--load", server["grpc"], given.name, "--rows", 1, "--threads", 1, "--requests", 20)
    return {"statuses": counts, "sent": given.fuzz, "failed_afterwards": alive["failed"]}


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """Returns the bytes with some changed, cut out, doubled or put in."""
    found = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(found) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del found[place : place + rng.randint(1, 20)]
        elif kind == 2:
            found[place:place] = found[place : place + rng.randint(1, 40)]
        else:
            found[place:place] = rng.randbytes(rng.randint(1, 12))
    return bytes(found)


def _raw_status(call: Any, raw: bytes) -> str:
    try:
        call(raw, timeout=30)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def _posted(connection: http.client.HTTPConnection, path: str, body: bytes) -> int:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response.status


def measure_soak(given: argparse.Namespace) -> dict[str, Any]:
    """Asks many times and looks at the server's memory ten times on the way."""
    sizes: list[tuple[int, float]] = []
    with serving("--model-base-path", str(given.base_path)) as (server, process):
        load = Load(server["grpc"], given.name, 1, 2)
        stopped = threading.Event()
        worker = threading.Thread(target=load.run, args=(given.soak_requests,))
        worker.start()
        while worker.is_alive() and not stopped.wait(0.5):
            if load.count >= (len(sizes) + 1) * given.soak_requests / 20:
                sizes.append((load.count, _resident_mb(process)))
        worker.join()
    return {**load.figures(), "sizes": sizes}


def _resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# The table.


def _row(name: str, figures: Mapping[str, Any]) -> str:
    return (
        f"| {name} | {figures['requests']:,} | {figures['failed']} | {figures['rate']:,.0f} | {figures['p50_ms']:.1f} "
        f"| {figures['p99_ms']:.1f} | {figures['max_ms']:.0f} |"
    )


_HEAD = ["| what | requests | failed | a second | p50 ms | p99 ms | longest ms |", "|---|---|---|---|---|---|---|"]


def page(figures: Mapping[str, Any]) -> str:
    """Returns the page of results."""
    lines = [
        "# Model server",
        "",
        "Command: `python -m benchmarks.model_server MODEL_BASE_PATH` (parts: " + ", ".join(PARTS) + "). Server and client share "
        f"{os.cpu_count()} cores; the client is a process of its own with the generated stubs.",
        "",
    ]
    if "latency" in figures:
        lines += ["## One product a request", "", *_HEAD, *(_row(name, one) for name, one in figures["latency"].items()), ""]
    if "batches" in figures:
        one = figures["batches"]
        lines += [
            f"## {_BATCH} products a request",
            "",
            "| | products a second |",
            "|---|---|",
            f"| served over gRPC, four threads ask | {one['served']:,.0f} |",
            f"| the SavedModel in the program's own process | {one['alone']:,.0f} |",
            "",
            f"Share: {one['share']:.0%} (three turns: {', '.join(f'{share:.0%}' for share in one['shares'])}).",
            "",
        ]
    if "swaps" in figures:
        one = figures["swaps"]
        lines += [f"## {one['swaps']} version swaps under {one['rate']:g} requests a second", "", *_HEAD]
        lines += [_row("steady", one["steady"]), _row("swapping", one["swapping"]), ""]
        ratio = one["swapping"]["p99_ms"] / one["steady"]["p99_ms"]
        lines += [f"p99 while swapping is {ratio:.2f} of the steady one; a swap takes {one['swap_s']:.1f} s.", ""]
    if "fuzz" in figures:
        one = figures["fuzz"]
        shown = ", ".join(f"{name}: {count:,}" for name, count in sorted(one["statuses"].items()))
        lines += [
            f"## {one['sent']:,} malformed requests",
            "",
            f"{shown}. Requests that failed afterwards: {one['failed_afterwards']}.",
            "",
        ]
    if "soak" in figures:
        one = figures["soak"]
        shown = ", ".join(f"{size:,.0f}" for _, size in one["sizes"])
        lines += ["## Soak", "", *_HEAD, _row("two threads", one), "", f"Resident MB at every twentieth of the requests: {shown}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measures what is asked for and writes the page; or is one of the client processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_path", type=Path, nargs="?")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--swap-every", type=float, default=4.0, help="seconds from one swap to the next")
    parser.add_argument("--fuzz", type=int, default=10_000)
    parser.add_argument("--soak-requests", type=int, default=1_000_000)
    parser.add_argument("--swap-rate", type=float, default=100.0, help="requests a second while versions are swapped")
    parser.add_argument("--rate", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--load", nargs=2, metavar=("ADDRESS", "MODEL"), help=argparse.SUPPRESS)
    parser.add_argument("--in-process", type=Path, dest="folder", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.load:
        given.address, given.model = given.load
        return load_main(given)
    if given.folder:
        return in_process_main(given)
    wrong = set(given.parts) - set(PARTS)
    if given.base_path is None or wrong:
        parser.error(f"expected MODEL_BASE_PATH and parts of {', '.join(PARTS)}")
    given.name = given.base_path.absolute().name
    measures: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "latency": measure_latency,
        "batches": measure_batches,
        "swaps": measure_swaps,
        "fuzz": measure_fuzz,
        "soak": measure_soak,
    }
    figures: dict[str, Any] = json.loads(_FIGURES.read_text(encoding="utf-8")) if _FIGURES.exists() else {}
    for part in given.parts or PARTS:
        figures[part] = measures[part](given)
        sys.stderr.write(f"{part}: {json.dumps(figures[part])}\n")
        _FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        RESULTS.write_text(page(figures), encoding="utf-8")
    sys.stdout.write(page(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
