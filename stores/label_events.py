"""Fixes what a store of label events promises, whatever database is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from schemas.errors import LabelError
from schemas.label_event import RETRACT, LabelEvent, parse_label_event


class Appended(NamedTuple):
    """How many events of an append were new, and how many the store had already."""

    added: int
    already_there: int


class LabelEventStore(Protocol):
    """An append-only list of label events: nothing in it is ever changed or removed.

    Every implementation passes `tests/stores/test_label_events.py`.
    """

    def append(self, events: Iterable[LabelEvent]) -> Appended:
        """Appends the events the store doesn't have, in their order, all of them or none; on disk when this returns.

        An event that is already there with the same content is counted and left alone, so an import can be repeated.

        Raises:
            LabelError: an event couldn't be read again, an event id is there with other content, or a retraction names no answer.
            StoreError: the store can't be written.
        """

    def events(self, since: int = 0) -> Iterator[LabelEvent]:
        """Yields the events in the order they were appended, but for the first `since`: pass `count()` to get what is new."""

    def events_of(self, product_id: str) -> list[LabelEvent]:
        """Returns the events about one product, in the order they were appended."""

    def events_of_question(self, question: str) -> list[LabelEvent]:
        """Returns the events that answer a question about a group, retractions included, in the order they were appended."""

    def get(self, event_id: str) -> LabelEvent | None:
        """Returns the event with this id, or None."""

    def count(self) -> int:
        """Returns how many events there are."""

    def sha256(self) -> str:
        """Returns `schemas.label_event.events_sha256` of all events."""

    def close(self) -> None:
        """Lets go of the store; nothing is lost without it."""


def readable_events(events: Iterable[LabelEvent]) -> list[LabelEvent]:
    """Returns the events, each of which can be read again as it will be written.

    Raises:
        LabelError: one can't.
    """
    given = list(events)
    for event in given:
        parse_label_event(event.to_json(), f"event {event.event_id[:60]!r}")
    return given


def new_events(events: Iterable[LabelEvent], find: Callable[[str], LabelEvent | None]) -> tuple[list[LabelEvent], int]:
    """Returns the events that `find` doesn't know, each once, and how many were there already.

    A retraction may name an event of the same list, wherever it stands.

    Raises:
        LabelError: an event id is used twice with different content, or a retraction names no event, or another retraction.
    """
    added: dict[str, LabelEvent] = {}
    already_there = 0
    for event in events:
        known = added.get(event.event_id) or find(event.event_id)
        if known is None:
            added[event.event_id] = event
        elif known.to_json() == event.to_json():
            already_there += 1
        else:
            raise LabelError(_contradiction(known, event))
    for event in added.values():
        if event.kind == RETRACT:
            _check_target(event, added.get(event.retracts) or find(event.retracts))
    return list(added.values()), already_there


def _contradiction(known: LabelEvent, event: LabelEvent) -> str:
    return (
        f"event {event.event_id!r} is there already and says something else: found {known.to_json()}, now {event.to_json()}. "
        "Events are never changed: give a new answer its own event_id."
    )


def _check_target(event: LabelEvent, target: LabelEvent | None) -> None:
    if target is None:
        raise LabelError(
            f"event {event.event_id!r} retracts {event.retracts!r}, which isn't in the store. Import the answer first, or check the id."
        )
    if target.kind == RETRACT:
        raise LabelError(
            f"event {event.event_id!r} retracts {event.retracts!r}, which is a retraction itself. To restore an answer, give it again."
        )
    if target.product_id != event.product_id:
        raise LabelError(
            f"event {event.event_id!r} is about product {event.product_id!r} but retracts {event.retracts!r}, "
            f"an answer about {target.product_id!r}. Use the product of the answer."
        )
