"""Runs many damaged inputs through one target and counts what became of them, crashes and hangs included."""

from __future__ import annotations

import hashlib
import resource
import signal
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.mutator import mutants
from tests.fuzz.targets import Target, outcome

# A busy machine is no hang: reading 200,000 bytes takes milliseconds.
MAX_SECONDS = 20.0


@dataclass
class Findings:
    """What became of the inputs of one target. `crashes` and `hangs` say which input, and how."""

    target: str
    used: int = 0
    refused: int = 0
    crashes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest_s: float = 0.0
    grown_mb: float = 0.0

    @property
    def inputs(self) -> int:
        """How many inputs were read."""
        return self.used + self.refused + len(self.crashes) + len(self.hangs)


class _Hang(BaseException):
    """Reading took too long."""


def _stop(*_: object) -> None:
    raise _Hang


def campaign(target: Target, count: int, seed: int, folder: Path) -> Findings:
    """Reads `count` mutants of a target's seeds; what crashes or hangs is kept in `folder` for a test to come."""
    found = Findings(target.name)
    before_mb = _peak_mb()
    started = time.monotonic()
    earlier = signal.signal(signal.SIGALRM, _stop)
    try:
        for content in mutants(target.seeds, target.tokens, count, seed):
            _read(target, content, folder, found)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    found.seconds = time.monotonic() - started
    found.grown_mb = _peak_mb() - before_mb
    return found


def _read(target: Target, content: bytes, folder: Path, found: Findings) -> None:
    started = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        became = outcome(target, content, folder)
    except _Hang:
        found.hangs.append(_keep(content, folder, "over time"))
    except Exception as error:  # The point of it: any other exception is a bug.
        place = traceback.extract_tb(error.__traceback__)[-1]
        found.crashes.append(
            _keep(content, folder, f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:200]}")
        )
    else:
        setattr(found, became, getattr(found, became) + 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    found.slowest_s = max(found.slowest_s, time.monotonic() - started)


def _keep(content: bytes, folder: Path, why: str) -> str:
    path = folder / f"found-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    return f"{why} ({path})"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
