"""Keeps what was live when, and who changed it: one JSON line a change, only ever appended to; plain Python."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.durable_files import sync
from schemas.errors import PushError

HISTORY = "history.jsonl"
# A pair was pushed; another was made live again; one was there before the history began; one was removed to free the disk.
PUSH, ROLLBACK, FOUND, REMOVED = "push", "rollback", "found", "removed"
_EVENTS = (PUSH, ROLLBACK, FOUND, REMOVED)


@dataclass(frozen=True)
class Change:
    """One change of a push folder.

    Attributes:
        number: 1 for the first; the next is one more.
        at_ms: since 1970.
        event: `push`, `rollback`, `found` or `removed`.
        version: what is live after it; for `found` and `removed`, what it is about.
        before: what was live before it, 0 for nothing.
        by: who did it, as user@host.
        reason: in that person's words.
        run: id of the run that pushed.
        round: digest of everything the pair was made from but the baseline.
        baseline_version: what the pair was judged against, 0 for nothing.
        model_sha256: of the model's folder.
        index_sha256: of the index' list of digests.
    """

    number: int
    at_ms: int
    event: str
    version: int
    before: int = 0
    by: str = ""
    reason: str = ""
    run: str = ""
    round: str = ""
    baseline_version: int = 0
    model_sha256: str = ""
    index_sha256: str = ""

    def to_row(self) -> dict[str, Any]:
        """Returns it as plain data, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value or name in ("number", "at_ms", "event", "version")}


def parse_change(row: Any, place: str) -> Change:
    """Reads what `Change.to_row` returned; keys of a later release are passed over.

    Raises:
        PushError: a part is missing or of another type. Starts with `place`.
    """
    fields = Change.__dataclass_fields__
    known = {name: value for name, value in row.items() if name in fields} if isinstance(row, dict) else {}
    wrong = [name for name, value in known.items() if type(value).__name__ != fields[name].type]
    missing = [name for name in ("number", "at_ms", "event", "version") if name not in known]
    if wrong or missing or known["event"] not in _EVENTS:
        what = (
            f"{missing[0]} is missing" if missing else f"{wrong[0]} {known[wrong[0]]!r} is of another type" if wrong else "event is unknown"
        )
        raise PushError(f"{place}: this isn't a change of what is live: {what}. Restore the file from a copy, or remove this line.")
    return Change(**known)


def read_history(folder: Path) -> list[Change]:
    """Returns the changes of a push folder in order; none where there is no history. A line torn by a crash is passed over.

    Raises:
        PushError: a whole line can't be read. Names file and line.
    """
    path = folder / HISTORY
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # What has no line end was torn.
    except FileNotFoundError:
        return []
    changes = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise PushError(f"{path}:{number}: this isn't a JSON object. Restore the file from a copy, or remove this line.") from None
        changes.append(parse_change(row, f"{path}:{number}"))
    return changes


def append_changes(folder: Path, changes: Iterable[Change]) -> None:
    """Appends changes, which are on disk when this returns; what a crash tore off the last time is cut away first."""
    path = folder / HISTORY
    is_new = not path.exists()
    with path.open("ab") as file:
        file.truncate(_whole_bytes(path))
        file.write(b"".join(json.dumps(change.to_row(), ensure_ascii=False).encode() + b"\n" for change in changes))
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync(folder)


def _whole_bytes(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1


def known_versions(changes: Iterable[Change]) -> dict[int, Change]:
    """Returns the versions that were ever pushed or found, with the change that says so."""
    return {change.version: change for change in changes if change.event in (PUSH, FOUND)}


def rolled_back_versions(changes: Iterable[Change]) -> set[int]:
    """Returns the versions that somebody went back from and nobody has put back since.

    Going back from 3 to 1 takes 2 and 3 out of use; going forward to 3 puts only 3 back.

    >>> steps = [(PUSH, 1, 0), (PUSH, 2, 1), (PUSH, 3, 2), (ROLLBACK, 1, 3), (ROLLBACK, 3, 1)]
    >>> changes = [Change(n, 0, event, version, before) for n, (event, version, before) in enumerate(steps, 1)]
    >>> sorted(rolled_back_versions(changes[:4])), rolled_back_versions(changes)
    ([2, 3], {2})
    """
    known: set[int] = set()
    taken: set[int] = set()
    for change in changes:
        if change.event in (PUSH, FOUND):
            known.add(change.version)
        elif change.event == ROLLBACK:
            taken |= {version for version in known if version > change.version}
            taken.discard(change.version)
    return taken
