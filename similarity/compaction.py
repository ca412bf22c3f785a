"""Builds a new index from an older one plus its changes, in a process of its own so that queries never wait for it."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import NeighbourIndexError
from similarity.change_log import read_log, sync, write_history
from similarity.changes import latest
from similarity.child_process import child_main
from similarity.manifest import IndexManifest
from similarity.planner import build_index, load_index, save_index
from similarity.recent_changes import RecentChanges, merged

PARTIAL = ".partial"
log = logging.getLogger(__name__)


def compact(built: Path, logs: Sequence[Path], target: Path, history: Path, min_recall: float) -> IndexManifest:
    """Writes an index of the same kind, storage and version as an older one, its changes applied.

    Args:
        built: folder of the older index.
        logs: its history and logs, in the order of their changes; none of them is still written to.
        target: folder of the new index; appears whole, on disk, or not at all.
        history: file for the last change of each product, for when another index takes over.
        min_recall: the floor of `build_index`.

    Returns:
        The manifest of the new index.

    Raises:
        NeighbourIndexError: something can't be read, no product is left, or the recall floor isn't reached.
    """
    index, manifest = load_index(built, content=False)
    changes = [change for path in logs for change in read_log(path, manifest.dimension, may_be_cut=False)]
    last = latest(changes)
    recent = RecentChanges(index.products)
    recent.take([change for _, change in last.values()])
    products = merged(index.products, recent.view())
    again = build_index(products, manifest.exact_below, manifest.neighbours, min_recall, 0, manifest.storage, manifest.kind)
    partial = target.with_name(target.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        written = save_index(partial, again, manifest.model_sha256, manifest.taxonomy_sha256, manifest.version)
        write_history(history, manifest.dimension, last.values())
        for path in [*partial.rglob("*"), partial]:
            sync(path)
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)  # They would keep the room that the log of changes needs.
        history.unlink(missing_ok=True)
        raise NeighbourIndexError(f"{target}: the new index can't be written: {error.strerror}. Make room.") from None
    sync(target.parent)
    return written


def main(arguments: Sequence[str]) -> int:
    """Runs `compact` and says on standard output how many products there are, or on standard error what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("built", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("history", type=Path)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--min-recall", type=float, required=True)
    return child_main(parser.parse_args(arguments), lambda told: compact(told.built, told.logs, told.target, told.history, told.min_recall))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
