"""Holds people's answers as append-only label events, and what they add up to."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import LabelError
from schemas.text import is_unicode

IS, UNDER, NOT = "is", "under", "not"
SKIP, CANNOT_TELL, BAD_DATA, RETRACT = "skip", "cannot_tell", "bad_data", "retract"
# Whom an answer was about: the product, or a group of products of which some were shown.
PRODUCT, GROUP = "", "group"
SOURCES = (PRODUCT, GROUP)
# A line with all that was shown takes a few thousand bytes.
MAX_LINE_LENGTH = 1_000_000
MAX_TEXT_LENGTH = 1_000
_MAX_MILLISECONDS = 253_402_300_800_000  # The year 10,000.
_MAX_SHOWN_LEVELS = 32
# At most 1e15 and its comma become five times as long where an event is written: 1000000000000000.0 and a space.
_MOST_GROWTH = 8
KINDS = (IS, UNDER, NOT, SKIP, CANNOT_TELL, BAD_DATA, RETRACT)
_WITH_NODE = (IS, UNDER, NOT)


@dataclass(frozen=True)
class LabelEvent:
    """One answer as stored.

    `kind` is one of `KINDS`; `is`, `under` and `not` name `node_id`, `retract` names `retracts` (an event id).
    `shown` is what the labeller saw: suggestions, model version, strategy, batch. An answer about a group of products is an event
    of each, with `source` `group` and the id of the `question`; `group` is something else, the product's near-duplicates.
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
    source: str = PRODUCT
    question: str = ""

    def to_json(self) -> str:
        """Returns one JSON line, without its line end; empty optional fields are left out."""
        optional = ("node_id", "retracts", "group", "duration_ms", "shown", "source", "question")
        values = {name: value for name, value in asdict(self).items() if value or name not in optional}
        return json.dumps(values, ensure_ascii=False, sort_keys=True)


def parse_label_event(line: str, place: str) -> LabelEvent:
    """Reads one JSON line.

    Raises:
        LabelError: not JSON, an unknown key or kind, a missing part, or one too long, too large or too deep. Starts with `place`.
    """

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise LabelError(f"{place}: found the number {number[:60]}, expected one that JSON can hold. Write a smaller one, or null.")
        return value

    try:
        row = json.loads(line, parse_constant=_refuse_constant, parse_float=finite)
    except (ValueError, RecursionError):
        raise LabelError(f"{place}: this isn't a JSON object: {line[:60]!r}.") from None
    if not isinstance(row, dict):
        raise LabelError(f"{place}: found a {type(row).__name__}, expected a JSON object.")
    if not is_unicode(line) or ("\\ud" in line.lower() and not is_unicode(json.dumps(row, ensure_ascii=False))):
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
    if row.get("source", PRODUCT) not in SOURCES or bool(row.get("source")) != bool(row.get("question")):
        raise LabelError(
            f"{place}: source {row.get('source', '')!r} with question {row.get('question', '')!r}: "
            "an answer about a group has the source 'group' and the id of its question, any other has neither."
        )
    event = LabelEvent(**row)
    if len(line) * _MOST_GROWTH >= MAX_LINE_LENGTH and (length := len(event.to_json()) + 1) >= MAX_LINE_LENGTH:
        raise LabelError(
            f"{place}: written out, the event has {length:,} characters, expected fewer than {MAX_LINE_LENGTH:,}. "
            "Leave out some of what was shown."
        )
    return event


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} isn't JSON")


