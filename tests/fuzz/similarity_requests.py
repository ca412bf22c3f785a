"""Sends damaged and odd requests to a similarity server and counts how each ends.

`.venv/bin/python -W ignore -m tests.fuzz.similarity_requests --requests 10000` starts the program, sends half of them over gRPC and
half over REST, and writes benchmarks/results/similarity_fuzz.md: a minute. Expect 0 crashes, 0 hangs, nothing but proper statuses.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.grpc_server import SERVICE
from serving.similarity_server.rest_server import ROUTES
from tests.fuzz.request_campaign import HANG_S, Campaign, Outcome, damaged, odd, run
from tests.similarity.catalogue import DIMENSION, write_built

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


def _words(folder: Path) -> list[str]:
    built = write_built(folder / "built")
    return ["similar", "--index", str(built), "--folder", str(folder / "state"), "--rest-port=0"]


CAMPAIGN = Campaign(
    module="similarity_requests",
    server="the similarity server",
    sent="bytes damaged, and whole messages with values that nobody means",
    result="similarity_fuzz.md",
    num_first=100,
    words=_words,
    over_grpc=lambda channel, _, count, rng, found: over_grpc(channel, count, rng, found),
    over_rest=over_rest,
)

if __name__ == "__main__":
    sys.exit(run(CAMPAIGN, sys.argv[1:]))
