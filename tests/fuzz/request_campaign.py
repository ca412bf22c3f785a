"""Starts a server, sends it damaged and odd requests, and writes how they ended."""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
HANG_S = 20.0
_ODD = (
    None,
    True,
    -1,
    2**31 - 1,
    -(2**31),
    2**63,
    1e308,
    "NaN",
    "Infinity",
    "",
    "\x00",
    "p1" * 2_000,
    "ü\u202e",
    "\ud800",
    [],
    {},
    [[]] * 50,
)


@dataclass
class Outcome:
    """How requests ended.

    Attributes:
        counts: by protocol and status.
        wrong: what was no proper answer, the first hundred.
        slowest_s: the longest that one took.
    """

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, protocol: str, status: object, is_proper: bool, said: str, seconds: float) -> None:
        """Counts one answer."""
        self.counts[f"{protocol} {status}"] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if (not is_proper or seconds > HANG_S) and len(self.wrong) < 100:
            self.wrong.append(f"{protocol} {status} after {seconds:.1f} s: {said[:300]}")


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """Returns bytes some of which are replaced, left out or doubled."""
    found = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(found) + 1)
        part = found[place : place + rng.randint(0, 30)] if rng.random() < 0.2 else rng.randbytes(rng.randint(0, 6))
        found[place : place + rng.randint(0, 6)] = part
    return bytes(found)


def odd(row: Any, rng: random.Random) -> Any:
    """Returns JSON in which a value here and there is another than is meant."""
    if rng.random() < 0.15:
        return rng.choice(_ODD)
    if isinstance(row, dict):
        return {(key if rng.random() < 0.97 else key + "x"): odd(value, rng) for key, value in row.items()}
    return [odd(value, rng) for value in row] if isinstance(row, list) else row


@dataclass(frozen=True)
class Campaign:
    """What is sent to one server.

    Attributes:
        module: that is started, in `tests.fuzz`.
        server: what it is called.
        sent: what the requests are.
        result: name of the page.
        num_first: calls before memory is measured.
        words: writes what is served into a folder and returns verb and options of the program.
        over_grpc: sends so many calls; told the folder, too.
        over_rest: sends so many requests to an address.
    """

    module: str
    server: str
    sent: str
    result: str
    num_first: int
    words: Callable[[Path], list[str]]
    over_grpc: Callable[[grpc.Channel, Path, int, random.Random, Outcome], None]
    over_rest: Callable[[str, int, random.Random, Outcome], None]


def run(campaign: Campaign, arguments: Sequence[str]) -> int:
    """Starts the program, sends the requests, half of them over gRPC and half over REST, and writes the page.

    Returns:
        1 where an answer wasn't proper, the log holds a traceback, or the program failed in the end.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.fuzz.{campaign.module}", description=campaign.sent)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / campaign.result)
    given = parser.parse_args(arguments)
    rng, found = random.Random(given.seed), Outcome()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = _started(campaign.words(folder), folder / "log")
        try:
            addresses = json.loads(server.stdout.readline())  # type: ignore[union-attr]
            with grpc.insecure_channel(addresses["grpc"]) as channel:
                campaign.over_grpc(channel, folder, campaign.num_first, rng, Outcome())
                before_mb, started_s = _resident_mb(server.pid), time.monotonic()
                campaign.over_grpc(channel, folder, given.requests // 2, rng, found)
            campaign.over_rest(addresses["rest"], given.requests - given.requests // 2, rng, found)
            seconds, grown_mb = time.monotonic() - started_s, _resident_mb(server.pid) - before_mb
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
        lines = (folder / "log").read_text(encoding="utf-8").splitlines()
    tracebacks = [json.loads(line)["traceback"] for line in lines if '"traceback": ' in line]
    shown = ", ".join(f"{name}: {count:,}" for name, count in sorted(found.counts.items()))
    text = (
        f"# Malformed requests to {campaign.server}\n\n`python -m tests.fuzz.{campaign.module} --requests {given.requests}`\n\n"
        f"Every method, over gRPC and REST: {campaign.sent}, seed {given.seed}.\n\n"
        f"{given.requests:,} requests in {seconds:.0f} s: {shown}.\n\n"
        f"Not a proper answer: {len(found.wrong)}. Tracebacks in the log: {len(tracebacks)}. Slowest: {found.slowest_s:.2f} s. "
        f"Memory grown by {grown_mb:.0f} MB.\nThe server ended with exit code {code} when it was told to.\n"
    )
    given.out.write_text(text, encoding="utf-8")
    sys.stdout.write("\n".join([text, *found.wrong[:20], *sorted(set(tracebacks))[:5]]))
    return 1 if found.wrong or code or tracebacks else 0


def _started(words: Sequence[str], log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "pipeline.cli", *words, "--json", "--log-requests=errors", "--port=0"]
    with log.open("w", encoding="utf-8") as errors:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)


def _resident_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
