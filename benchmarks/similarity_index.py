"""python -m benchmarks.similarity [--sizes 20000 100000 300000] [--dimension 128]: exact and ScaNN search, build time, recall, ms a query.

Writes benchmarks/results/similarity.md; about two minutes with the sizes above. Vectors are drawn around the leaves of a
random tree, as a trained model makes them; exact search of the same vectors stands beside every number of ScaNN.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from similarity.contract import NeighbourIndex, index_kind
from similarity.recall import measured_recall, query_sample
from similarity.vectors import ProductVectors, in_tree_order

RESULTS = Path(__file__).parent / "results" / "similarity.md"
LEAVES, NEIGHBOURS, QUERIES = 500, 10, 200


def tree_like_vectors(num_products: int, dimension: int, rng: np.random.Generator) -> ProductVectors:
    """Returns vectors in noisy clusters, a root over every ten leaves, so that a subtree is a tenth of a root's share."""
    roots = rng.normal(size=(LEAVES // 10, dimension))
    leaves = np.repeat(roots, 10, axis=0) + 0.7 * rng.normal(size=(LEAVES, dimension))
    numbers = rng.integers(0, LEAVES, num_products)
    vectors = (leaves[numbers] + 0.8 * rng.normal(size=(num_products, dimension))).astype(np.float32)
    ids = [f"p{i}" for i in range(num_products)]
    return in_tree_order(vectors, ids, numbers, [f"n{i}" for i in range(LEAVES)], list(range(1, LEAVES + 1)))


def ms_a_query(index: NeighbourIndex, queries: np.ndarray, subtree: range | None) -> float:
    """Returns the median time of a search for one query, as a server does it."""
    taken = []
    for query in queries:
        started = time.perf_counter()
        index.search(query[None], NEIGHBOURS, subtree)
        taken.append(time.perf_counter() - started)
    return 1000 * float(np.median(taken))


def measure(num_products: int, dimension: int) -> list[str]:
    """Returns one row of the table for each kind."""
    products = tree_like_vectors(num_products, dimension, np.random.default_rng(0))
    rows = []
    for kind in ("exact", "scann"):
        started = time.perf_counter()
        index = index_kind(kind).build(products, 0)
        build_s = time.perf_counter() - started
        queries = query_sample(index, QUERIES, np.random.default_rng(1))
        recall = measured_recall(index, queries, NEIGHBOURS)
        whole, part = ms_a_query(index, queries, None), ms_a_query(index, queries, range(0, LEAVES // 10))
        rows.append(f"| {num_products:,} x {dimension} | {kind} | {build_s:.1f} | {recall:.3f} | {whole:.2f} | {part:.2f} |")
    return rows


def main(arguments: Sequence[str]) -> int:
    """Measures every size and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000, 300_000])
    parser.add_argument("--dimension", type=int, default=128)
    given = parser.parse_args(arguments)
    head = [
        "# Similarity search",
        "",
        f"`python -m benchmarks.similarity --sizes {' '.join(map(str, given.sizes))} --dimension {given.dimension}`",
        "",
        f"{os.cpu_count()} cores. Recall@{NEIGHBOURS} and times of {QUERIES} queries, one at a time. A subtree holds a tenth of all",
        "products and is searched exactly by both.",
        "",
        "| products x dimension | index | build s | recall | ms a query | ms a query in a subtree |",
        "|---|---|---|---|---|---|",
    ]
    text = "\n".join([*head, *(row for size in given.sizes for row in measure(size, given.dimension))]) + "\n"
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
