"""Measures the offline product: every product's neighbours in its second-level category, and how well words in their place do.

python -m benchmarks.neighbour_lists [--products 5000] [--taxonomy FILE]

Writes neighbour_lists.md into benchmarks/results/. Words are searched with SQLite's full-text engine, ranked by BM25; its best 1,000 are
then compared exactly, as one would.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.clustered_catalogue import benchmark_tree, clustered_catalogue
from components.neighbour_lists import NeighbourPlan, planned_parts, write_part
from similarity.vector_tokens import VectorTokens, percentile, rounding
from similarity.vectors import ProductVectors

RESULTS = Path(__file__).parent / "results"
K, QUERIES = 10, 20
FETCHED = (K, 100, 1_000)


def words_in_an_engine(products: ProductVectors, tokens: VectorTokens, rng: np.random.Generator) -> tuple[list[float], float]:
    """Returns recall@10 of the engine's first 10, 100 and 1,000, compared exactly, and milliseconds a query."""
    engine = sqlite3.connect(":memory:")
    engine.execute("CREATE VIRTUAL TABLE products USING fts5(words, content='', tokenize = \"unicode61 tokenchars '_'\")")
    engine.executemany("INSERT INTO products(rowid, words) VALUES (?, ?)", enumerate(tokens.texts(products.vectors)))
    recalls, seconds = np.zeros(len(FETCHED)), 0.0
    for position in rng.choice(len(products), QUERIES, replace=False).tolist():
        query = " OR ".join(tokens.texts(products.vectors[position : position + 1])[0].split())
        started = time.perf_counter()
        rows = engine.execute("SELECT rowid FROM products WHERE products MATCH ? ORDER BY rank LIMIT 1000", (query,)).fetchall()
        seconds += time.perf_counter() - started
        found = np.array([row for (row,) in rows])
        truth = np.argsort(-(products.vectors @ products.vectors[position]))[:K]
        recalls += [np.isin(truth, found[:fetched]).mean() for fetched in FETCHED]
    return (recalls / QUERIES).tolist(), 1000 * seconds / QUERIES


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=5_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    tree = benchmark_tree(given.taxonomy)
    products = clustered_catalogue(given.products, given.dimension, tree, 0)
    plan = NeighbourPlan()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        listed = sum(write_part(Path(folder), products, part, plan, None, 1) for part in planned_parts(products, tree, plan))
        seconds = time.perf_counter() - started
    encodings = [
        ("rounding to 1 decimal", rounding(1)),
        ("rounding to 1 decimal, 40 largest", rounding(1, 40)),
        ("10 percentiles", percentile(products.vectors, 10)),
        ("10 percentiles, 40 largest", percentile(products.vectors, 10, 40)),
    ]
    rows = []
    for name, tokens in encodings:
        recalls, ms = words_in_an_engine(products, tokens, np.random.default_rng(1))
        rows.append(f"| {name} | " + " | ".join(f"{recall:.3f}" for recall in recalls) + f" | {ms:.0f} |")
    text = "\n".join(
        [
            "# Every product's neighbours",
            "",
            f"`python -m benchmarks.neighbour_lists --products {given.products}{' --taxonomy FILE' if given.taxonomy else ''}`",
            "",
            f"{plan.neighbours} neighbours of each of {listed:,} products ({given.dimension} numbers) in their second-level category,",
            f"exact, as Parquet and documents: {seconds:.0f} s on one of {os.cpu_count()} cores, {listed / seconds:,.0f} products/s.",
            "",
            "## Vectors as words",
            "",
            f"Recall@{K} of SQLite's full-text engine (BM25) on the same products: of its first {K} as they are, and of its first 100",
            f"and 1,000 compared exactly. Means of {QUERIES} products as queries; exact search is 1 by definition.",
            "",
            "| words | first 10 | first 100 | first 1,000 | ms a query |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "neighbour_lists.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
