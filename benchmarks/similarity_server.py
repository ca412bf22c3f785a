"""Measures how many similarity queries a second go through gRPC, client included, beside the library in one process.

python -m benchmarks.similarity_server [--products 100000] [--taxonomy FILE] [--kinds exact scann] [--seconds 10] [--k 10]

The server is the program; two client processes use the generated stubs. Queries are those of benchmarks.similarity_index: products
drawn at random, each searched in a node drawn evenly from those it is in. Writes benchmarks/results/similarity_server.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.clustered_catalogue import benchmark_tree, clustered_catalogue, tree_weighted_queries
from benchmarks.processes import program
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.similarity_pb2_grpc import SimilarityStub
from similarity.live_index import LiveIndex
from similarity.planner import build_index, save_index

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "similarity_server.md"
CLIENTS, BATCH, QUERIES = 2, 32, 2_000
VERSION = 1


def timed(threads: int, seconds: float, ask: Callable[[int], int]) -> dict[str, Any]:
    """Returns queries a second and what each request took, in ms, when several threads ask for so long.

    Args:
        threads: that ask, each its next question when the last is answered.
        seconds: before it counts, a tenth of that goes by.
        ask: told how many were asked before, returns how many queries that was.
    """
    begin_s = time.monotonic() + seconds / 10
    end_s = begin_s + seconds
    found: list[tuple[int, float]] = []

    def work(number: int) -> None:
        turn = number * 7_919  # Threads shouldn't ask the same at the same time.
        while (started_s := time.monotonic()) < end_s:
            queries = ask(turn)
            turn += 1
            if started_s >= begin_s:
                found.append((queries, time.monotonic() - started_s))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"a_second": sum(queries for queries, _ in found) / seconds, "ms": [1000 * took for _, took in found]}


def client(address: str, questions: Path, how: str, threads: int, seconds: float) -> dict[str, Any]:
    """Asks a server; the side of a client process."""
    rows = json.loads(questions.read_text(encoding="utf-8"))
    requests = [_request(row, how) for row in rows]
    batches = [messages.BatchSearchRequest(requests=requests[start : start + BATCH]) for start in range(0, len(requests), BATCH)]
    with grpc.insecure_channel(address) as channel:
        stub = SimilarityStub(channel)

        def ask(turn: int) -> int:
            if how == "batch":
                return len(stub.BatchSearch(batches[turn % len(batches)], timeout=30).responses)
            stub.Search(requests[turn % len(requests)], timeout=30)
            return 1

        return timed(threads, seconds, ask)


def _request(row: dict[str, Any], how: str) -> Any:
    request = messages.SearchRequest(k=row["k"], node_id=row["node_id"])
    if how == "id":
        request.product_id = row["product_id"]
    else:
        request.vector.values.extend(row["vector"])
    return request


def asked(address: str, questions: Path, how: str, threads: int, seconds: float) -> dict[str, Any]:
    """Returns what all client processes together got."""
    command = [sys.executable, "-m", "benchmarks.similarity_server", "--client", address, str(questions), how, str(threads), str(seconds)]
    load = os.getloadavg()[0]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)]
    rows = [json.loads(process.communicate()[0]) for process in processes]
    return {
        **summary([took for row in rows for took in row["ms"]], sum(row["a_second"] for row in rows)),
        "load": (load, os.getloadavg()[0]),
    }


def summary(milliseconds: Sequence[float], a_second: float) -> dict[str, Any]:
    """Returns the figures of one row of the table."""
    p50, p95, p99 = np.percentile(milliseconds, [50, 95, 99])
    return {"a_second": a_second, "p50": p50, "p95": p95, "p99": p99}


def measure(given: argparse.Namespace, kind: str, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns every row of a kind's table."""
    tree = benchmark_tree(given.taxonomy)
    products = clustered_catalogue(given.products, 128, tree, 0)
    built = build_index(products, 50_000, 100, 0.9, 0, kind=kind)
    save_index(folder / "built", built, version=VERSION)
    vectors, subtrees = tree_weighted_queries(products, tree, min(QUERIES, given.products), 1)
    places = np.random.default_rng(1).choice(len(products), len(vectors), replace=False)  # The draw of tree_weighted_queries.
    names = [products.node_ids[subtree.start] if subtree else "" for subtree in subtrees]
    ids = products.product_ids.take(places).tolist()
    rows = [
        {"product_id": product_id, "vector": vector.tolist(), "node_id": name, "k": given.k}
        for product_id, vector, name in zip(ids, vectors, names, strict=True)
    ]
    (folder / "questions.json").write_text(json.dumps(rows), encoding="utf-8")
    found = []
    with LiveIndex.create(folder / "alone", folder / "built") as live:

        def ask(turn: int) -> int:
            live.search(vectors[turn % len(vectors)][None], given.k, names[turn % len(vectors)] or None)
            return 1

        load = os.getloadavg()[0]
        alone = timed(1, given.seconds, ask)
        found.append(("the library, one thread", {**summary(alone["ms"], alone["a_second"]), "load": (load, os.getloadavg()[0])}))
    words = ("similar", "--index", folder / "built", "--folder", folder / "live", "--rest-port=0", "--log-requests=errors")
    with program(*words) as (server, _):
        asked(server["grpc"], folder / "questions.json", "batch", 1, given.seconds)  # What comes first would pay for mapping the index.
        for how, says in (("id", "by product id"), ("vector", "by vector"), ("batch", f"by vector, {BATCH} a request")):
            for threads in (1, 4):
                name = f"gRPC, {says}, {CLIENTS} processes of {threads} thread{'s' * (threads > 1)}"
                found.append((name, asked(server["grpc"], folder / "questions.json", how, threads, given.seconds)))
                sys.stderr.write(f"{name}: {found[-1][1]}\n")
    return found


