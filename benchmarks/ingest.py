"""`python -m benchmarks.ingest --rows 10000 100000 --formats jsonl csv --out benchmarks/results/ingest.md` measures ingest.

From feed files to TFRecords: rows a second and core, and peak memory, each size in a fresh
process. Beside each it times plain `json.loads` of the same rows in the same process, so that machines can be compared: what
counts is the ratio. A million rows take about a minute. Expect more than 5,000 rows a second, and memory that hardly grows
with rows (some 20 bytes each).
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq

from components.product_ingest import Feed, ingest
from schemas.settings import IngestSettings, NetworkSettings

_WORDS = (
    *("alpine", "cotton", "runner", "leather", "silver", "compact", "wireless", "garden", "oak", "velvet", "merino", "classic"),
    *("urban", "trail", "espresso", "ceramic", "bamboo", "nordic", "summer", "winter", "waterproof", "foldable", "ergonomic"),
    *("vintage", "handmade", "organic", "sport", "travel", "deluxe", "mini", "Größe", "crème", "café"),
)
_KINDS = ("Sneaker", "Jacket", "Lamp", "Chair", "Backpack", "Watch", "Kettle", "Rug", "Shirt", "Headphones")
_GOOGLE = {"merchant_category": "product_type", "colour": "color", "image": "image_link", "category": "google_product_category"}


def synthetic_rows(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Yields noisy rows as feeds hold them: entities, tags, odd spaces, missing fields, near-copies, a few without a title."""
    rng = random.Random(seed)
    for number in range(count):
        kind = rng.choice(_KINDS)
        words = rng.choices(_WORDS, k=rng.randint(3, 7))
        shop = f"Shop {rng.randrange(200)}"
        title = f"{' '.join(words).title()} {kind}{rng.choice(['', '', ' &amp; Case', f' - {shop}', ' <b>NEW</b>'])}"
        description = " ".join(rng.choices(_WORDS, k=rng.randint(10, 60)))
        yield {
            "id": f"sku-{rng.randrange(count * 20) if rng.random() < 0.02 else number}",
            "shop": shop,
            "title": "" if rng.random() < 0.005 else title,
            "brand": rng.choice(["ACME", "N/A", "Ünique", "Foo &amp; Bar"]),
            "category": f"Home > {kind}s",
            "merchant_category": f"All &gt; {kind} &gt; {words[0]}",
            "description": f"<p>{description}</p>" if rng.random() < 0.3 else description,
            "gender": rng.choice(["", "men", "women"]),
            "size": rng.choice(["", "42 EU", "XL", "30x40 cm"]),
            "colour": rng.choice(["red", "blue", "", "grün"]),
            "price": f"{rng.randrange(100, 99_999) / 100:.2f}",
            "image": f"https://cdn.example/{number}.jpg?w=1&amp;h=2",
        }


def write_feed(path: Path, format: str, count: int) -> None:
    """Writes a feed of synthetic rows, a few at a time."""
    if format == "parquet":
        _write_parquet(path, count)
        return
    with path.open("w", encoding="utf-8") as file:
        if format == "csv":
            file.write(",".join(next(synthetic_rows(1))) + "\n")
        if format == "google_xml":
            file.write('<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel>\n')
        for row in synthetic_rows(count):
            file.write(_line(row, format))
        if format == "google_xml":
            file.write("</channel></rss>\n")


def _line(row: dict[str, str], format: str) -> str:
    if format == "jsonl":
        return json.dumps(row, ensure_ascii=False) + "\n"
    if format == "csv":
        return ",".join('"' + value.replace('"', '""') + '"' for value in row.values()) + "\n"
    fields = {_GOOGLE.get(name, name): value for name, value in row.items()}
    return "<item>" + "".join(f"<g:{name}>{escape(value)}</g:{name}>" for name, value in fields.items()) + "</item>\n"


def _write_parquet(path: Path, count: int) -> None:
    schema = pa.schema([(name, pa.string()) for name in next(synthetic_rows(1))])
    with pq.ParquetWriter(path, schema) as writer:
        block: list[dict[str, str]] = []
        for row in synthetic_rows(count):
            block.append(row)
            if len(block) == 20_000:
                writer.write_table(pa.Table.from_pylist(block, schema))
                block = []
        if block:
            writer.write_table(pa.Table.from_pylist(block, schema))


def _network(format: str) -> NetworkSettings:
    return NetworkSettings(format=format)


def measure(folder: Path, format: str, count: int) -> dict[str, Any]:
    """Ingests one feed in this process and returns seconds, megabytes and counts."""
    feed = folder / f"feed.{format}"
    idle_mb = _peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    summary = ingest(
        [Feed(0, "net", _network(format), str(feed))],
        IngestSettings(),
        seed=0,
        examples=str(folder / "examples"),
        quarantine=str(folder / "quarantine"),
    )
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "format": format,
        "rows": summary["rows"],
        "seconds": wall,
        "cpu_seconds": cpu,
        "json_seconds": _json_seconds(min(count, 20_000)) * count / min(count, 20_000),
        "peak_mb": _peak_mb(),
        "idle_mb": idle_mb,
        "refused": summary["refused"],
        "duplicates": summary["duplicates"],
    }


def _json_seconds(count: int) -> float:
    lines = [_line(row, "jsonl") for row in synthetic_rows(count)]
    started = time.process_time()
    for line in lines:
        json.loads(line)
    return time.process_time() - started


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(results: list[dict[str, Any]]) -> str:
    """Returns the results as a Markdown table."""
    lines = [
        "| format | rows | seconds | rows/s/core | times `json.loads` | peak MB | of which before the first row |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for found in results:
        speed, ratio = found["rows"] / found["cpu_seconds"], found["cpu_seconds"] / found["json_seconds"]
        lines.append(
            f"| {found['format']} | {found['rows']:,} | {found['seconds']:.1f} | {speed:,.0f} | {ratio:.1f} "
            f"| {found['peak_mb']:.0f} | {found['idle_mb']:.0f} |"
        )
    return "\n".join(lines)


def _fresh_process(folder: Path, format: str, count: int) -> dict[str, Any]:
    write_feed(folder / f"feed.{format}", format, count)
    command = [sys.executable, "-W", "ignore", __file__, "--measure", str(folder), "--formats", format, "--rows", str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Runs the benchmark, or one measurement of it."""
    parser = argparse.ArgumentParser(description="Measures the ingest stage.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--formats", nargs="+", default=["jsonl"])
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    if asked.measure:
        sys.stdout.write(json.dumps(measure(asked.measure, asked.formats[0], asked.rows[0])) + "\n")
        return
    results = []
    for format in asked.formats:
        for count in asked.rows:
            with tempfile.TemporaryDirectory() as folder:
                results.append(_fresh_process(Path(folder), format, count))
    sys.stdout.write(table(results) + "\n")
    if asked.out:
        command = f"python -m benchmarks.ingest {' '.join(sys.argv[1:])}"
        asked.out.write_text(f"# Ingest\n\n`{command}`\n\n{table(results)}\n")


if __name__ == "__main__":
    main()
