"""Shows a run on a terminal: one line a stage, with its counts and time."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from pipeline import events

_WIDTH = 24
_DETAIL_WIDTH = 90
# name=value, the value without brackets, or a JSON object without spaces.
_PAIR = re.compile(r"(?<!\S)(\w+)=(\{\S*\}|[^\s()\[\]{}]+)(?!\S)")
_NAMES = ("version", "seed", "batch")  # Their digits aren't grouped.
_NOT_SHOWN = ("seconds", "sha256", "uri")


class Progress:
    """Prints events as they come; on a terminal the running stage has a live line.

    Args:
        stream: where to; by default standard error.
        live: draw over the last line; by default where the stream is a terminal.
    """

    def __init__(self, stream: TextIO | None = None, live: bool | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty() if live is None else live
        self._lock = threading.Lock()
        self._stages: list[str] = []
        self._running, self._started_s, self._number = "", time.monotonic(), 0
        self._detail = ""
        self._stopped = threading.Event()
        if self._live:
            threading.Thread(target=self._tick, daemon=True).start()

    def show(self, event: Mapping[str, Any]) -> None:
        """Takes one event of a run."""
        with self._lock:
            kind = event["event"]
            if kind == events.PLAN:
                self._stages = list(event["stages"])
            elif kind == events.STAGE:
                self._running, self._started_s, self._detail = event["name"], time.monotonic(), ""
                self._number += 1
            elif kind == events.DETAIL:
                self._detail = event["message"]
            elif kind == events.DONE:
                note = "cached" if event["cached"] else readable(self._detail)
                self._line(f"{self._counter()} {event['name']:{_WIDTH}} {event['seconds']:6.1f} s  {note}".rstrip())
                self._running = ""

    def say(self, text: str) -> None:
        """Prints one line and makes it what is going on now."""
        with self._lock:
            self._running, self._started_s, self._detail = text, time.monotonic(), ""
            if not self._live:
                self._stream.write(text + "\n")
                self._stream.flush()

    def fail(self) -> None:
        """Says which stage was running when the run failed."""
        with self._lock:
            if self._running and self._stages:
                seconds = time.monotonic() - self._started_s
                self._line(f"{self._counter()} {self._running:{_WIDTH}} {seconds:6.1f} s  failed")
            self._running = ""

    def close(self) -> None:
        """Takes the live line away."""
        self._stopped.set()
        with self._lock:
            self._clear()

    def _counter(self) -> str:
        return f"[{self._number:2d}/{len(self._stages):2d}]"

    def _line(self, text: str) -> None:
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def _clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _tick(self) -> None:
        while not self._stopped.wait(0.5):
            with self._lock:
                if self._running and not self._stopped.is_set():
                    seconds = time.monotonic() - self._started_s
                    note = f"  {readable(self._detail)}" if self._detail else ""
                    counter = f"{self._counter()} " if self._stages else ""
                    self._stream.write(f"\r\x1b[K{counter}{self._running:{_WIDTH}} {seconds:6.1f} s{note}")
                    self._stream.flush()


def readable(message: str) -> str:
    """Returns a log line's counts as a person reads them.

    >>> readable("sampler picked=250 pool=9120 strategy=margin")
    'picked 250, pool 9,120, strategy margin'
    >>> readable('category_evaluator products={"read":4033,"judged":31} blessed=True seconds=3.4')
    'read 4,033, judged 31, blessed True'
    """
    pairs = [(name, value.rstrip(",;")) for name, value in _PAIR.findall(message) if name not in _NOT_SHOWN]
    shown = [_pair(name, value) for name, value in pairs]
    return _shortened(", ".join(text for text in shown if text) if pairs else message)


def _pair(name: str, value: str) -> str:
    if value.startswith("{"):
        try:
            return ", ".join(_pair(key, str(inner)) for key, inner in json.loads(value).items())
        except (ValueError, AttributeError):
            pass
    return f"{name.replace('_', ' ')} {value if name in _NAMES else _number(value)}"


def _shortened(text: str) -> str:
    return text if len(text) <= _DETAIL_WIDTH else text[: _DETAIL_WIDTH - 3] + "..."


def _number(value: str) -> str:
    return f"{int(value):,}" if value.isdecimal() else value
