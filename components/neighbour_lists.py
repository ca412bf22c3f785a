"""Writes the neighbours of every product of a pool within its category, as Parquet and as documents for a store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import NeighbourIndexError
from schemas.taxonomy import Taxonomy
from similarity.all_neighbours import CategoryRows, NeighbourBlock, categories_at_depth, neighbours_of
from similarity.vector_tokens import PERCENTILE, ROUNDING, VectorTokens, percentile, rounding
from similarity.vectors import ProductVectors

MANIFEST, NEIGHBOURS, DOCUMENTS = "manifest.json", "neighbours", "documents"
NO_TOKENS = ""
SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("category", pa.string()),
        ("neighbours", pa.list_(pa.string())),
        ("similarities", pa.list_(pa.float32())),
    ]
)
_TOKEN_SAMPLE = 50_000


@dataclass(frozen=True)
class NeighbourPlan:
    """What is listed.

    Attributes:
        neighbours: of each product, at most.
        depth: of the categories that products are compared within, 1 for roots.
        tokens: `rounding:DECIMALS` or `percentile:LEVELS`, with `:WORDS` to keep a vector's largest numbers alone; empty for none.
        rows_a_file: products whose neighbours stand in one file, about.
    """

    neighbours: int = 100
    depth: int = 2
    tokens: str = NO_TOKENS
    rows_a_file: int = 20_000

    def __post_init__(self) -> None:
        """Refuses what can't be meant.

        Raises:
            NeighbourIndexError: a number below 1, or tokens that are none.
        """
        for name in ("neighbours", "depth", "rows_a_file"):
            if getattr(self, name) < 1:
                raise NeighbourIndexError(f"neighbour lists: {name} is {getattr(self, name)}, expected at least 1.")
        _token_numbers(self.tokens)


@dataclass(frozen=True)
class Part:
    """The categories, or the piece of a large one, whose products stand in one pair of files; `pieces` has category, first and last row."""

    number: int
    pieces: tuple[tuple[CategoryRows, int, int], ...]


def planned_parts(products: ProductVectors, taxonomy: Taxonomy, plan: NeighbourPlan) -> list[Part]:
    """Returns parts of about equal work, so that many machines end together; each product is in exactly one."""
    parts: list[Part] = []
    pieces: list[tuple[CategoryRows, int, int]] = []
    for category in categories_at_depth(products, taxonomy.depths, plan.depth):
        for start in range(category.start, category.stop, plan.rows_a_file):
            pieces.append((category, start, min(start + plan.rows_a_file, category.stop)))
            if sum(last - first for _, first, last in pieces) >= plan.rows_a_file:
                parts.append(Part(len(parts), tuple(pieces)))
                pieces = []
    return [*parts, Part(len(parts), tuple(pieces))] if pieces else parts


def vector_tokens(products: ProductVectors, plan: NeighbourPlan) -> VectorTokens | None:
    """Returns how vectors become words, None where they don't; percentiles are those of an evenly spread sample."""
    encoding, size, words = _token_numbers(plan.tokens)
    if encoding == ROUNDING:
        return rounding(size, words)
    if encoding == PERCENTILE:
        step = max(1, len(products) // _TOKEN_SAMPLE)
        return percentile(np.asarray(products.vectors[::step]), size, words)
    return None


def _token_numbers(text: str) -> tuple[str, int, int]:
    if not text:
        return NO_TOKENS, 0, 0
    encoding, *numbers = text.split(":")
    if encoding not in (ROUNDING, PERCENTILE) or not 1 <= len(numbers) <= 2 or not all(number.isdecimal() for number in numbers):
        raise NeighbourIndexError(f"tokens {text!r} are none. Write {ROUNDING}:DECIMALS or {PERCENTILE}:LEVELS, and :WORDS if not all.")
    return encoding, int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0


def write_part(folder: Path, products: ProductVectors, part: Part, plan: NeighbourPlan, tokens: VectorTokens | None, version: int) -> int:
    """Writes one Parquet file and one file of documents, each whole or not at all, and returns how many products they hold."""
    table, documents = folder / NEIGHBOURS / f"part-{part.number:05d}.parquet", folder / DOCUMENTS / f"part-{part.number:05d}.jsonl"
    for path in (table, documents):
        path.parent.mkdir(exist_ok=True)
    hidden = [path.with_name(f".{path.name}.partial") for path in (table, documents)]
    num_products = 0
    with pq.ParquetWriter(hidden[0], SCHEMA, compression="snappy") as writer, hidden[1].open("wb") as lines:
        for category, first, last in part.pieces:
            names = products.product_ids.take(np.arange(category.start, category.stop))
            for block in neighbours_of(products, category, first, last, plan.neighbours):
                writer.write_table(_table(names, category, block))
                words = tokens.texts(products.vectors[block.positions]) if tokens else None
                lines.writelines(_documents(names, category, block, words, version))
                num_products += len(block.positions)
    for path, target in zip(hidden, (table, documents), strict=True):
        path.replace(target)
    return num_products


def _table(names: npt.NDArray[Any], category: CategoryRows, block: NeighbourBlock) -> pa.Table:
    """Returns a block as it stands in a file; `names` are the ids of the category's products, objects (str)."""
    ids, (num_products, width) = pa.array(names, pa.string()), block.neighbours.shape
    ends = pa.array(width * np.arange(num_products + 1, dtype=np.int32))
    columns = [
        ids.take(pa.array(block.positions - category.start)),
        pa.array([category.node_id] * num_products, pa.string()),
        pa.ListArray.from_arrays(ends, ids.take(pa.array(block.neighbours.ravel() - category.start))),
        pa.ListArray.from_arrays(ends, pa.array(block.similarities.ravel(), pa.float32())),
    ]
    return pa.table(columns, schema=SCHEMA)


def _documents(
    names: npt.NDArray[Any], category: CategoryRows, block: NeighbourBlock, words: Sequence[str] | None, version: int
) -> Iterator[bytes]:
    """Yields a line of JSON for each product of a block."""
    ids = names[block.positions - category.start].tolist()
    neighbours = names[block.neighbours - category.start].tolist()
    similarities = np.round(block.similarities.astype(np.float64), 6).tolist()
    for row, product_id in enumerate(ids):
        similar = [{"product_id": other, "similarity": found} for other, found in zip(neighbours[row], similarities[row], strict=True)]
        document = {"product_id": product_id, "category": category.node_id, "model_version": version, "similar": similar}
        if words is not None and words[row]:
            document["vector_tokens"] = words[row]
        yield orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def write_list_manifest(folder: Path, plan: NeighbourPlan, num_products: int, version: int, model_sha256: str) -> None:
    """Writes `manifest.json`: what was listed, of which model."""
    found = {**asdict(plan), "num_products": num_products, "version": version, "model_sha256": model_sha256}
    (folder / MANIFEST).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
