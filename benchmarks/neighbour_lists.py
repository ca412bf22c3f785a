"""Measures the offline product: every product's neighbours in its second-level category, and how well words in their place do.

python -m benchmarks.neighbour_lists [--products 5000] [--taxonomy FILE] [--workers N] [--token-products 5000] [--out FILE]

Lists are written part by part as the stage does, by one process a core, and removed again; some products of each part are compared with
all of their category in float64, and one wrong neighbour ends the measurement. A million products with 128 numbers take 2 GB, most of it
while they are invented. Words are searched with SQLite's full-text engine, ranked by BM25; its best 1,000 are then compared exactly, as
one would. A query of words takes longer the more products there are, so they have a size of their own; 0 leaves them out.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.clustered_catalogue import benchmark_tree, clustered_catalogue
from benchmarks.processes import publish
from components.neighbour_lists import NEIGHBOURS, NeighbourPlan, Part, planned_parts, write_part
from schemas.errors import NeighbourIndexError
from schemas.taxonomy import Taxonomy
from similarity.vector_tokens import VectorTokens, percentile, rounding
from similarity.vectors import ProductVectors, load_vectors, save_vectors
from studies.workers import in_workers

RESULTS = Path(__file__).parent / "results" / "neighbour_lists.md"
K, QUERIES = 10, 20
FETCHED = (K, 100, 1_000)
_BEST = "SELECT rowid FROM products WHERE products MATCH ? ORDER BY rank LIMIT ?"
_CHECKED = 5  # Products of each part that are compared the slow way.
_AS_GOOD = 1e-5  # Float32 sums in another order.
PLAN = NeighbourPlan()


@dataclass(frozen=True)
class Written:
    """What a process made of one part.

    Attributes:
        num_products: whose neighbours it holds.
        num_bytes: of both files.
        seconds: it took, without the check.
        peak_bytes: of memory the process held while it wrote, mapped vectors included, without the check.
    """

    num_products: int
    num_bytes: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Lists:
    """All lists together.

    Attributes:
        parts: what was written.
        seconds: from the first process's start to the last part's end, without inventing the products.
        largest: products of the largest category.
    """

    parts: list[Written]
    seconds: float
    largest: int


def part_writer(folder: Path) -> Callable[[Part], Iterator[Written]]:
    """Returns what writes a part of the products that lie in a folder, checks it and removes it."""
    products = load_vectors(folder / "vectors")

    def write(part: Part) -> Iterator[Written]:
        _forget_peak()
        started_s = time.perf_counter()
        num_products = write_part(folder, products, part, PLAN, None, 1)
        seconds, peak_bytes = time.perf_counter() - started_s, _peak_bytes()
        files = list(folder.glob(f"*/part-{part.number:05d}.*"))
        num_bytes = sum(path.stat().st_size for path in files)
        _check(products, part, next(path for path in files if path.parent.name == NEIGHBOURS))
        for path in files:
            path.unlink()
        yield Written(num_products, num_bytes, seconds, peak_bytes)

    return write


def _forget_peak() -> None:
    """Has `_peak_bytes` begin anew, without what the check of the part before held."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_bytes() -> int:
    """Returns the most that this process held since then; `getrusage` would count what its parent did when it started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _check(products: ProductVectors, part: Part, file: Path) -> None:
    """Compares some of the written products with all of their category.

    Raises:
        NeighbourIndexError: neighbours that aren't the nearest, or aren't as similar as is said.
    """
    rows = np.concatenate([np.arange(first, last) for _, first, last in part.pieces])
    table = pq.read_table(file)
    for place in np.random.default_rng(part.number).integers(0, len(rows), _CHECKED).tolist():
        (written,), row = table.slice(place, 1).to_pylist(), rows[place]
        (category,) = [category for category, first, last in part.pieces if first <= row < last]
        query = products.vectors[row].astype(np.float64)
        others = np.delete(np.asarray(products.vectors[category.start : category.stop], np.float64), row - category.start, axis=0)
        truth = np.sort(others @ query)[::-1][: PLAN.neighbours]
        own = [products.vectors[products.product_ids.find(product_id)] @ query for product_id in written["neighbours"]]
        right = len(set(written["neighbours"])) == len(truth) and written["product_id"] == products.product_ids[int(row)]
        if not right or np.abs(np.array([own, written["similarities"]]) - truth).max(initial=0.0) > _AS_GOOD:
            raise NeighbourIndexError(f"{file.name}: the neighbours of {written['product_id']!r} aren't the nearest of its category.")


def listed(num_products: int, dimension: int, tree: Taxonomy, num_workers: int) -> Lists:
    """Lists every product of an invented catalogue, and says on standard error how far it is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vectors").mkdir()
        parts = _invented(folder / "vectors", num_products, dimension, tree)
        found: list[Written] = []
        started_s = time.perf_counter()
        for _, written in in_workers(part_writer, folder, parts, num_workers):
            if written is not None:
                found.append(written)
                done, took_s = sum(part.num_products for part in found), time.perf_counter() - started_s
                sys.stderr.write(f"{NEIGHBOURS}: {done:,} of {num_products:,} products, {took_s:.0f} s\n")
        seconds = time.perf_counter() - started_s
    return Lists(found, seconds, max(category.stop - category.start for part in parts for category, _, _ in part.pieces))


