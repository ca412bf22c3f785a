"""Sends damaged and odd requests to a similarity server and counts how each ends.

`.venv/bin/python -W ignore -m tests.fuzz.similarity_requests --requests 10000` starts the program, sends half of them over gRPC and
half over REST, and writes benchmarks/results/similarity_fuzz.md: a minute. Expect 0 crashes, 0 hangs, nothing but proper statuses.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.grpc_server import SERVICE
from serving.similarity_server.rest_server import ROUTES
from tests.similarity.catalogue import DIMENSION, write_built

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "similarity_fuzz.md"
HANG_S = 20.0
CODES = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
STATUSES = {200, 400, 404, 405, 413, 429}
_VECTOR = {"values": [0.5] * DIMENSION}
_FIELDS = {"title": "a", "price": 2, "style": [1, 2], "brand": None}
WHOLE: dict[str, dict[str, Any]] = {
    "Search": {"product_id": "p1", "k": 3, "node_id": "n1", "filter": {"shop": ["shop-1"], "max_price": 5}},
    "BatchSearch": {
        "requests": [
            {"vector": _VECTOR, "model_version": 7},
            {"product_id": "p2", "filter": {"gender": ["male"], "min_price": 1}},
            {"product": {"fields": _FIELDS, "image_bytes": "AAEC"}},
        ]
    },
    "Upsert": {
        "products": [
            {"product_id": "new", "node_id": "n2", "vector": _VECTOR, "filter_fields": {"brand": "b", "price": 3.5}},
            {"product_id": "other", "product": {"fields": _FIELDS}},
        ],
        "model_version": 7,
    },
    "Delete": {"product_ids": ["p9", "p10"]},
    "Move": {"products": [{"product_id": "p3", "node_id": "n4"}]},
    "Find": {"product_ids": ["p1", "p4"]},
    "Status": {"with_nodes": True},
}
_ODD = (
    None,
    True,
    -1,
    2**31 - 1,
    -(2**31),
    2**63,
    1e308,
    "NaN",
    "Infinity",
    "",
    "\x00",
    "p1" * 2_000,
    "ü\u202e",
    "\ud800",
    [],
    {},
    [[]] * 50,
)


@dataclass
class Outcome:
    """How requests ended.

    Attributes:
        counts: by protocol and status.
        wrong: what was no proper answer, the first hundred.
        slowest_s: the longest that one took.
    """

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, protocol: str, status: object, is_proper: bool, said: str, seconds: float) -> None:
        """Counts one answer."""
        self.counts[f"{protocol} {status}"] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if (not is_proper or seconds > HANG_S) and len(self.wrong) < 100:
            self.wrong.append(f"{protocol} {status} after {seconds:.1f} s: {said[:300]}")


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """Returns bytes some of which are replaced, left out or doubled."""
    found = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(found) + 1)
        part = found[place : place + rng.randint(0, 30)] if rng.random() < 0.2 else rng.randbytes(rng.randint(0, 6))
        found[place : place + rng.randint(0, 6)] = part
    return bytes(found)


def odd(row: Any, rng: random.Random) -> Any:
    """Returns JSON in which a value here and there is another than is meant."""
    if rng.random() < 0.15:
        return rng.choice(_ODD)
    if isinstance(row, dict):
        return {(key if rng.random() < 0.97 else key + "x"): odd(value, rng) for key, value in row.items()}
    return [odd(value, rng) for value in row] if isinstance(row, list) else row


def over_grpc(channel: grpc.Channel, count: int, rng: random.Random, found: Outcome) -> None:
    """Sends damaged messages of every method, and well-formed ones with odd values."""
    methods = messages.DESCRIPTOR.services_by_name["Similarity"].methods_by_name
    calls = {api: channel.unary_unary(f"/{SERVICE}/{api}") for api in WHOLE}
    for _ in range(count):
        api = rng.choice(list(WHOLE))
        kind = getattr(messages, methods[api].input_type.name)
        try:
            raw = json_format.ParseDict(odd(WHOLE[api], rng), kind()).SerializeToString()
        except Exception:
            raw = damaged(json_format.ParseDict(WHOLE[api], kind()).SerializeToString(), rng)
        code, said, started_s = "OK", "", time.monotonic()
        try:
            calls[api](raw, timeout=HANG_S + 10)
        except grpc.RpcError as error:
            code, said = error.code().name, str(error.details())
        found.add("gRPC", code, code in CODES, f"{api}: {said}", time.monotonic() - started_s)


def over_rest(address: str, count: int, rng: random.Random, found: Outcome) -> None:
    """Posts damaged JSON to every method, and whole JSON with odd values."""
    paths = {route.api: route for route in ROUTES}
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=HANG_S + 10)
    for number in range(count):
        api = rng.choice(list(WHOLE))
        body = json.dumps(odd(WHOLE[api], rng)).encode() if number % 2 else damaged(json.dumps(WHOLE[api]).encode(), rng)
        verb = "POST" if rng.random() < 0.98 else rng.choice(["GET", "PUT", "DELETE"])
        started_s = time.monotonic()
        connection.request(verb, paths[api].path, body)
        response = connection.getresponse()
        said = response.read().decode()
        is_proper = response.status in STATUSES and (response.status == 200 or "error" in json.loads(said))
        found.add("HTTP", response.status, is_proper, f"{api}: {said}", time.monotonic() - started_s)
    connection.close()


def _resident_mb(process: int) -> float:
    return int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(arguments: Sequence[str]) -> int:
    """Starts the program, sends the requests, writes the page; 1 where an answer wasn't proper."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.similarity_requests", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args(arguments)
    rng, found = random.Random(given.seed), Outcome()
    with tempfile.TemporaryDirectory() as folder:
        built = write_built(Path(folder) / "built")
        command = [sys.executable, "-m", "pipeline.cli", "similar", "--index", str(built), "--folder", f"{folder}/state", "--json"]
        command += ["--port=0", "--rest-port=0", "--log-requests=none"]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            addresses = json.loads(server.stdout.readline())  # type: ignore[union-attr]
            with grpc.insecure_channel(addresses["grpc"]) as channel:
                over_grpc(channel, 100, rng, Outcome())
                before_mb, started_s = _resident_mb(server.pid), time.monotonic()
                over_grpc(channel, given.requests // 2, rng, found)
            over_rest(addresses["rest"], given.requests - given.requests // 2, rng, found)
            seconds, grown_mb = time.monotonic() - started_s, _resident_mb(server.pid) - before_mb
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
    shown = ", ".join(f"{name}: {count:,}" for name, count in sorted(found.counts.items()))
    text = (
        f"# Malformed requests to the similarity server\n\n`python -m tests.fuzz.similarity_requests --requests {given.requests}`\n\n"
        f"Every method, over gRPC and REST: bytes damaged, and whole messages with values that nobody means, seed {given.seed}.\n\n"
        f"{given.requests:,} requests in {seconds:.0f} s: {shown}.\n\n"
        f"Not a proper answer: {len(found.wrong)}. Slowest: {found.slowest_s:.2f} s. Memory grown by {grown_mb:.0f} MB.\n"
        f"The server ended with exit code {code} when it was told to.\n"
    )
    given.out.write_text(text, encoding="utf-8")
    sys.stdout.write("\n".join([text, *found.wrong[:20]]))
    return 1 if found.wrong or code else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
