"""Breaks an act at its n-th step on the disk, as the interpreter itself announces steps, so that none can be forgotten."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

KILL, DISK_FULL, INTERRUPT = "kill", "disk full", "interrupt"
DONE, FAILED = 0, 3
# The events of sys.audit that change a disk; opening is one where it may write. fsync has no event and is watched apart.
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Steps:
    """Counts the steps below a folder, and breaks one of them.

    Args:
        folder: what lies elsewhere is nobody's step.
        broken: number of the step, from 0, that breaks; -1 for none.
        how: `KILL`, `DISK_FULL` or `INTERRUPT`.
        seen: called with each step's name and arguments before it is taken.
    """

    def __init__(self, folder: Path, broken: int, how: str, seen: Callable[[str, tuple], None] | None = None) -> None:
        self.count = 0
        self._folder, self._broken, self._how, self._seen, self._inside = str(folder), broken, how, seen, False
        real = os.fsync

        def fsync(number: int) -> None:
            self._step("os.fsync", (number,))
            if seen:
                real(number)

        os.fsync = fsync
        sys.addaudithook(self._audited)

    def _audited(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, (str, bytes, os.PathLike)) or not flags & _WRITING:
                return
        elif event not in _CHANGES:
            return
        # Removing a tree works with names relative to an open folder; they count, too.
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
        if path.startswith(self._folder) or (path and not path.startswith("/")):
            self._step(event, arguments)

    def _step(self, event: str, arguments: tuple) -> None:
        if self._inside:
            return
        self._inside = True
        try:
            if self._seen:
                self._seen(event, arguments)
            number, self.count = self.count, self.count + 1
        finally:
            self._inside = False
        if number == self._broken:
            _break(self._how)


def _break(how: str) -> None:
    if how == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == INTERRUPT:
        raise KeyboardInterrupt
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken_at(step: int, how: str, folder: Path, act: Callable[[], object]) -> int | None:
    """Does `act` in a child process that breaks at a step; returns None where the act has no such step.

    Otherwise the child's end: `DONE` where the act got over it, `FAILED` where it raised, or minus the signal.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            steps = Steps(folder, step, how)
            try:
                act()
                code = DONE
            finally:
                os.write(writer, b"x" if steps.count > step else b".")
        except BaseException:
            code = FAILED
        finally:
            os._exit(code)
    os.close(writer)
    told = os.read(reader, 1)
    os.close(reader)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if told == b"." else ended
