"""Runs the program, or one part of a benchmark, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_STOP_S = 60


@contextlib.contextmanager
def program(*words: object) -> Iterator[tuple[dict[str, Any], int]]:
    """Starts a server of the program on free ports, gives what its first line says and its process id, and stops it at the end.

    Raises:
        SystemExit: it didn't start; says what it said.
    """
    command = [sys.executable, "-W", "ignore", "-m", "pipeline.cli", *map(str, words), "--json", "--port=0"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                log.seek(0)
                raise SystemExit(log.read().decode("utf-8", "replace")[-2000:])
            yield json.loads(line), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_S)


def figures_of(module: str, *words: object) -> dict[str, Any]:
    """Runs a benchmark's module with these words and returns the JSON of the last line it writes."""
    command = [sys.executable, "-W", "ignore", "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def publish(page: Path, lines: list[str]) -> None:
    """Writes a page of results, and shows it."""
    text = "\n".join(lines).rstrip() + "\n"
    page.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
