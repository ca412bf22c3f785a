"""Reads and writes the files of the taxonomy, rule and label snapshots, on local paths and object storage alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tfx.dsl.io import fileio

from schemas.label_event import LabelEvent, read_label_events
from schemas.rules import Rule, load_rules
from schemas.taxonomy import Taxonomy, load_taxonomy

TAXONOMY_FILE, RULES_FILE, LABELS_FILE = "taxonomy.tsv", "rules.tsv", "label_events.jsonl"
_T = TypeVar("_T")


def read_local(path: str, read: Callable[[Path], _T]) -> _T:
    """Returns `read` of a file, through a local copy where the path is on object storage."""
    if "://" not in path:
        return read(Path(path))
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / path.rsplit("/", 1)[-1]
        if fileio.exists(path):
            fileio.copy(path, str(local))
        return read(local)


def write_local(path: str, write: Callable[[Path], object]) -> None:
    """Calls `write` with a local path, and moves what it wrote to where it belongs."""
    if "://" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write(Path(path))
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / path.rsplit("/", 1)[-1]
        write(local)
        fileio.makedirs(path.rsplit("/", 1)[0])
        fileio.copy(str(local), path, overwrite=True)


def read_taxonomy(uri: str) -> Taxonomy:
    """Returns the tree of a `TaxonomySnapshot`."""
    return read_local(f"{uri}/{TAXONOMY_FILE}", load_taxonomy)


def read_rules(uri: str, taxonomy: Taxonomy) -> list[Rule]:
    """Returns the rules of a `RuleSnapshot`."""
    return read_local(f"{uri}/{RULES_FILE}", lambda path: load_rules(path, taxonomy))


def read_events(uri: str) -> list[LabelEvent]:
    """Returns the label events of a `LabelSnapshot`, in the order they were appended."""
    return read_local(f"{uri}/{LABELS_FILE}", lambda path: list(read_label_events(path)))
