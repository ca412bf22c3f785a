"""Reads which index is live from the `live.json` of a push folder, as docs/contracts.md describes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import NeighbourIndexError

LIVE = "live.json"


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
    try:
        row = json.loads(path.read_bytes())
        name, version, index = str(row["name"]), int(row["version"]), Path(str(row["index"]))
    except FileNotFoundError:
        raise NeighbourIndexError(f"{folder}: nothing is live here. Run until a model is blessed: aisle run.") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise NeighbourIndexError(f"{path}: this can't be read: {error!r}. Make a version live again: aisle rollback.") from None
    if index.is_absolute() or ".." in index.parts:
        raise NeighbourIndexError(f"{path}: {str(index)!r} leads out of the folder. Make a version live again: aisle rollback.")
    return Pushed(name, version, folder / index)