def _check_types(row: Mapping[str, Any], place: str) -> None:
    for name in ("event_id", "labeller", "product_id", "kind"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise LabelError(f"{place}: {name} {row.get(name)!r} must be a text that isn't empty.")
    for name in ("node_id", "retracts", "group", "source", "question"):
        if not isinstance(row.get(name, ""), str):
            raise LabelError(f"{place}: {name} {row[name]!r} must be a text.")
    for name in ("event_id", "labeller", "product_id", "node_id", "retracts", "group", "question"):
        if len(row.get(name, "")) > MAX_TEXT_LENGTH:
            raise LabelError(
                f"{place}: {name} {row[name][:60]!r}... has {len(row[name]):,} characters, at most {MAX_TEXT_LENGTH:,} are read."
            )
    for name in ("answered_at_ms", "duration_ms"):
        value = row.get(name, 0 if name == "duration_ms" else None)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_MILLISECONDS:
            raise LabelError(f"{place}: {name} {value!r} must be a whole number of milliseconds.")
    if not isinstance(row.get("shown", {}), dict):
        raise LabelError(f"{place}: shown must be a JSON object.")
    if _levels(row.get("shown", {})) > _MAX_SHOWN_LEVELS:
        raise LabelError(f"{place}: shown is nested more than {_MAX_SHOWN_LEVELS} deep. Write what was shown flat.")


def _levels(value: Any) -> int:
    """Returns how deep lists and mappings are nested, 1 for none in it; without recursion, and no further than is allowed."""
    levels, inside = 0, [value]
    while inside and levels <= _MAX_SHOWN_LEVELS:
        levels += 1
        inside = [
            part for outer in inside for part in (outer.values() if isinstance(outer, dict) else outer) if isinstance(part, (dict, list))
        ]
    return levels


def _one_event(line: str, place: str) -> list[LabelEvent]:
    return [parse_label_event(line, place)]


def read_label_events(path: Path, parse: Callable[[str, str], list[LabelEvent]] = _one_event) -> Iterator[LabelEvent]:
    """Yields the events of a JSON-lines file in order; blank lines are skipped.

    Args:
        path: the file.
        parse: a line and its place to the events in it.

    Raises:
        LabelError: the file is missing, a line can't be read, or an event id is there twice with different content. Names file
            and line.
    """
    try:
        file = path.open(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LabelError(f"{path}: there is no such file of label events. Name a file of JSON lines.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabelError(f"{path}: the label events can't be read: {reason}. Name a file you may read.") from None
    seen: dict[str, tuple[int, bytes]] = {}
    with file:
        try:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_LENGTH), ""), 1):
                if len(line) == MAX_LINE_LENGTH:
                    raise LabelError(f"{path}:{number}: the line has {MAX_LINE_LENGTH:,} characters or more. Write one event a line.")
                if line.strip():
                    for event in parse(line, f"{path}:{number}"):
                        _check_said_once(event, seen, number, path)
                        yield event
        except UnicodeDecodeError as error:
            raise LabelError(f"{path}: byte {error.start} isn't UTF-8. Save the file as UTF-8.") from None
        except OSError as error:
            raise LabelError(f"{path}: the label events can't be read: {error.strerror}. Name a file you may read.") from None


def _check_said_once(event: LabelEvent, seen: dict[str, tuple[int, bytes]], number: int, path: Path) -> None:
    digest = hashlib.sha256(event.to_json().encode()).digest()[:8]
    first, known = seen.setdefault(event.event_id, (number, digest))
    if known != digest:
        raise LabelError(
            f"{path}:{number}: event {event.event_id!r} says something else than at line {first}. "
            "Events are never changed: give a new answer its own event_id."
        )


def write_label_events(path: Path, events: Iterable[LabelEvent]) -> int:
    """Writes events as JSON lines and returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for event in events:
            file.write(event.to_json() + "\n")
            count += 1
    return count


def not_retracted(events: Iterable[LabelEvent]) -> list[LabelEvent]:
    """Returns the events that say something and weren't taken back, by when they were answered, then in the order given."""
    ordered = sorted(events, key=lambda event: event.answered_at_ms)
    retracted = {event.retracts for event in ordered if event.kind == RETRACT}
    return [event for event in ordered if event.kind != RETRACT and event.event_id not in retracted]


def standing_events(events: Iterable[LabelEvent]) -> dict[str, LabelEvent]:
    """Returns what people's events add up to: the latest answer of each product that nobody took back.

    Later means `answered_at_ms`, then the order given. A retraction removes the event it names, so an earlier answer
    about the same product stands again. A skip says nothing about the product: it never takes an answer's place, nor does an
    answer about a group take the place of one about the product itself.

    >>> first = LabelEvent("e1", 1, "ann", "p", "is", "shoes")
    >>> second = LabelEvent("e2", 2, "ann", "p", "is", "bags")
    >>> standing_events([first, second])["p"].node_id
    'bags'
    >>> standing_events([first, second, LabelEvent("e3", 3, "ann", "p", "retract", retracts="e2")])["p"].node_id
    'shoes'
    """
    standing: dict[str, LabelEvent] = {}
    for event in not_retracted(events):
        if _weight(event) >= _weight(standing.get(event.product_id, event)):
            standing[event.product_id] = event
    return standing


def _weight(event: LabelEvent) -> int:
    return 0 if event.kind == SKIP else 1 if event.source == GROUP else 2


def events_sha256(events: Iterable[LabelEvent]) -> str:
    """Returns a digest of the events' content, whatever their order."""
    return hashlib.sha256("\n".join(sorted(event.to_json() for event in events)).encode()).hexdigest()
