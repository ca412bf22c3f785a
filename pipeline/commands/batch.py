"""Shows, draws and answers batches of products to label, and says what their random part tells of quality: the verb `aisle batch`."""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.sampling_batch import ITEMS, BatchManifest, BatchSettings, read_batch
from pipeline.audit_quality import as_json, audit_quality, left_out_text, quality_rows
from pipeline.batch_drawing import draw_from_latest_run
from pipeline.commands.options import are_settings_named, positive, settings_of, settings_parent
from pipeline.demo.labeller import SimulatedLabeller
from pipeline.results import latest_folder
from schemas.errors import LabelError, SamplingError, SettingsError
from schemas.label_event import write_label_events
from schemas.shown_title import shown_title

EPILOG = """examples:
  aisle batch show --config demo/aisle.yaml
  aisle batch draw --config demo/aisle.yaml --subtree "Fashion > Shoes" --shop acme
  aisle batch draw --config demo/aisle.yaml --strategy rare_nodes --size 100 --out new-batch
  aisle batch answer --config demo/aisle.yaml --truth demo/truth.tsv --out answers.jsonl
  aisle labels import answers.jsonl --config demo/aisle.yaml
  aisle batch quality --config demo/aisle.yaml

BATCH is the folder a run names at its end; without it, --config finds the latest run's.
--truth is a TSV with product_id and node_id, such as a case's gold.tsv."""
_SHOWN_TITLE, _SHOWN_REASON, _SHOWN_SUGGESTIONS = 44, 60, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to the verb's parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("batch", metavar="BATCH", nargs="?", help="folder of a batch, or the batch.jsonl in it; default: the latest run's")
    shared.add_argument("--json", action="store_true", help="write JSON")
    common = settings_parent()
    actions = parser.add_subparsers(dest="batch_action", required=True, metavar="ACTION")

    showing = actions.add_parser("show", parents=[shared, common], help="show the first items, why each was chosen, and what is suggested")
    showing.add_argument("--limit", type=positive, default=20, metavar="N", help="how many items (default 20)")

    drawing = actions.add_parser("draw", parents=[common], help="draw another batch from the scores of the latest run")
    drawing.add_argument("--subtree", metavar="NODE", help="id or path of a node; only products whose best guess is there or below")
    drawing.add_argument("--shop", metavar="NAME", help="only products of this shop")
    drawing.add_argument("--strategy", metavar="NAME", help="instead of sampling.strategy")
    drawing.add_argument("--size", type=positive, metavar="N", help="instead of sampling.batch_size")
    drawing.add_argument("--seed", type=_seed, metavar="N", help="instead of run.seed")
    drawing.add_argument("--out", metavar="FOLDER", help="where the batch goes (default: batches/ID below run.root)")
    drawing.add_argument("--json", action="store_true", help="write JSON")

    judging = actions.add_parser("quality", parents=[common], help="estimate how often the model is right, from audit answers alone")
    judging.add_argument("--json", action="store_true", help="write JSON")

    answering = actions.add_parser("answer", parents=[shared, common], help="let the simulated labeller answer every item")
    answering.add_argument("--truth", required=True, metavar="FILE", help="TSV with product_id and node_id")
    answering.add_argument("--out", required=True, metavar="EVENTS", help="where the label events go, as JSON lines")
    answering.add_argument("--wrong-answer-rate", type=_share, default=0.0, metavar="R", help="share of wrong answers, 0 to 1 (default 0)")
    answering.add_argument("--seed", type=int, default=0, help="of which answers are wrong (default 0)")
    answering.add_argument("--labeller", default="simulated", metavar="NAME", help="name the answers are given under")


