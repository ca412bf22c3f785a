"""Tells whether a version's folder is whole and whether somebody is writing to it; plain Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from grpc import StatusCode

from serving.status import ServingError

VARIABLES_INDEX = Path("variables") / "variables.index"
Contents = Mapping[str, tuple[int, int, int]]


def contents_of(folder: Path) -> Contents:
    """Returns every file below a folder with its size, its time of change in nanoseconds and its number on the disk.

    Two that are equal: nobody wrote in between. What can't be looked at is left out, and so is a change once it can.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            try:
                known = path.stat()
            except OSError:
                continue
            found[str(path.relative_to(folder))] = (known.st_size, known.st_mtime_ns, known.st_ino)
    return found


def check_variables(folder: Path, restore_op: str) -> None:
    """Refuses a model whose graph restores variables from files that aren't there.

    TensorFlow loads such a model all the same, without its variables, and every request to it fails.

    Args:
        folder: of the SavedModel.
        restore_op: the operation that restores its variables; empty: it has none.

    Raises:
        ServingError: NOT_FOUND: the index of the variables is missing.
    """
    if restore_op and not (folder / VARIABLES_INDEX).is_file():
        raise ServingError(
            StatusCode.NOT_FOUND,
            f"{folder}: the model can't be loaded: {VARIABLES_INDEX} is missing, which holds its variables. Copy the whole folder.",
        )


def check_unchanged(folder: Path, before: Contents) -> None:
    """Refuses a folder that somebody wrote to while it was loaded: what is in memory may be half of it.

    Raises:
        ServingError: UNAVAILABLE: it isn't what it was before.
    """
    now = contents_of(folder)
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if changed:
        raise ServingError(
            StatusCode.UNAVAILABLE,
            f"{folder}: {changed[0]} changed while the model was loaded. It is tried again once nothing changes; "
            "copy versions beside this folder and rename them into it.",
        )


class FailedFolders:
    """Remembers what was in folders that couldn't be loaded, to tell which of them have been completed since."""

    def __init__(self) -> None:
        self._tried: dict[Path, Contents] = {}
        self._seen: dict[Path, Contents] = {}

    def failed(self, folder: Path, contents: Contents) -> None:
        """Remembers a folder as it was when loading it was begun."""
        for gone in [place for place in self._tried if not place.is_dir()]:
            self.loaded(gone)
        self._tried[folder] = self._seen[folder] = contents

    def loaded(self, folder: Path) -> None:
        """Forgets a folder."""
        self._tried.pop(folder, None)
        self._seen.pop(folder, None)

    def is_completed(self, folder: Path) -> bool:
        """Returns whether a folder is another than the one that failed, and the same as at the look before: nobody is writing now."""
        if folder not in self._tried:
            return False
        now, before = contents_of(folder), self._seen[folder]
        self._seen[folder] = now
        return now == before and now != self._tried[folder]