def report(given: argparse.Namespace, tables: dict[str, list[tuple[str, dict[str, Any]]]]) -> str:
    """Returns the page."""
    lines = [
        "# Similarity server",
        "",
        f"`python -m benchmarks.similarity_server --products {given.products} --kinds {' '.join(given.kinds)} --k {given.k}`",
        "",
        f"{given.products:,} x 128 vectors in clusters, float32, k = {given.k}; {os.cpu_count()} cores for server and clients together.",
        "A query is a product drawn at random, searched in a node drawn evenly from those it is in, the whole index among them. Batches",
        "are asked for before anything is measured. The load average is that of the machine before and after, this program included: the",
        "cores are shared with whatever else ran.",
    ]
    for kind, rows in tables.items():
        lines += [
            "",
            f"## {kind} index",
            "",
            "| what | queries a second | of the library's | p50 ms a request | p95 ms | p99 ms | load average |",
        ]
        lines += ["|---|---|---|---|---|---|---|", *(_line(name, row, rows[0][1]["a_second"]) for name, row in rows)]
    return "\n".join([*lines, ""])


def _line(name: str, row: dict[str, Any], alone: float) -> str:
    share, load = row["a_second"] / alone, " to ".join(f"{value:.1f}" for value in row["load"])
    return f"| {name} | {row['a_second']:,.0f} | {share:.2f} | {row['p50']:.1f} | {row['p95']:.1f} | {row['p99']:.1f} | {load} |"


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the page; with --client, asks and writes figures to standard output."""
    if arguments[:1] == ["--client"]:
        address, questions, how, threads, seconds = arguments[1:]
        sys.stdout.write(json.dumps(client(address, Path(questions), how, int(threads), float(seconds))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--kinds", nargs="+", default=["exact", "scann"])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    tables: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for kind in given.kinds:
        with tempfile.TemporaryDirectory() as folder:
            tables[kind] = measure(given, kind, Path(folder))
    given.out.write_text(report(given, tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
