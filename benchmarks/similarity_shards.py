"""Measures what a router and shards cost: memory of each process and time of a query, beside one server that holds everything.

python -m benchmarks.similarity_shards [--products 100000] [--dimension 512] [--shards 3] [--queries 300] [--storage float32] [--out FILE]

The one server is measured alone and has ended when the shards start. All are programs of their own on one machine, so times show the way
through the router, not what more machines gain. Writes similarity_shards.md into benchmarks/results/; a minute.

500,000 products of 2,048 numbers (--products 500000 --dimension 2048 --shards 4) are 4.1 GB of vectors: they take 9 GB of memory while
they are invented, and 9 GB of disk in the folder for temporary files, which TMPDIR names.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.clustered_catalogue import benchmark_tree, clustered_catalogue
from benchmarks.processes import program, publish
from serving.similarity_server import similarity_pb2 as messages
from serving.similarity_server.similarity_pb2_grpc import SimilarityStub
from similarity.planner import build_index, save_index
from similarity.vectors import FLOAT32, STORAGES, ProductVectors

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "similarity_shards.md"
K = 10


def server(*words: str) -> AbstractContextManager[tuple[dict[str, Any], int]]:
    """Starts the similarity server, and gives its addresses and its process id."""
    return program("similar", "--rest-port=0", "--log-requests=none", *words)


def resident_mb(process: int) -> float:
    """Returns what a process holds in memory."""
    return int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def shares_of(products: ProductVectors, count: int) -> list[list[str]]:
    """Returns the roots of each shard, the largest root always to the shard that has fewest products so far."""
    roots = [number for number in range(len(products.node_ids)) if not any(n < number < end for n, end in enumerate(products.subtree_ends))]
    sizes = {root: int(products.node_starts[products.subtree_ends[root]] - products.node_starts[root]) for root in roots}
    shares: list[list[str]] = [[] for _ in range(count)]
    held = [0] * count
    for root in sorted(roots, key=lambda root: -sizes[root]):
        least = held.index(min(held))
        shares[least].append(products.node_ids[root])
        held[least] += sizes[root]
    return shares


def asked(address: str, requests: Sequence[Any]) -> tuple[list[float], list[list[str]]]:
    """Returns milliseconds of each request after all were asked once, and the ids found."""
    with grpc.insecure_channel(address) as channel:
        stub = SimilarityStub(channel)
        found = [[one.product_id for one in stub.Search(request, timeout=60).neighbours] for request in requests]
        taken = []
        for request in requests:
            started_s = time.perf_counter()
            stub.Search(request, timeout=60)
            taken.append(1000 * (time.perf_counter() - started_s))
    return taken, found


def invented(given: argparse.Namespace, folder: Path) -> tuple[list[list[str]], dict[str, list[Any]]]:
    """Writes the index of everything; returns the roots of each shard, and the questions of each kind."""
    products = clustered_catalogue(given.products, given.dimension, benchmark_tree(given.taxonomy), 0)
    rows = np.random.default_rng(1).choice(len(products), given.queries, replace=False)
    ids, nodes = products.product_ids.take(rows).tolist(), products.nodes_of(rows).tolist()
    kinds = {
        "within the product's category": [
            messages.SearchRequest(product_id=one, k=K, node_id=node) for one, node in zip(ids, nodes, strict=True)
        ],
        "everywhere": [messages.SearchRequest(product_id=one, k=K) for one in ids],
    }
    save_index(folder, build_index(products, 10**9, 10, 0.9, 0, given.storage), version=1)
    return shares_of(products, given.shards), kinds


def _say(what: str) -> None:
    sys.stderr.write(f"{what}, load {os.getloadavg()[0]:.1f}\n")


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.similarity_shards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--storage", choices=STORAGES, default=FLOAT32)
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args(arguments)
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        _say(f"inventing {given.products:,} products")
        shares, kinds = invented(given, Path(folder) / "built")
        index = ["--index", f"{folder}/built"]
        _say("one server")
        with server(*index, "--folder", f"{folder}/whole") as (whole, process):
            alone = {name: asked(whole["grpc"], requests) for name, requests in kinds.items()}
            memory = [("one server", resident_mb(process))]
        shutil.rmtree(f"{folder}/whole")
        addresses, processes = [], []
        for number, roots in enumerate(shares):
            _say(f"shard {number + 1} of {len(shares)}")
            words = ["--folder", f"{folder}/shard-{number}", *["--shard-rest"] * (not number), "--shard", *roots]
            shard, process = running.enter_context(server(*index, *words))
            addresses.append(shard["grpc"])
            processes.append(process)
        _say("router")
        router, process = running.enter_context(server("--route", *addresses))
        routed = {name: asked(router["grpc"], requests) for name, requests in kinds.items()}
        memory += [(f"shard {number + 1}", resident_mb(one)) for number, one in enumerate(processes)] + [("router", resident_mb(process))]
    for name, (taken, found) in alone.items():
        others, same = routed[name][0], sum(one == other for one, other in zip(found, routed[name][1], strict=True)) / len(found)
        figures = [f"{np.quantile(part, share):.1f}" for part in (taken, others) for share in (0.5, 0.95)]
        lines.append(f"| {name} | {' | '.join(figures)} | {np.median(others) / np.median(taken):.2f} | {same:.3f} |")
    words = [f"--products {given.products} --dimension {given.dimension} --shards {given.shards} --queries {given.queries}"]
    words += [f"--storage {given.storage}"] * (given.storage != FLOAT32) + ["--taxonomy FILE"] * bool(given.taxonomy)
    size_mb = 4 * given.products * given.dimension / 2**20
    publish(
        given.out,
        [
            "# Shards behind a router",
            "",
            f"`python -m benchmarks.similarity_shards {' '.join(words)}`",
            "",
            f"{given.products:,} x {given.dimension} {given.storage} in clusters, {size_mb:,.0f} MB as float32;",
            f"exact search; every process on the same {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} at the end.",
            "Queries by product id, one at a time.",
            "",
            "| search | one server, median ms | p95 ms | router, median ms | p95 ms | ratio of medians | same answers |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "| process | resident MB |",
            "|---|---|",
            *(f"| {name} | {held:,.0f} |" for name, held in memory),
        ],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
