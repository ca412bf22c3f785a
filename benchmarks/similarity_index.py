"""Measures search in subtrees and under filters: recall, latency, memory, load time, beside brute force, plain ScaNN and hnswlib.

python -m benchmarks.similarity_index [--products 1000000] [--taxonomy FILE] [--queries 1000]

Writes similarity.json, similarity.md and selectivity.svg into benchmarks/results/. A million products take about half an hour on two
cores, most of it hnswlib's build, which is left out where hnswlib isn't installed, and 6 GB. Without a taxonomy the tree is
invented. Recall counts a product as found if it is as similar as the true k-th one; a search that returns too few misses the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import numpy.typing as npt

from benchmarks.clustered_catalogue import benchmark_tree, clustered_catalogue, tree_weighted_queries
from benchmarks.plain_searches import Mask, Search, brute_force, plain_hnsw, plain_scann
from similarity.contract import NeighbourIndex, index_kind
from similarity.planner import BuiltIndex, load_index, save_index
from similarity.query_plan import EXACT_BELOW
from similarity.vectors import FLOAT32, INT8, ProductVectors

mpl.use("Agg")
RESULTS = Path(__file__).parent / "results"
K = 100
SIZES = (1_000, 10_000, 100_000, 10**9)
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_TIE = 1e-5
_MEMORY_QUERIES = _ELSEWHERE = 300


def of_index(index: NeighbourIndex, subtrees: dict[tuple[int, int], range | None]) -> Search:
    """Returns an index as a plain search: slices become the subtrees they came from."""

    def search(query: npt.NDArray[np.float32], k: int, rows: slice, mask: Mask | None) -> npt.NDArray[np.int64]:
        return np.asarray(index.search(query[None], k, subtrees[rows.start, rows.stop], mask).positions[0])

    return search


def searches(
    products: ProductVectors, subtrees: dict[tuple[int, int], range | None], folder: Path
) -> tuple[dict[str, Search], dict[str, float]]:
    """Returns every search by name, and how many seconds each took to build; ours are read back from where they were saved."""
    found: dict[str, Search] = {"brute force": brute_force(products)}
    seconds: dict[str, float] = {}
    for storage in (FLOAT32, INT8):
        started = time.perf_counter()
        index = index_kind("scann").build(products.stored_as(storage), 0)
        save_index(folder / storage, BuiltIndex(index, 1.0, K))
        index = load_index(folder / storage)[0]
        index.exact_below = EXACT_BELOW  # type: ignore[attr-defined]
        found[f"aisle {storage}"] = of_index(index, subtrees)
        seconds[f"aisle {storage}"] = time.perf_counter() - started
    for name, make in (("plain ScaNN", plain_scann), ("plain hnswlib", plain_hnsw)):
        started = time.perf_counter()
        search = make(products)
        if search is not None:
            found[name], seconds[name] = search, time.perf_counter() - started
        sys.stderr.write(f"{name}: {time.perf_counter() - started:.0f} s\n")
    return found, seconds


def recall(products: ProductVectors, query: npt.NDArray[np.float32], found: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    """Returns the share of the true neighbours that were found, or others as similar."""
    worst = float(products.vectors[truth[-1]] @ query)
    return float((products.vectors[found] @ query >= worst - _TIE).sum()) / len(truth)


def measure_subtrees(
    products: ProductVectors, known: dict[str, Search], queries: npt.NDArray[np.float32], subtrees: Sequence[range | None]
) -> list[dict[str, Any]]:
    """Returns one row a search and query: size of the subtree, recall, milliseconds."""
    rows = []
    for query, subtree in zip(queries, subtrees, strict=True):
        where = products.rows(subtree)
        truth = known["brute force"](query, K, where, None)
        for name, search in known.items():
            started = time.perf_counter()
            found = search(query, K, where, None)
            ms = 1000 * (time.perf_counter() - started)
            rows.append({"search": name, "size": where.stop - where.start, "recall": recall(products, query, found, truth), "ms": ms})
    return rows


def measure_filters(products: ProductVectors, known: dict[str, Search], queries: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    """Returns one row a search, share and query: filters that leave a share of the whole index, drawn at random."""
    rng = np.random.default_rng(3)
    whole, rows = slice(0, len(products)), []
    for share in SHARES:
        for query in queries:
            mask = None if share == 1 else rng.random(len(products)) < share
            truth = known["brute force"](query, K, whole, mask)
            for name, search in known.items():
                started = time.perf_counter()
                found = search(query, K, whole, mask)
                ms = 1000 * (time.perf_counter() - started)
                rows.append({"search": name, "share": share, "recall": recall(products, query, found, truth), "ms": ms})
    return rows


def resident_bytes() -> tuple[int, int]:
    """Returns what this process holds in memory, mapped files included but no code, and how much of it are ids and filter columns."""
    total = of_ids = 0
    name = ""
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if line.startswith("Rss:") and ".so" not in name:
            total += 1024 * int(words[1])
            of_ids += 1024 * int(words[1]) if name.startswith(("id_", "column_")) else 0
        elif not words[0].endswith(":"):
            name = Path(words[-1]).name
    return total, of_ids


def measure_memory(folder: Path, queries: Path) -> dict[str, float]:
    """Returns what loading and searching an index adds to a process, as a share of its float32 vectors, and the load's seconds."""
    saved = np.load(queries)
    index_kind(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["kind"])  # Its library isn't the index.
    before, _ = resident_bytes()
    started = time.perf_counter()
    index, _ = load_index(folder, content=False)
    load_s = time.perf_counter() - started
    index.exact_below = EXACT_BELOW  # type: ignore[attr-defined]
    for query, start, stop in zip(saved["queries"], saved["starts"], saved["stops"], strict=True):
        index.search(query[None], K, None if start < 0 else range(int(start), int(stop)))
    float32 = 4 * len(index.products) * index.products.dimension
    total, of_ids = resident_bytes()
    started = time.perf_counter()
    load_index(folder)
    verified_s = time.perf_counter() - started
    gigabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9
    return {
        "share": (total - of_ids - before) / float32,
        "ids": of_ids / float32,
        "load_s_per_gb": load_s / gigabytes,
        "verified_load_s_per_gb": verified_s / gigabytes,
    }