def run(args: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code; results go to standard output.

    Raises:
        SamplingError: there is no batch, or it is damaged.
        SettingsError: no batch is named, nor settings that tell where the latest one is.
        StoreError: nothing has run yet where the settings say.
        LabelError: the truth can't be read, or the events can't be written.
    """
    if args.batch_action == "draw":
        return _draw(args)
    if args.batch_action == "quality":
        return _quality(args)
    items, manifest = _batch(_named(args))
    return _ACTIONS[args.batch_action](args, items, manifest)


def _draw(args: argparse.Namespace) -> int:
    if not are_settings_named(args):
        raise SettingsError("no settings are named. Pass --config FILE, so that the scores of its latest run are found.")
    asked = {"sampling.strategy": args.strategy, "sampling.subtree": args.subtree, "sampling.shop": args.shop}
    said = {key: json.dumps(value) for key, value in asked.items() if value is not None}
    args.overrides = [*args.overrides, *(f"{key}={value}" for key, value in said.items())]
    settings = settings_of(args)
    sampling = settings.sampling
    seed = settings.run.seed if args.seed is None else args.seed
    draw = BatchSettings(
        sampling.strategy, args.size or sampling.batch_size, sampling.audit_share, seed, sampling.subtree, sampling.shop
    )  # fmt: skip
    drawn = draw_from_latest_run(settings, draw, Path(args.out) if args.out else None)
    if args.json:
        _write(json.dumps({**vars(drawn.manifest), "folder": str(drawn.folder)}, ensure_ascii=False))
        return 0
    _write(f"batch {drawn.manifest.batch_id}: {drawn.manifest.num_items} of {drawn.manifest.pool:,} products, strategy {sampling.strategy}")
    _write(f"it is in {drawn.folder}; show it with: aisle batch show {shlex.quote(str(drawn.folder))}")
    return 0


def _quality(args: argparse.Namespace) -> int:
    if not are_settings_named(args):
        raise SettingsError("no settings are named. Pass --config FILE, so that the label events are found.")
    found = audit_quality(settings_of(args))
    if args.json:
        _write(json.dumps(as_json(found)))
        return 0
    for line in aligned(list(quality_rows(found))):
        _write(line)
    if found.left_out:
        _write(left_out_text(found.left_out))
    return 0


def _named(args: argparse.Namespace) -> Path:
    if args.batch:
        return Path(args.batch)
    if not are_settings_named(args):
        raise SettingsError("no batch is named. Pass its folder, or --config FILE for the latest run's.")
    return latest_folder(Path(settings_of(args).run.root), "Sampler.batch")


def _batch(path: Path) -> tuple[list[dict[str, Any]], BatchManifest]:
    folder = path.parent if path.name == ITEMS and path.is_file() else path
    if not (folder / ITEMS).is_file():
        raise SamplingError(f"{path}: there is no {ITEMS} here. Name the batch folder that a run printed at its end.")
    items, manifest = read_batch(folder)
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or not item.get("product_id"):
            raise SamplingError(f"{folder / ITEMS}:{number}: this isn't an object with a product_id. Let a run write the batch again.")
    return items, manifest


def _show(args: argparse.Namespace, items: Sequence[Mapping[str, Any]], manifest: BatchManifest) -> int:
    shown = items[: args.limit]
    if args.json:
        _write(json.dumps({"batch_id": manifest.batch_id, "strategy": manifest.strategy, "items": list(shown)}, ensure_ascii=False))
        return 0
    _write(f"batch {manifest.batch_id}: {len(items)} of {manifest.pool:,} products, strategy {manifest.strategy}")
    rows = [("product", "title", "score", "stream", "reason", "suggestions"), *(_row(item) for item in shown)]
    for line in aligned(rows):
        _write(line)
    if len(items) > len(shown):
        _write(f"... and {len(items) - len(shown)} more; show them with --limit {len(items)}")
    return 0


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    score = item.get("score")
    return (
        str(item["product_id"]),
        _shortened(shown_title(item), _SHOWN_TITLE),
        f"{score:.3f}" if isinstance(score, (int, float)) else "",
        str(item.get("stream") or ""),
        _shortened(str(item.get("reason") or ""), _SHOWN_REASON),
        ", ".join(_suggestion(found) for found in (item.get("suggestions") or ())[:_SHOWN_SUGGESTIONS]),
    )


def _suggestion(found: Mapping[str, Any]) -> str:
    probability = found.get("probability")
    share = f" {probability:.0%}" if isinstance(probability, (int, float)) else ""
    return f"{found.get('path') or found.get('node_id')}{share}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Yields a line a row, columns under each other with two spaces between.

    >>> list(aligned([("a", "b"), ("long", "c")]))
    ['a     b', 'long  c']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _shortened(text: str, num_chars: int) -> str:
    return text if len(text) <= num_chars else text[: num_chars - 3].rstrip() + "..."


def _answer(args: argparse.Namespace, items: Sequence[Mapping[str, Any]], manifest: BatchManifest) -> int:
    labeller = SimulatedLabeller(read_truth(Path(args.truth)), args.wrong_answer_rate, args.seed, args.labeller)
    # What was shown names the strategy, which only the manifest knows.
    asked = [{**item, "strategy": manifest.strategy, "version": manifest.version} for item in items]
    events = list(labeller.answer(asked, manifest.batch_id, time.time_ns() // 1_000_000))
    _write_events(Path(args.out), events)
    kinds = Counter(event.kind for event in events)
    if args.json:
        _write(json.dumps({"batch_id": manifest.batch_id, "events": len(events), "kinds": dict(kinds), "file": args.out}))
    else:
        _write(f"answered {len(events)} items ({', '.join(f'{kind} {count}' for kind, count in kinds.items())}); events are in {args.out}")
        settings = "".join([f" --config {args.config}" if args.config else "", *(f" --set {shlex.quote(text)}" for text in args.overrides)])
        _write(f"next: aisle labels import {args.out}{settings}")
    return 0


def read_truth(path: Path) -> dict[str, str]:
    """Returns product id to node id from a TSV; further columns, such as a split, are left alone.

    Raises:
        LabelError: the file is missing, lacks a column, or a row of it is empty or short. Names file and row.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise LabelError(f"{path}: there is no such file of truth. Pass --truth FILE.") from None
    except OSError as error:
        raise LabelError(f"{path}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: byte {error.start} isn't UTF-8. Save the file as UTF-8.") from None
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    for column in ("product_id", "node_id"):
        if column not in (rows.fieldnames or ()):
            raise LabelError(f"{path}:1: column {column!r} is missing. Found {list(rows.fieldnames or ())}; expected product_id, node_id.")
    truth: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        if not row["product_id"] or not row["node_id"]:
            raise LabelError(f"{path}:{number}: product_id {row['product_id']!r} and node_id {row['node_id']!r} must both be filled.")
        truth[row["product_id"]] = row["node_id"]
    return truth


def _write_events(path: Path, events: Sequence[Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label_events(path, events)
    except OSError as error:
        raise LabelError(f"{path}: can't be written: {error.strerror}. Name a file in a folder you may write to.") from None


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number from 0 to {2**31 - 1}")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a share from 0 to 1")
    return share


_ACTIONS = {"show": _show, "answer": _answer}
