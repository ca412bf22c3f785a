"""python -m benchmarks.sampling [--products 100000 1000000] [--strategies NAME ...]: seconds and memory of a batch, by strategy.

Makes scored pools of 1,300 nodes with 10 best nodes, 256-dimensional embeddings and a committee of 3 on disk, as PoolScorer
writes them, and draws a batch of each strategy in a process of its own. Writes benchmarks/results/sampling.md. The goals: a million
products in under 2 GB, and the default from 100,000 well under a second once the columns are in memory.

`read` is from files to columns, `pick` the batch from there; strategies that compare products read embeddings within it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import figures_of, publish
from components.sampling.batch import columns_for, pick
from components.sampling.contract import find_strategy, known_strategies
from components.scored_pool import (
    ANSWERED,
    COMMITTEE_NODES,
    COMMITTEE_PROBABILITIES,
    EMBEDDING,
    EXCLUSIVE_ENTROPY,
    EXCLUSIVE_NODES,
    EXCLUSIVE_PROBABILITIES,
    GROUP,
    PRODUCT_ID,
    SCHEMA,
    SPLIT,
    TITLE_KEY,
    PoolManifest,
    StoredEmbeddings,
    read_scored_pool,
    write_pool_manifest,
)
from schemas.product import ANSWER_NODE

RESULTS = Path(__file__).parent / "results" / "sampling.md"
NUM_NODES, TOP_K, DIMENSION, MEMBERS, BATCH = 1_300, 10, 256, 3, 250
_BLOCK = 10_000
_DEFAULT = "typical_then_margin"


def write_pool(folder: Path, num_products: int, seed: int = 0) -> None:
    """Writes a pool whose products lie around one centre a node; every third title is there twice, 1,000 products are answered."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(NUM_NODES, DIMENSION)).astype(np.float32)
    popularity = rng.permutation(1 / np.arange(1, NUM_NODES + 1))
    popularity /= popularity.sum()
    with pq.ParquetWriter(folder / "scored-00000-of-00001.parquet", SCHEMA, compression="snappy") as writer:
        for start in range(0, num_products, _BLOCK):
            size = min(_BLOCK, num_products - start)
            writer.write_table(_block(rng, centres, popularity, start, size, num_products))
    write_pool_manifest(folder, PoolManifest(num_products, DIMENSION, TOP_K, NUM_NODES, "model", "candidate", 0, committee=MEMBERS))


def _block(rng: np.random.Generator, centres: np.ndarray, popularity: np.ndarray, start: int, size: int, num_products: int) -> pa.Table:
    truth = rng.choice(NUM_NODES, size, p=popularity)
    vectors = centres[truth] + 1.5 * rng.normal(size=(size, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    members = [_guesses(rng, truth, size) for _ in range(MEMBERS)]
    nodes, likely = (np.stack([member[part] for member in members], axis=1) for part in (0, 1))
    rows = np.arange(start, start + size)
    answered = rng.random(size) < 1_000 / num_products
    columns = {
        PRODUCT_ID: pa.array([f"shop-{row:09d}" for row in rng.permutation(rows)]),
        SPLIT: pa.array(np.full(size, "dev", dtype=object)),
        GROUP: pa.array([f"{row - (row % 3 == 1):016x}" for row in rows]),
        TITLE_KEY: pa.array([f"{row - (row % 3 == 1):016x}" for row in rows]),
        ANSWERED: pa.array(answered),
        ANSWER_NODE: pa.array([f"node-{node}" if done else None for node, done in zip(truth, answered, strict=True)], pa.string()),
        EXCLUSIVE_NODES: _lists(nodes[:, 0]),
        EXCLUSIVE_PROBABILITIES: _lists(likely[:, 0]),
        EXCLUSIVE_ENTROPY: pa.array(rng.random(size).astype(np.float32) * 3),
        COMMITTEE_NODES: _lists(nodes.reshape(size, -1)),
        COMMITTEE_PROBABILITIES: _lists(likely.reshape(size, -1)),
        EMBEDDING: _lists(vectors),
    }
    empty = {field.name: pa.nulls(size, field.type) for field in SCHEMA if field.name not in columns}
    return pa.Table.from_pydict(columns | empty, schema=SCHEMA)


def _guesses(rng: np.random.Generator, truth: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    nodes = (truth[:, None] + rng.integers(0, 7, (size, 1)) * (rng.random((size, 1)) < 0.3) + np.arange(TOP_K)) % NUM_NODES
    scores = np.sort(rng.gamma(0.5, size=(size, TOP_K + 1)).astype(np.float32), axis=1)[:, ::-1]
    return nodes, scores[:, :TOP_K] / scores.sum(axis=1, keepdims=True)


def _lists(values: np.ndarray) -> pa.Array:
    flat = values.reshape(-1)
    inner = pa.array([f"node-{node}" for node in flat]) if flat.dtype.kind == "i" else pa.array(flat.astype(np.float32))
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1) * values.shape[1], pa.int32()), inner)


def measure(folder: Path, name: str) -> dict[str, float]:
    """Draws one batch in this process."""
    strategy = find_strategy(name)
    columns, started = columns_for(strategy), time.perf_counter()
    pool = read_scored_pool(folder, [column for column in columns if column != EMBEDDING])
    if EMBEDDING in columns:
        pool = replace(pool, embeddings=StoredEmbeddings(folder))
    read_s, started, cpu = time.perf_counter() - started, time.perf_counter(), time.process_time()
    items = pick(pool, strategy, BATCH, 0.1, np.random.default_rng(0))
    pick_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"read_s": read_s, "pick_s": pick_s, "cpu_s": cpu_s, "rss_mb": rss_mb, "items": len(items)}


def _table(num_products: int, measured: dict[str, dict[str, float]]) -> Iterator[str]:
    yield ""
    yield f"{num_products:,} products:"
    yield ""
    yield "| strategy | read s | pick s | pick, CPU s | pick / random | peak MB |"
    yield "|---|---|---|---|---|---|"
    base = measured["random"]["cpu_s"]
    for name, found in measured.items():
        cells = (found["read_s"], found["pick_s"], found["cpu_s"], found["cpu_s"] / base)
        yield f"| `{name}` | {' | '.join(f'{cell:.2f}' for cell in cells)} | {found['rss_mb']:,.0f} |"


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--strategies", nargs="+", default=list(known_strategies()))
    parser.add_argument("--one", nargs=2, metavar=("POOL", "NAME"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one:
        sys.stdout.write(json.dumps(measure(Path(given.one[0]), given.one[1])))
        return 0
    lines = [
        "# Sampling",
        "",
        f"Command: `python -m benchmarks.sampling --products {' '.join(map(str, given.products))}`",
        "",
        f"{os.cpu_count()} cores, others at work beside; {NUM_NODES:,} nodes, top {TOP_K}, {DIMENSION} dimensions, committee of {MEMBERS}, "
        f"batches of {BATCH} with a tenth audit. Each row is a process of its own; times include what chance and groups cost any strategy.",
    ]
    for num_products in given.products:
        with tempfile.TemporaryDirectory() as folder:
            write_pool(Path(folder), num_products)
            measured = {}
            for name in dict.fromkeys(["random", *given.strategies]):
                measured[name] = figures_of("benchmarks.sampling", "--one", folder, name)
                sys.stderr.write(f"{num_products} {name} {measured[name]}\n")
            lines += _table(num_products, measured)
    publish(RESULTS, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
