"""Reads which index is live from the `live.json` of a push folder, as docs/contracts.md describes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import NeighbourIndexError

LIVE = "live.json"
_MAX_BYTES, _MAX_SHOWN = 1_000_000, 200
_END = 2**63  # Of versions, as messages hold them.


@dataclass(frozen=True)
class Pushed:
    """The pair that is live.

    Attributes:
        name: of the model.
        version: of model and index alike.
        index: folder of the index.
    """

    name: str
    version: int
    index: Path


def read_pushed(folder: Path) -> Pushed:
    """Returns what a push folder says is live.

    Raises:
        NeighbourIndexError: nothing is, or `live.json` is damaged or leads out of the folder.
    """
    path = folder / LIVE
    row = _row(path)
    name, version, index = (row.get(key) for key in ("name", "version", "index"))
    if type(version) is not int or not 0 <= version < _END:
        raise _damaged(path, f"this can't be read: version is {_shown(version)}, expected a whole number")
    if not isinstance(name, str) or not isinstance(index, str):
        raise _damaged(path, f"this can't be read: name and index are {_shown(name)} and {_shown(index)}, expected texts")
    if Path(index).is_absolute() or ".." in Path(index).parts:
        raise _damaged(path, f"{_shown(index)} leads out of the folder")
    return Pushed(name, version, folder / index)


def _row(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise NeighbourIndexError(f"{path.parent}: nothing is live here. Run until a model is blessed: aisle run.") from None
    except OSError as error:
        raise _damaged(path, f"this can't be read: {error.strerror}") from None
    try:
        row = json.loads(content) if len(content) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise _damaged(path, "this can't be read: found something else than a JSON object")
    return row


def _shown(value: object) -> str:
    return repr(value)[:_MAX_SHOWN]


def _damaged(path: Path, what: str) -> NeighbourIndexError:
    return NeighbourIndexError(f"{path}: {what}. Make a version live again: aisle rollback.")
