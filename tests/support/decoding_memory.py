"""Decodes files in a process of its own, those between commas at once, and writes by how many MB its greatest memory grew."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tensorflow as tf

from encoders.image_decoding import decoded
from pipeline.peak_memory import PeakMemory

_SIDE = 224


def main(arguments: list[str]) -> None:
    """Writes a line for each argument. What takes more goes later, since a peak hides lower ones after it."""
    in_graph = tf.function(lambda files: decoded(files, _SIDE), input_signature=[tf.TensorSpec([None], tf.string)])
    with PeakMemory() as peak, ThreadPoolExecutor() as threads:
        for argument in arguments:
            files = [tf.constant([Path(name).read_bytes()]) for name in argument.split(",")]
            before = peak.megabytes
            list(threads.map(in_graph, files))
            sys.stdout.write(f"{peak.megabytes - before}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
