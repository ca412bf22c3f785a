"""python -m benchmarks.pool_scoring MODEL EXAMPLES [--repeat 3]: products a second from raw strings to Parquet, one process.

MODEL is a SavedModel folder, such as serving/models/NAME/VERSION; EXAMPLES an artifact folder of labelled examples. Writes
benchmarks/results/pool_scoring.md; the goal is 3,000 products a second and core with the linear model. The model alone, on
the same examples in memory, stands beside it: what is lost between the two is reading, parsing and writing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.pool_scoring import Scorer, read_model_description, score_file, split_files
from schemas.product import SPLITS

RESULTS = Path(__file__).parent / "results" / "pool_scoring.md"


def score_all(scorer: Scorer, examples: Path, block_products: int) -> int:
    """Scores every file of both splits to Parquet files that are thrown away; returns how many products."""
    total = 0
    for split in SPLITS:
        for path in split_files(examples, split):
            with tempfile.TemporaryFile() as file:
                total += score_file(scorer, path, split, file, block_products)
    return total


def model_alone(model: Path, examples: Path, block_products: int) -> float:
    """Returns products a CPU second of the signature itself, on serialized examples that are in memory."""
    paths = [path for split in SPLITS for path in split_files(examples, split)]
    records = np.array(list(tf.data.TFRecordDataset(paths, compression_type="GZIP").as_numpy_iterator()), dtype=object)
    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures["serving_default"]
    signature(examples=tf.constant(records[:block_products]))
    started = time.process_time()
    for start in range(0, len(records), block_products):
        signature(examples=tf.constant(records[start : start + block_products]))
    return len(records) / (time.process_time() - started)


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--repeat", type=int, default=3, help="passes over the examples; the fastest counts")
    parser.add_argument("--block-products", type=int, default=512)
    given = parser.parse_args(arguments)
    scorer = Scorer(str(given.model))
    score_all(scorer, given.examples, given.block_products)  # Warm: tracing and file cache.
    taken = []
    for _ in range(given.repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        num_products = score_all(scorer, given.examples, given.block_products)
        taken.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_s, wall_s = min(taken)
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    alone = model_alone(given.model, given.examples, given.block_products)
    described = read_model_description(str(given.model))
    rows = [
        "# Pool scoring",
        "",
        f"Command: `python -m benchmarks.pool_scoring MODEL EXAMPLES --repeat {given.repeat} --block-products {given.block_products}`",
        "",
        f"{os.cpu_count()} cores, {num_products:,} products, family {described.get('family', 'unknown')}, {len(described['nodes'])} nodes, "
        f"top_k {described['top_k']}, dimension {described['embedding_dimension']}.",
        "",
        "| what | products / CPU s | products / s wall | peak MB |",
        "|---|---|---|---|",
        f"| pool scoring, raw strings to Parquet | {num_products / cpu_s:,.0f} | {num_products / wall_s:,.0f} | {rss_mb:,.0f} |",
        f"| the model alone, examples in memory | {alone:,.0f} | | |",
    ]
    text = "\n".join(rows) + "\n"
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text, encoding="utf-8")
    sys.stdout.write(text + json.dumps({"products_per_cpu_s": round(num_products / cpu_s), "peak_rss_mb": round(rss_mb)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
