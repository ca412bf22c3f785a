"""Turns a catalogue folder in the case format into the settings and label events a run needs."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import CatalogueError
from schemas.label_event import IS, LabelEvent, write_label_events
from schemas.product import DEV, TEST
from schemas.settings import NetworkSettings, Settings

_FEEDS = {"feed.jsonl.gz": "jsonl", "feed.jsonl": "jsonl", "feed.csv": "csv", "feed.csv.gz": "csv", "feed.parquet": "parquet"}
_GOLD = "gold.tsv"
_COLUMNS = ("product_id", "node_id", "split")
LABELLER = "gold"


def with_case_folder(settings: Settings) -> Settings:
    """Returns the settings with networks, taxonomy, rules and split taken from `catalogue.folder`.

    Raises:
        CatalogueError: a file of the format is missing, or gold.tsv can't be read.
    """
    folder = Path(settings.catalogue.folder)
    feed = next((name for name in _FEEDS if (folder / name).exists()), "")
    if not feed:
        raise CatalogueError(
            f"{folder}: there is no feed. Expected one of {', '.join(_FEEDS)}. Set catalogue.folder to a catalogue's folder."
        )
    if not (folder / "taxonomy.tsv").exists():
        raise CatalogueError(f"{folder}: taxonomy.tsv is missing. A catalogue folder holds a feed, taxonomy.tsv, rules.tsv and gold.tsv.")
    rules, gold = folder / "rules.tsv", folder / _GOLD
    return dataclasses.replace(
        settings,
        networks={"case": NetworkSettings(format=_FEEDS[feed], feeds=(str(folder / feed),))},
        taxonomy=dataclasses.replace(settings.taxonomy, path=str(folder / "taxonomy.tsv")),
        rules=dataclasses.replace(settings.rules, path=str(rules) if rules.exists() else ""),
        ingest=dataclasses.replace(settings.ingest, split=str(gold) if gold.exists() else settings.ingest.split),
    )


def case_events(settings: Settings) -> list[LabelEvent]:
    """Returns every test answer of gold.tsv and `catalogue.answers` random dev answers, as label events; none without gold.tsv.

    Raises:
        CatalogueError: gold.tsv can't be read.
    """
    gold = Path(settings.catalogue.folder) / _GOLD
    if not gold.exists():
        return []
    answers = list(_answers(gold))
    dev = sorted(answer for answer in answers if answer[2] == DEV)
    if 0 <= settings.catalogue.answers < len(dev):
        dev = random.Random(settings.run.seed).sample(dev, settings.catalogue.answers)
    kept = sorted(dev) + sorted(answer for answer in answers if answer[2] == TEST)
    return [_event(product_id, node_id) for product_id, node_id, _ in kept]


def write_case_events(settings: Settings, path: Path) -> int:
    """Writes `case_events` as JSON lines and returns how many; without any there is no file.

    Raises:
        CatalogueError: gold.tsv can't be read, or the file can't be written.
    """
    events = case_events(settings)
    if not events:
        return 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_label_events(path, events)
    except OSError as error:
        raise CatalogueError(f"{path}: can't be written: {error.strerror}. Set run.root to a folder you may write to.") from None


def _answers(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), path)
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{path}: byte {error.start} isn't UTF-8. Save the file as UTF-8.") from None
    except (OSError, csv.Error) as error:
        raise CatalogueError(f"{path}: this can't be read: {getattr(error, 'strerror', None) or error}. Expected a TSV.") from None


def _rows(reader: csv.DictReader, path: Path) -> Iterator[tuple[str, str, str]]:
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise CatalogueError(f"{path}:1: column {missing[0]!r} is missing. Expected {', '.join(_COLUMNS)}.")
    twice = [name for name in _COLUMNS if list(reader.fieldnames or ()).count(name) > 1]
    if twice:
        raise CatalogueError(f"{path}:1: column {twice[0]!r} is there twice. Keep one.")
    said: dict[str, tuple[int, str]] = {}
    for number, row in enumerate(reader, 2):
        if row["split"] not in (DEV, TEST) or not row["product_id"] or not row["node_id"]:
            found = [str(value)[:60] for value in list(row.values())[:3]]
            raise CatalogueError(f"{path}:{number}: expected a product, a node and the split dev or test, found {found}.")
        first, node_id = said.setdefault(row["product_id"], (number, row["node_id"]))
        if node_id != row["node_id"]:
            raise CatalogueError(
                f"{path}:{number}: product {row['product_id']!r} is {row['node_id']!r} here and {node_id!r} at line {first}. Keep one."
            )
        yield row["product_id"], row["node_id"], row["split"]


def _event(product_id: str, node_id: str) -> LabelEvent:
    event_id = hashlib.sha256(f"{LABELLER}\t{product_id}\t{node_id}".encode()).hexdigest()[:24]
    return LabelEvent(event_id, 0, LABELLER, product_id, IS, node_id)
