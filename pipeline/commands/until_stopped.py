"""Runs a server until a signal, for the verbs that serve."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from pipeline.commands.options import write_note


class Server(Protocol):
    """What can be started and stopped."""

    @property
    def is_at_work(self) -> bool:
        """Whether threads are still at work after the stop, on what nobody waits for any more."""

    def start(self) -> None:
        """Takes requests from now on."""

    def stop(self) -> None:
        """Takes no more, and lets those that are being answered end."""


def serve_until_stopped(server: Server, say: Callable[[], None]) -> int:
    """Starts a server, says so, and stops it at Ctrl-C or SIGTERM, one that comes while it starts included; returns the exit code."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server.start()
        say()
        sys.stdout.flush()  # A program that started this one waits for these lines.
        stopped.wait()
        write_note("stopping: requests that are being answered may end ...")
    finally:
        server.stop()
    if server.is_at_work:
        _end_at_once()
    return 0


def _end_at_once() -> None:
    """Ends the program although threads are at work that nobody waits for any more; Python itself would wait for them."""
    write_note("stopped: what took longer than the grace was cut off.")
    sys.stdout.flush()
    os._exit(0)
