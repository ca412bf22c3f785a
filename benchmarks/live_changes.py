"""Measures a live index under 1,000 changes a second: when a change is visible, and what queries notice of it.

python -m benchmarks.live_changes [--products 100000] [--taxonomy FILE] [--seconds 30] [--rate 1000]

Writes live_changes.md into benchmarks/results/. Queries are those of benchmarks.similarity_index, first without any change, then while
changes arrive; nine of ten changes are upserts, the rest deletions and moves. Each changing thread waits for what it sent.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.clustered_catalogue import benchmark_tree, clustered_catalogue, tree_weighted_queries
from schemas.taxonomy import Taxonomy
from similarity.changes import Change, Delete, Move, Upsert
from similarity.live_index import LiveIndex
from similarity.planner import build_index, save_index
from similarity.vectors import INT8, ProductVectors

RESULTS = Path(__file__).parent / "results"
K, WRITERS, GROUP = 100, 4, 5
Milliseconds = list[float]


def changes(products: ProductVectors, tree: Taxonomy, rng: np.random.Generator) -> list[Change]:
    """Returns a group: new and changed products, now and then a deletion and a move."""
    found: list[Change] = []
    for draw in rng.random(GROUP).tolist():
        row = int(rng.integers(len(products)))
        product_id, node_id = products.product_ids[row], tree[int(rng.integers(len(tree)))].id
        if draw < 0.9:
            noise = 0.05 * rng.standard_normal(products.dimension, dtype=np.float32)
            found.append(Upsert(product_id, products.node_id(row), products.vectors[row] + noise, {"price": 9.5}))
        else:
            found.append(Delete(product_id) if draw < 0.95 else Move(product_id, node_id))
    return found


class Load:
    """Threads that change an index at a steady rate, and one that searches it, until told to end."""

    def __init__(self, live: LiveIndex, products: ProductVectors, tree: Taxonomy, rate: float) -> None:
        self._live, self._products, self._tree, self._rate = live, products, tree, rate
        self.acknowledged: Milliseconds = []
        self.answered: Milliseconds = []
        self.changes = 0
        self._ended = threading.Event()

    def run(self, seconds: float, queries: npt.NDArray[np.float32], subtrees: Sequence[range | None]) -> None:
        """Changes and searches for some seconds."""
        writers = [threading.Thread(target=self._change, args=(number,)) for number in range(WRITERS)] if self._rate else []
        for writer in writers:
            writer.start()
        nodes = [None if subtree is None else self._products.node_ids[subtree.start] for subtree in subtrees]
        until, number = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            place = number % len(queries)
            started = time.perf_counter()
            self._live.search(queries[place : place + 1], K, nodes[place])
            self.answered.append(1000 * (time.perf_counter() - started))
            number += 1
        self._ended.set()
        for writer in writers:
            writer.join()

    def _change(self, number: int) -> None:
        rng, following = np.random.default_rng(number), time.perf_counter()
        while not self._ended.is_set():
            group = changes(self._products, self._tree, rng)
            time.sleep(max(0.0, following - time.perf_counter()))
            following += GROUP * WRITERS / self._rate
            started = time.perf_counter()
            self._live.apply(group)
            self.acknowledged.append(1000 * (time.perf_counter() - started))
            self.changes += len(group)


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Returns times without and with changes, with and without a compaction in the background."""
    tree = benchmark_tree(given.taxonomy)
    products = clustered_catalogue(given.products, given.dimension, tree, 0)
    save_index(folder / "built", build_index(products, 200_000, 10, 0.9, 0, INT8))
    queries, subtrees = tree_weighted_queries(products, tree, 500, 1)
    result: dict[str, Any] = {}
    with LiveIndex.create(folder / "live", folder / "built", compact_above=0) as live:
        for name, rate in (("no changes", 0), (f"{given.rate:,} changes/s", given.rate)):
            load = Load(live, products, tree, rate)
            load.run(given.seconds, queries, subtrees)
            result[name] = _figures(load, given.seconds)
        compaction = threading.Thread(target=live.compact)
        started = time.perf_counter()
        compaction.start()
        load = Load(live, products, tree, given.rate)
        load.run(given.seconds, queries, subtrees)
        result[f"{given.rate:,} changes/s, compaction beside"] = _figures(load, given.seconds)
        compaction.join()
        result["compaction_s"] = time.perf_counter() - started
        sequence = live.status().sequence
    started = time.perf_counter()
    with LiveIndex.open(folder / "live") as live:
        result["open_s"] = time.perf_counter() - started
        result["kept"] = live.status().sequence == sequence
    return result


def _figures(load: Load, seconds: float) -> dict[str, float]:
    changed = load.acknowledged or [0.0]
    return {
        "changes_a_second": load.changes / seconds,
        "visible_median_ms": float(np.median(changed)),
        "visible_p99_ms": float(np.quantile(changed, 0.99)),
        "visible_worst_ms": max(changed),
        "query_median_ms": float(np.median(load.answered)),
        "query_p99_ms": float(np.quantile(load.answered, 0.99)),
    }


def report(given: argparse.Namespace, result: dict[str, Any]) -> str:
    """Returns the page."""
    rows = [(name, found) for name, found in result.items() if isinstance(found, dict)]
    return "\n".join(
        [
            "# Changes while queries run",
            "",
            f"`python -m benchmarks.live_changes --products {given.products} --seconds {given.seconds:g} --rate {given.rate}`",
            "",
            f"{given.products:,} x {given.dimension}, int8; {os.cpu_count()} cores for everything. {WRITERS} threads change groups of",
            f"{GROUP} and wait until each is on disk and visible; one thread searches without pause.",
            "",
            "| load | changes/s | visible, median ms | p99 ms | worst ms | query, median ms | p99 ms |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {name} | {found['changes_a_second']:,.0f} | {found['visible_median_ms']:.1f} | {found['visible_p99_ms']:.1f} "
                f"| {found['visible_worst_ms']:.1f} | {found['query_median_ms']:.2f} | {found['query_p99_ms']:.2f} |"
                for name, found in rows
            ),
            "",
            f"Compaction under this load: {result['compaction_s']:.0f} s. Opening again: {result['open_s']:.2f} s, every",
            f"acknowledged change {'kept' if result['kept'] else 'NOT KEPT'}.",
            "",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(given, Path(folder))
    given.out.mkdir(parents=True, exist_ok=True)
    text = report(given, result)
    (given.out / "live_changes.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (given.out / "live_changes.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