def _invented(folder: Path, num_products: int, dimension: int, tree: Taxonomy) -> list[Part]:
    """Writes the products where every process can map them, and returns the parts."""
    sys.stderr.write(f"inventing {num_products:,} products\n")
    products = clustered_catalogue(num_products, dimension, tree, 0)
    save_vectors(folder, products)
    return planned_parts(products, tree, PLAN)


def words_in_an_engine(products: ProductVectors, tokens: VectorTokens, rng: np.random.Generator) -> tuple[list[float], float]:
    """Returns recall@10 of the engine's first 10, 100 and 1,000, compared exactly, and milliseconds a query.

    The product that asks counts nowhere: any words find it, and nobody asks for it.
    """
    engine = sqlite3.connect(":memory:")
    engine.execute("CREATE VIRTUAL TABLE products USING fts5(words, content='', tokenize = \"unicode61 tokenchars '_'\")")
    for start in range(0, len(products), 10_000):
        texts = tokens.texts(products.vectors[start : start + 10_000])
        engine.executemany("INSERT INTO products(rowid, words) VALUES (?, ?)", enumerate(texts, start))
    recalls, seconds = np.zeros(len(FETCHED)), 0.0
    for position in rng.choice(len(products), QUERIES, replace=False).tolist():
        query = " OR ".join(tokens.texts(products.vectors[position : position + 1])[0].split())
        started = time.perf_counter()
        rows = engine.execute(_BEST, (query, FETCHED[-1] + 1)).fetchall()
        seconds += time.perf_counter() - started
        found = np.array([row for (row,) in rows if row != position])  # Most often one less.
        similarities = products.vectors @ products.vectors[position]
        similarities[position] = -np.inf
        truth = np.argsort(-similarities)[:K]
        recalls += [np.isin(truth, found[:fetched]).mean() for fetched in FETCHED]
    engine.close()
    return (recalls / QUERIES).tolist(), 1000 * seconds / QUERIES


def words_table(num_products: int, dimension: int, tree: Taxonomy) -> list[str]:
    """Returns the rows of the table of words."""
    products = clustered_catalogue(num_products, dimension, tree, 0)
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
        sys.stderr.write(f"words: {rows[-1]}\n")
    return rows


def report(given: argparse.Namespace, lists: Lists, words: list[str], load: tuple[float, float]) -> list[str]:
    """Returns the page."""
    count, most = sum(part.num_products for part in lists.parts), max(part.peak_bytes for part in lists.parts)
    size, core_s = sum(part.num_bytes for part in lists.parts), sum(part.seconds for part in lists.parts)
    command = f"`python -m benchmarks.neighbour_lists --products {given.products} --token-products {given.token_products}"
    lines = [
        "# Every product's neighbours",
        "",
        f"{command}{' --taxonomy FILE' if given.taxonomy else ''}`",
        "",
        f"{PLAN.neighbours} neighbours of each of {count:,} products ({given.dimension} numbers) in their second-level category, of",
        f"which the largest holds {lists.largest:,}; exact, as Parquet and documents ({size / 1e9:.1f} GB).",
        f"{_CHECKED * len(lists.parts):,} were read back and compared with all of their category in float64: no neighbour was wrong.",
        "",
        "| processes | seconds | products a second | ms of a process for a product | most memory of a process | load average |",
        "|---|---|---|---|---|---|",
        f"| {given.workers} of {os.cpu_count()} cores | {lists.seconds:.0f} | {count / lists.seconds:,.0f} | {1000 * core_s / count:.2f} | "
        f"{most / 1e6:,.0f} MB | {load[0]:.1f} to {load[1]:.1f} |",
        "",
        f"Of a process's memory, up to {4 * given.dimension * count / 1e6:,.0f} MB are the vectors, which all processes map together; that",
        "comparison's own isn't in it.",
    ]
    if words:
        lines += [
            "",
            "## Vectors as words",
            "",
            f"Recall@{K} of SQLite's full-text engine (BM25) on {given.token_products:,} such products: of its first {K} as they are, and",
            f"of its first 100 and 1,000 compared exactly. Means of {QUERIES} products as queries, which themselves don't count;",
            "exact search is 1 by definition.",
            "",
            "| words | first 10 | first 100 | first 1,000 | ms a query |",
            "|---|---|---|---|---|",
            *words,
        ]
    return lines


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=5_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--token-products", type=int, default=5_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    tree = benchmark_tree(given.taxonomy)
    before = os.getloadavg()[0]
    lists = listed(given.products, given.dimension, tree, given.workers)
    load = before, os.getloadavg()[0]
    words = words_table(given.token_products, given.dimension, tree) if given.token_products else []
    publish(given.out, report(given, lists, words, load))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
