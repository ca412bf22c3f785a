"""Gathers the label events a run learns from: the store's, then those of files, each once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from schemas.errors import SettingsError
from schemas.label_event import LabelEvent, read_label_events
from stores.label_events import new_events
from stores.sqlite_label_events import SqliteLabelEventStore


def read_local_events(path: str) -> list[LabelEvent]:
    """Returns the events of a file on this machine."""
    return list(read_label_events(Path(path)))


def frozen_events(store: str, events: str, read: Callable[[str], list[LabelEvent]] = read_local_events) -> list[LabelEvent]:
    """Returns the events of the store, then those of the files, each once, in their order.

    Args:
        store: SQLite file; empty, or one that isn't there yet, holds no events.
        events: JSON list of files.
        read: returns the events of a file.

    Raises:
        LabelError: a line can't be read, an id is used with two contents, or a retraction names no answer.
        SettingsError: `events` isn't a JSON list of paths.
        StoreError: the store can't be read.
    """
    return new_events(_all_events(store, _paths(events), read), lambda event_id: None)[0]


def _all_events(store: str, paths: list[str], read: Callable[[str], list[LabelEvent]]) -> Iterator[LabelEvent]:
    if store and Path(store).exists():
        with SqliteLabelEventStore(Path(store), read_only=True) as opened:
            yield from opened.events()
    for path in paths:
        yield from read(path)


def _paths(events: str) -> list[str]:
    try:
        paths = json.loads(events or "[]")
    except json.JSONDecodeError:
        paths = None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise SettingsError(f"events {events[:60]!r} must be a JSON list of paths, as in '[\"labels/may.jsonl\"]'.")
    return paths
