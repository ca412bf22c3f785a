"""The one-line JSON messages by which a run's process tells the program that started it how it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

PLAN, STAGE, DETAIL, DONE, RESULT, ERROR = "plan", "stage", "detail", "done", "result", "error"


def send(stream: TextIO, kind: str, **content: Any) -> None:
    """Writes one event at once."""
    stream.write(json.dumps({"event": kind, **content}, ensure_ascii=False) + "\n")
    stream.flush()


def received(line: str) -> Mapping[str, Any] | None:
    """Returns an event, or None for a line some library printed."""
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
