"""Keeps the files of a live index: which built index and which logs count, replaced in one rename; one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import NeighbourIndexError
from similarity.change_log import sync

POINTER, LOCK = "current.json", ".lock"
FORMAT_VERSION = 1
_OURS = re.compile(r"(?:base|changes|history|to_embed)-\d{8}(?:\.log|\.json)?(?:\.partial)?")


@dataclass(frozen=True)
class LivePointer:
    """What `current.json` says.

    Attributes:
        base: folder of the built index, relative to the live folder.
        history: file with the changes that are in `base` already, for when another index takes over; empty for none.
        first_log: number of the first log whose changes aren't in `base`.
        to_embed: file with the products that had to be embedded again when `base`, or what it was folded from, took over; those that were
            upserted or deleted since are in history and logs. Empty for none, as in folders of releases that kept no such list.
        format_version: of this description and the files it names.
    """

    base: str
    history: str
    first_log: int
    to_embed: str = ""
    format_version: int = FORMAT_VERSION


class LiveFolder:
    """A folder that this process alone may change, until `close`.

    Args:
        path: of the folder, which is made where it isn't there.

    Raises:
        NeighbourIndexError: another process has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise NeighbourIndexError(f"{path}: another process has this live index open. Stop it, or use a folder of your own.") from None

    def close(self) -> None:
        """Lets another process have the folder; the system does so by itself when this one ends."""
        os.close(self._lock)

    @property
    def is_empty(self) -> bool:
        """Whether no index was ever put here."""
        return not (self.path / POINTER).exists()

    def base(self, number: int) -> Path:
        """Returns the folder of a built index."""
        return self.path / f"base-{number:08d}"

    def log(self, number: int) -> Path:
        """Returns the file of a log."""
        return self.path / f"changes-{number:08d}.log"

    def history(self, number: int) -> Path:
        """Returns the file of a history."""
        return self.path / f"history-{number:08d}.log"

    def to_embed(self, number: int) -> Path:
        """Returns the file of products to embed again."""
        return self.path / f"to_embed-{number:08d}.json"

    def next_number(self) -> int:
        """Returns a number that no file here has."""
        found = re.findall(r"-(\d{8})", " ".join(path.name for path in self.path.iterdir()))
        return max(map(int, found), default=0) + 1

    def logs_from(self, number: int) -> list[Path]:
        """Returns the logs from a number on, in order."""
        return sorted(path for path in self.path.glob("changes-????????.log") if path >= self.log(number))

    def log_bytes(self, number: int) -> int:
        """Returns the size of the logs from a number on; one that another thread removes meanwhile counts nothing."""
        total = 0
        for path in self.logs_from(number):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def read(self) -> LivePointer:
        """Returns what counts now.

        Raises:
            NeighbourIndexError: the pointer is missing, damaged or of another format.
        """
        path = self.path / POINTER
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format_version"] != FORMAT_VERSION:
                raise NeighbourIndexError(
                    f"{path}: format_version is {found['format_version']!r}, this release reads {FORMAT_VERSION}. "
                    "Use the release that wrote it, or create a live index in an empty folder."
                )
            pointer = LivePointer(str(found["base"]), str(found["history"]), int(found["first_log"]), str(found.get("to_embed", "")))
        except FileNotFoundError:
            raise NeighbourIndexError(f"{self.path}: this isn't a live index: {POINTER} is missing. Create it from a built one.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise NeighbourIndexError(f"{path}: this isn't what a live index writes: {error}. Restore it from a copy.") from None
        for name in filter(None, (pointer.base, pointer.history, pointer.to_embed)):
            if not _OURS.fullmatch(name):
                raise NeighbourIndexError(f"{path}: {name!r} isn't a name inside this folder. Restore it from a copy.")
        return pointer

    def write(self, pointer: LivePointer) -> None:
        """Makes other files count, in one step, and removes those that no longer do."""
        temporary = self.path / f".{POINTER}.tmp"
        temporary.write_text(json.dumps(asdict(pointer), indent=2) + "\n", encoding="utf-8")
        sync(temporary)
        temporary.replace(self.path / POINTER)
        sync(self.path)
        self.tidy(pointer)

    def tidy(self, pointer: LivePointer) -> None:
        """Removes what a pointer doesn't name, such as what a crash left half-made."""
        kept = {pointer.base, pointer.history, pointer.to_embed, *(path.name for path in self.logs_from(pointer.first_log))}
        for path in self.path.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def take_copy(self, source: Path, target: Path) -> None:
        """Puts the files of a built index here, without copying them where the file system can; whole or not at all.

        Raises:
            NeighbourIndexError: it can't be read, or there is no room; nothing is left of it.
        """
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _take_all(source, partial)
            for path in [*partial.rglob("*"), partial]:
                sync(path)
            partial.rename(target)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)  # It would keep the room that the log of changes needs.
            raise NeighbourIndexError(
                f"{target}: {source} can't be put here: {error.strerror}. Make room, and see that you may write here."
            ) from None
        sync(self.path)


def _take_all(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        else:
            _link_or_copy(path, place)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