def in_a_process_of_its_own(folder: Path, queries: Path) -> dict[str, float]:
    """Returns `measure_memory` of a fresh process."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.similarity_index",
        "--memory",
        str(folder),
        "--saved-queries",
        str(queries),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def table_of_subtrees(rows: Sequence[dict[str, Any]], num_products: int) -> list[str]:
    """Returns the table by size of the subtree, and the line of what was promised."""
    lines = [
        "| products in the subtree | search | queries | recall@100 | worst query | median ms | p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for low, high in zip((0, *SIZES[:-1]), SIZES, strict=True):
        some = [row for row in rows if low < row["size"] <= high]
        for name in dict.fromkeys(row["search"] for row in some):
            found = [row for row in some if row["search"] == name]
            ms, recalls = [row["ms"] for row in found], [row["recall"] for row in found]
            size = f"up to {high:,}" if high < num_products else f"more than {low:,}"
            lines.append(
                f"| {size} | {name} | {len(found)} | {np.mean(recalls):.4f} | {min(recalls):.2f} | {np.median(ms):.2f} "
                f"| {np.quantile(ms, 0.99):.2f} |"
            )
    lines += ["", "| search | p95 ms | p99 ms | worst ms | recall@100 of all queries |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(row["search"] for row in rows):
        ms = [row["ms"] for row in rows if row["search"] == name]
        mean = np.mean([row["recall"] for row in rows if row["search"] == name])
        lines.append(f"| {name} | {np.quantile(ms, 0.95):.2f} | {np.quantile(ms, 0.99):.2f} | {max(ms):.2f} | {mean:.4f} |")
    return lines


def table_of_filters(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the table by share: median milliseconds and recall of each search."""
    names = list(dict.fromkeys(row["search"] for row in rows))
    lines = ["| the filter leaves | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for share in SHARES:
        cells = []
        for name in names:
            some = [row for row in rows if row["search"] == name and row["share"] == share]
            cells.append(f"{np.median([row['ms'] for row in some]):.1f} ms, {np.mean([row['recall'] for row in some]):.3f}")
        lines.append(f"| {100 * share:g} % | " + " | ".join(cells) + " |")
    return lines


def plot_filters(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws recall and milliseconds over the share that a filter leaves."""
    mpl.rcParams.update({"svg.hashsalt": "aisle", "svg.fonttype": "none"})
    figure = mpl.figure.Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for name in dict.fromkeys(row["search"] for row in rows):
        some = {share: [row for row in rows if row["search"] == name and row["share"] == share] for share in SHARES}
        shares = [100 * share for share in SHARES]
        axes[0].plot(shares, [np.mean([row["recall"] for row in found]) for found in some.values()], marker=".", label=name)
        axes[1].plot(shares, [np.median([row["ms"] for row in found]) for found in some.values()], marker=".")
    for axis, label in zip(axes, ("recall@100", "median ms a query"), strict=True):
        axis.set(xscale="log", xlabel="% of the products that the filter leaves", ylabel=label)
    axes[1].set_yscale("log")
    axes[0].legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def report(given: argparse.Namespace, result: dict[str, Any]) -> str:
    """Returns the page."""
    products, memory, seconds = given.products, result["memory"], result["build_s"]
    where = "--taxonomy FILE " if given.taxonomy else ""
    return "\n".join(
        [
            "# Similarity search",
            "",
            f"`python -m benchmarks.similarity_index --products {products} {where}--queries {given.queries}`",
            "",
            f"{products:,} x {given.dimension} vectors in noisy clusters over {result['nodes']:,} nodes; {os.cpu_count()} cores, one query",
            f"at a time, one thread. {result['shape']}. A query is a product drawn at random, searched in a node drawn evenly from those",
            "it is in, the whole index among them. Plain ScaNN and hnswlib fetch 1,000 of the whole index and filter afterwards.",
            "",
            *table_of_subtrees(result["subtrees"], products),
            "",
            "## Queries from elsewhere",
            "",
            "The same categories, each asked for neighbours of a product that is somewhere else.",
            "",
            *table_of_subtrees(result["elsewhere"], products),
            "",
            "## Memory, load and build",
            "",
            "What a fresh process holds more after loading and 300 such queries, mapped files included but no code, as a share of the",
            "float32 vectors; product ids beside it, which float32 vectors alone don't have either.",
            "",
            "| index | memory | ids | load, s per GB | load with every digest, s per GB | build s |",
            "|---|---|---|---|---|---|",
            *(
                f"| aisle {name} | {found['share']:.3f} | {found['ids']:.3f} | {found['load_s_per_gb']:.3f} "
                f"| {found['verified_load_s_per_gb']:.2f} | {seconds[f'aisle {name}']:.0f} |"
                for name, found in memory.items()
            ),
            *(f"| {name} | | | | | {taken:.0f} |" for name, taken in seconds.items() if name.startswith("plain")),
            "",
            "## Filters over the whole index",
            "",
            "Median milliseconds and recall@100; the filter leaves products drawn at random.",
            "",
            *table_of_filters(result["filters"]),
            "",
            "![recall and time by selectivity](selectivity.svg)",
            "",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--saved-queries", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.memory:
        sys.stdout.write(json.dumps(measure_memory(given.memory, given.saved_queries)) + "\n")
        return 0
    tree = benchmark_tree(given.taxonomy)
    products = clustered_catalogue(given.products, given.dimension, tree, 0)
    queries, subtrees = tree_weighted_queries(products, tree, given.queries, 1)
    nodes = [None, *(range(number, end) for number, end in enumerate(products.subtree_ends))]
    slices = {(products.rows(node).start, products.rows(node).stop): node for node in nodes}
    sizes = sorted((end - start for start, end in slices if end - start > 100_000), reverse=True)
    result: dict[str, Any] = {"products": given.products, "nodes": len(tree), "cores": os.cpu_count()}
    result["shape"] = f"Subtrees of more than 100,000 products: {', '.join(f'{size:,}' for size in sizes) or 'none'}"
    with tempfile.TemporaryDirectory() as folder:
        known, result["build_s"] = searches(products, slices, Path(folder))
        some = slice(0, _MEMORY_QUERIES)
        starts, stops = [-1 if node is None else node.start for node in subtrees], [0 if node is None else node.stop for node in subtrees]
        np.savez(Path(folder) / "queries.npz", queries=queries[some], starts=starts[some], stops=stops[some])
        result["memory"] = {kind: in_a_process_of_its_own(Path(folder) / kind, Path(folder) / "queries.npz") for kind in (FLOAT32, INT8)}
        result["subtrees"] = measure_subtrees(products, known, queries, subtrees)
        result["elsewhere"] = measure_subtrees(products, known, queries[:_ELSEWHERE], [*subtrees[1:], subtrees[0]][:_ELSEWHERE])
        result["filters"] = measure_filters(products, known, queries[:20])
    given.out.mkdir(parents=True, exist_ok=True)
    text = report(given, result)
    (given.out / "similarity.json").write_text(json.dumps(_short(result)) + "\n", encoding="utf-8")
    (given.out / "similarity.md").write_text(text, encoding="utf-8")
    plot_filters(result["filters"], given.out / "selectivity.svg")
    sys.stdout.write(text)
    return 0


def _short(result: dict[str, Any]) -> dict[str, Any]:
    """Returns what the tables are made of: for each search its numbers in columns, cut to what they are worth."""
    cut: dict[str, Any] = {}
    for key in ("subtrees", "elsewhere", "filters"):
        for row in result[key]:
            columns = cut.setdefault(key, {}).setdefault(row["search"], {})
            for name, value in row.items():
                if name != "search":
                    columns.setdefault(name, []).append(round(value, 3) if isinstance(value, float) else value)
    return result | cut


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
