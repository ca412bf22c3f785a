"""Makes an earlier or later pair of model and index live again, in the steps and with the safety of a push; plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.durable_files import move
from components.push_folder import PushFolder, disk_error
from components.push_history import REMOVED, ROLLBACK, Change, append_changes, known_versions, rolled_back_versions
from schemas.errors import PushError


@dataclass(frozen=True)
class KeptVersion:
    """A version that was live once.

    Attributes:
        version: the number.
        pushed_at_ms: when it first was, since 1970.
        is_live: it is now.
        is_rolled_back: somebody went back from it.
        is_whole: both of its folders are there.
        run: that made it, empty where unknown.
    """

    version: int
    pushed_at_ms: int
    is_live: bool
    is_rolled_back: bool
    is_whole: bool
    run: str


@dataclass(frozen=True)
class Rollback:
    """What a rollback did, or would do.

    Attributes:
        before: version that was live, 0 where that can't be told.
        version: version that is live now.
        changed: whether they differ.
    """

    before: int
    version: int
    changed: bool


def kept_versions(folder: Path, name: str) -> list[KeptVersion]:
    """Returns every version that was ever live, newest first; reads only.

    Raises:
        PushError: the history can't be read.
    """
    place = PushFolder(folder, name)
    changes = place.changes()
    live, out = _live_version(place), rolled_back_versions(changes)
    return [
        KeptVersion(version, change.at_ms, version == live, version in out, place.is_whole(version), change.run)
        for version, change in sorted(known_versions(changes).items(), reverse=True)
    ]


def roll_back(folder: Path, name: str, now_ms: int, by: str, to: int | None = None, reason: str = "", dry_run: bool = False) -> Rollback:
    """Makes the pair live that was live before, or the version asked for, after comparing its files with their digests.

    Going back takes every later version out of use: its model is moved out of the folder that TensorFlow Serving polls,
    and no push brings the same model back. Naming it puts it back. A damaged or missing live pair doesn't hinder.

    Args:
        folder: `push.folder`.
        name: of the model.
        now_ms: since 1970.
        by: who does it, as user@host.
        to: version; None: the highest below the live one that nobody went back from.
        reason: goes into the history.
        dry_run: check everything and change nothing.

    Raises:
        PushError: nothing is there to go back to, the version isn't known, whole or unchanged, or the folder can't be
            written. What was live stays live.
    """
    place = PushFolder(folder, name)
    target = 0
    if not folder.is_dir():
        raise PushError(f"{folder}: nothing is live here. Run until a model is blessed: aisle run.")
    try:
        if dry_run:
            target = _target(place, to)
            place.checked(target)
            return Rollback(_live_version(place), target, target != _live_version(place))
        with place.locked():
            place.tidy()
            target = _target(place, to)
            before = _live_version(place)
            pushed = place.checked(target)
            if target != before:
                _go(place, _change(place.changes(), pushed, before, now_ms, by, reason))
                place.tidy()
            return Rollback(before, target, target != before)
    except OSError as error:
        raise disk_error(place, error, target) from error


def _live_version(place: PushFolder) -> int:
    """Returns what is live; 0 for nothing, and where the pointer is damaged."""
    live = place.pointed()
    return live.version if live else 0


def _target(place: PushFolder, to: int | None) -> int:
    if to is not None:
        return to
    changes = place.changes()
    live = _live_version(place) or next((change.version for change in reversed(changes) if change.event != REMOVED), 0)
    earlier = place.earlier_versions(live)
    if not earlier:
        others = ", ".join(str(version) for version in place.whole_versions() if version != live)
        way_out = f"Name one that is there, {others}, with --to" if others else "Run again for another one: aisle run"
        raise PushError(f"{place.folder}: there is nothing to go back to below version {live or '(none)'}. {way_out}.")
    return earlier[0]


def _change(changes: Sequence[Change], pushed: Change, before: int, now_ms: int, by: str, reason: str) -> Change:
    number = changes[-1].number + 1
    return replace(pushed, number=number, at_ms=now_ms, event=ROLLBACK, before=before, by=by, reason=reason)


def _go(place: PushFolder, change: Change) -> None:
    version = change.version
    try:
        if place.withdrawn(version).is_dir():
            move(place.withdrawn(version), place.model(version))
        place.commit(change)
        append_changes(place.folder, [change])
    except BaseException:
        if not place.is_committed(version):
            place.withdraw_above(place.pointed())
        raise
