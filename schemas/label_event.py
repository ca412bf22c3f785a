"""Holds people's answers as append-only label events, and what they add up to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import LabelError

IS, UNDER, NOT = "is", "under", "not"
SKIP, CANNOT_TELL, BAD_DATA, RETRACT = "skip", "cannot_tell", "bad_data", "retract"
KINDS = (IS, UNDER, NOT, SKIP, CANNOT_TELL, BAD_DATA, RETRACT)
_WITH_NODE = (IS, UNDER, NOT)


@dataclass(frozen=True)
class LabelEvent:
    """One answer as stored.

    `kind` is one of `KINDS`; `is`, `under` and `not` name `node_id`, `retract` names `retracts` (an event id).
    `shown` is what the labeller saw: suggestions, model version, strategy, batch.
    """

    event_id: str
    answered_at_ms: int
    labeller: str
    product_id: str
    kind: str
    node_id: str = ""
    retracts: str = ""
    group: str = ""
    duration_ms: int = 0
    shown: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Returns one JSON line, without its line end; empty optional fields are left out."""
        optional = ("node_id", "retracts", "group", "duration_ms", "shown")
        values = {name: value for name, value in asdict(self).items() if value or name not in optional}
        return json.dumps(values, ensure_ascii=False, sort_keys=True)


def parse_label_event(line: str, place: str) -> LabelEvent:
    """Reads one JSON line.

    Raises:
        LabelError: not JSON, an unknown key or kind, or a missing part. Starts with `place`.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise LabelError(f"{place}: this isn't a JSON object: {line[:60]!r}.") from None
    if not isinstance(row, dict):
        raise LabelError(f"{place}: found a {type(row).__name__}, expected a JSON object.")
    if "\\ud" in line.lower() and not _is_unicode(row):
        raise LabelError(f"{place}: a text holds half a character (a lone \\ud8.. escape). Write the character itself, in UTF-8.")
    unknown = sorted(set(row) - set(LabelEvent.__dataclass_fields__))
    if unknown:
        raise LabelError(f"{place}: unknown key {unknown[0]!r}. Known: {', '.join(LabelEvent.__dataclass_fields__)}.")
    _check_types(row, place)
    if row["kind"] not in KINDS:
        raise LabelError(f"{place}: kind {row['kind']!r} is unknown. Known: {', '.join(KINDS)}.")
    if row["kind"] in _WITH_NODE and not row.get("node_id"):
        raise LabelError(f"{place}: kind {row['kind']!r} needs a node_id.")
    if row["kind"] == RETRACT and not row.get("retracts"):
        raise LabelError(f"{place}: kind 'retract' needs retracts, the id of the event it takes back.")
    return LabelEvent(**row)


def _check_types(row: Mapping[str, Any], place: str) -> None:
    for name in ("event_id", "labeller", "product_id", "kind"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise LabelError(f"{place}: {name} {row.get(name)!r} must be a text that isn't empty.")
    for name in ("node_id", "retracts", "group"):
        if not isinstance(row.get(name, ""), str):
            raise LabelError(f"{place}: {name} {row[name]!r} must be a text.")
    for name in ("answered_at_ms", "duration_ms"):
        value = row.get(name, 0 if name == "duration_ms" else None)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**62:
            raise LabelError(f"{place}: {name} {value!r} must be a whole number of milliseconds.")
    if not isinstance(row.get("shown", {}), dict):
        raise LabelError(f"{place}: shown must be a JSON object.")


def _is_unicode(row: dict[str, Any]) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_label_events(path: Path) -> Iterator[LabelEvent]:
    """Yields the events of a JSON-lines file in order; blank lines are skipped.

    Raises:
        LabelError: the file is missing or a line can't be read. Names file and line.
    """
    try:
        file = path.open(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LabelError(f"{path}: there is no such file of label events. Name a file of JSON lines.") from None
    except OSError as error:
        raise LabelError(f"{path}: the label events can't be read: {error.strerror}. Name a file you may read.") from None
    with file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield parse_label_event(line, f"{path}:{number}")
        except UnicodeDecodeError as error:
            raise LabelError(f"{path}: byte {error.start} isn't UTF-8. Save the file as UTF-8.") from None


def write_label_events(path: Path, events: Iterable[LabelEvent]) -> int:
    """Writes events as JSON lines and returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for event in events:
            file.write(event.to_json() + "\n")
            count += 1
    return count


def standing_events(events: Iterable[LabelEvent]) -> dict[str, LabelEvent]:
    """Returns what people's events add up to: the latest answer of each product that nobody took back.

    Later means `answered_at_ms`, then the order given. A retraction removes the event it names, so an earlier answer
    about the same product stands again. A skip says nothing about the product: it never takes an answer's place.

    >>> first = LabelEvent("e1", 1, "ann", "p", "is", "shoes")
    >>> second = LabelEvent("e2", 2, "ann", "p", "is", "bags")
    >>> standing_events([first, second])["p"].node_id
    'bags'
    >>> standing_events([first, second, LabelEvent("e3", 3, "ann", "p", "retract", retracts="e2")])["p"].node_id
    'shoes'
    """
    ordered = sorted(events, key=lambda event: event.answered_at_ms)
    retracted = {event.retracts for event in ordered if event.kind == RETRACT}
    standing: dict[str, LabelEvent] = {}
    for event in ordered:
        if event.kind == RETRACT or event.event_id in retracted:
            continue
        if event.kind != SKIP or standing.get(event.product_id, event).kind == SKIP:
            standing[event.product_id] = event
    return standing


def events_sha256(events: Iterable[LabelEvent]) -> str:
    """Returns a digest of the events' content, whatever their order."""
    return hashlib.sha256("\n".join(sorted(event.to_json() for event in events)).encode()).hexdigest()
