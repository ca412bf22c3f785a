"""Measures the most memory a process and all its descendants held at one moment."""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path

_PROC = Path("/proc")
_INTERVAL_S = 0.25
# ru_maxrss is in kilobytes, on macOS in bytes.
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class PeakMemory:
    """Samples the resident memory of this process and its descendants four times a second.

    Memory that two processes share, such as a library's code, is counted in each, so the number is an upper bound of what
    the machine gave. A peak between two samples isn't lost for the largest process: the kernel keeps each one's own
    highest value, which is added to this process' memory.

    >>> with PeakMemory() as peak:
    ...     pass
    >>> 1 < peak.megabytes < 100_000
    True
    """

    def __init__(self) -> None:
        self._sampled_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def megabytes(self) -> int:
        """The highest sum so far, in units of 1024 x 1024 bytes."""
        own = _own_peak_bytes()
        # Of children that have ended, and theirs: the largest single one.
        largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_BYTES
        return round(max(self._sampled_bytes, own + largest_child) / 2**20)

    def _watch(self) -> None:
        while True:
            self._sampled_bytes = max(self._sampled_bytes, tree_bytes(os.getpid()))
            if self._ended.wait(_INTERVAL_S):
                return


def _own_peak_bytes() -> int:
    # ru_maxrss survives exec, so a small program started by a large one would count the large one's memory.
    try:
        lines = (_PROC / "self" / "status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES


def tree_bytes(root: int) -> int:
    """Returns the resident memory of a process and its descendants now; 0 where /proc doesn't tell."""
    parents, sizes = {}, {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            # The name of the program, in brackets, may hold spaces; the fields after it don't.
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # It ended in between.
            continue
        parents[int(folder.name)], sizes[int(folder.name)] = int(fields[1]), int(fields[21])
    return sum(size for pid, size in sizes.items() if _descends(pid, root, parents)) * os.sysconf("SC_PAGE_SIZE")


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    for _ in range(len(parents)):
        if pid == root:
            return True
        if pid not in parents:
            return False
        pid = parents[pid]
    return False
