"""Runs a module of this package in a process of its own, which can be ended, and says why it failed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.errors import AisleError, NeighbourIndexError
from similarity.manifest import IndexManifest

_ROOT = Path(__file__).resolve().parents[1]
_PATIENCE = 10  # Queries come first.


def child_main(arguments: argparse.Namespace, work: Callable[[argparse.Namespace], IndexManifest]) -> int:
    """Does the work of such a process; says on standard output how many products there are, or on standard error what is wrong.

    Returns:
        The exit code.
    """
    os.nice(_PATIENCE)
    try:
        written = work(arguments)
    except AisleError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{written.num_products}\n")
    return 0


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
