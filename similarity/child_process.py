"""Runs a module of this package in a process of its own, which can be ended, and says why it failed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import NeighbourIndexError

_ROOT = Path(__file__).resolve().parents[1]


class ChildProcess:
    """One process at a time; another thread may end it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def run(self, module: str, words: Sequence[str], what: str) -> None:
        """Runs a module that ends with a line `error: ...` on standard error where it fails.

        Args:
            module: its full name.
            words: of its command line.
            what: failed, for the error.

        Raises:
            NeighbourIndexError: it failed, or was ended.
        """
        command = [sys.executable, "-W", "ignore", "-m", module, *words]
        self._child = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        _, said = self._child.communicate()
        code, self._child = self._child.returncode, None
        if code:
            reason = said.strip().rpartition("\n")[2].removeprefix("error: ") or f"exit code {code}"
            raise NeighbourIndexError(f"{what}: {reason}")

    def end(self) -> None:
        """Ends the process, where one runs; `run` then fails."""
        child = self._child
        if child is not None:
            child.terminate()
