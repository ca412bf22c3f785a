"""Lets one run at a time write below a root, and says who holds it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import StoreError

LOCK = ".run.lock"
_WAIT_S = 60.0
_POLL_S = 0.2
_MAX_BYTES = 65536


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as the lock's file says it.

    Attributes:
        pid: of the program, on `host`.
        host: the machine's name.
        since: local time, as 2026-05-01 12:00:00.
        command: the program's words.
    """

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}: {self.command}"


@contextlib.contextmanager
def run_lock(root: Path, words: Sequence[str], say: Callable[[str], None], wait_s: float = _WAIT_S) -> Iterator[int]:
    """Holds the lock of a root, and yields its file descriptor, which a run's own process must keep open as well.

    The system lets go of the lock when the last process that has it open ends, however it ends, so it is never left behind
    for good. A killed program's run takes a moment to end with it; for that moment is waited, up to `wait_s`.

    Args:
        root: `run.root`, on a local disk; made when missing.
        words: the command that is run, for whoever finds the lock held.
        say: tells a person that a killed run was found, or is waited for.
        wait_s: how long to wait for what a killed program left running.

    Raises:
        StoreError: another run holds it, or the root can't be written.
    """
    path = root / LOCK
    with _opened(path) as lock:
        _acquire(lock, path, say, wait_s)
        left = _holder(lock)
        if left:
            say(f"an earlier run ended before it was done ({left}); what it finished is in the cache")
        _write(lock, path, Holder(os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S"), shlex.join(words)))
        try:
            yield lock
        finally:
            with contextlib.suppress(OSError):
                os.ftruncate(lock, 0)


def lock_holder(root: Path) -> Holder | None:
    """Returns who is running below a root now; None where nobody is."""
    try:
        lock = os.open(root / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _locked(lock) else _holder(lock)
    finally:
        os.close(lock)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"{path.parent}: can't be written: {error.strerror}. Set run.root to a folder you may write to.") from None
    try:
        yield lock
    finally:
        os.close(lock)


def _acquire(lock: int, path: Path, say: Callable[[str], None], wait_s: float) -> None:
    deadline_s = time.monotonic() + wait_s
    waiting = False
    while not _locked(lock, path):
        holder = _holder(lock)
        if holder is None or not _is_gone(holder) or time.monotonic() > deadline_s:
            raise StoreError(
                f"{path.parent}: another run is going on here: {holder or 'by a process that just started'}. "
                "Wait until it is done, or stop it, or set run.root to another folder."
            )
        if not waiting:
            say(f"waiting for what a killed run left behind to end ({holder}) ...")
            waiting = True
        time.sleep(_POLL_S)


def _locked(lock: int, path: Path | None = None) -> bool:
    """Tries to take the lock, and returns whether it is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES) or path is None:
            return False
        raise StoreError(f"{path}: can't be locked: {error.strerror}. Set run.root to a folder on a local disk.") from None
    return True


def _is_gone(holder: Holder) -> bool:
    """Returns whether the program that took the lock has ended, so that only what it started can still hold it."""
    if holder.host != socket.gethostname():
        return False
    try:
        state = Path(f"/proc/{holder.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state == "Z"


def _holder(lock: int) -> Holder | None:
    """Returns what a lock's file says; None where it is empty, or half written by a program that was killed then."""
    try:
        row = json.loads(os.pread(lock, _MAX_BYTES, 0))
        return Holder(int(row["pid"]), str(row["host"]), str(row["since"]), str(row["command"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(lock: int, path: Path, holder: Holder) -> None:
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(asdict(holder)).encode()[:_MAX_BYTES], 0)
    except OSError as error:
        raise StoreError(f"{path}: can't be written: {error.strerror}. Make room, or set run.root to a folder on another disk.") from None
