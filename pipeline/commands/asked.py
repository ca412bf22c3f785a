"""Opens what the verbs about runs and versions ask: the metadata, the root and the push folder; and shows it alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ml_metadata import errors as metadata_errors

from components.push_folder import PushFolder
from pipeline.lineage import Lineage
from pipeline.results import metadata_error, open_metadata
from pipeline.root_state import METADATA
from schemas.settings import Settings


@dataclass(frozen=True)
class Asked:
    """Where the answers are.

    Attributes:
        lineage: of the metadata; None where no stage has run, or the metadata was removed.
        root: `run.root`.
        place: the push folder.
    """

    lineage: Lineage | None
    root: Path
    place: PushFolder

    @property
    def live_version(self) -> int:
        """What is live now, 0 for nothing."""
        live = self.place.pointed()
        return live.version if live else 0


@contextlib.contextmanager
def asked(settings: Settings) -> Iterator[Asked]:
    """Opens the metadata for reading.

    Raises:
        StoreError: nothing has run or been pushed there, or the metadata is damaged.
    """
    root, place = Path(settings.run.root), PushFolder(Path(settings.push.folder), settings.run.name)
    try:
        is_there = (root / METADATA).exists()
        if not is_there and place.pointed() is None and not (root / "logs").is_dir():
            open_metadata(root)
        yield Asked(Lineage(open_metadata(root)) if is_there else None, root, place)
    except metadata_errors.StatusError as error:
        raise metadata_error(root, error) from None


def moment(at_ms: int) -> str:
    """Returns a time of day here, as 2026-05-01 12:00:00."""
    return str(datetime.fromtimestamp(at_ms // 1000))


def short(digest: str) -> str:
    """Returns the beginning of a digest, enough to tell two apart."""
    return digest[:12] or "-"


def score(value: Any) -> str:
    """Returns a score with four digits, or a dash."""
    return f"{value:.4f}" if isinstance(value, (int, float)) else "-"


def tree(branches: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Yields the lines of a tree of two levels; a branch without leaves is left out.

    >>> list(tree([("fruit", ["apple", "pear"]), ("stone", [])]))
    ['└─ fruit', '   ├─ apple', '   └─ pear']
    """
    full = [(name, leaves) for name, leaves in branches if leaves]
    for number, (name, leaves) in enumerate(full, 1):
        is_last = number == len(full)
        yield f"{'└' if is_last else '├'}─ {name}"
        for leaf_number, leaf in enumerate(leaves, 1):
            yield f"{' ' if is_last else '│'}  {'└' if leaf_number == len(leaves) else '├'}─ {leaf}"
