"""Shows, draws and answers batches of products, and says how good the model is and what more answers bring: the verb `aisle batch`."""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.batch_files import ITEMS, KIND, QUESTION_KIND, BatchManifest, question_of, read_batch
from components.sampling_batch import BatchSettings
from few_shot.quality_estimate import as_json
from few_shot.stopping_advice import NEXT_ANSWERS
from pipeline.audit_quality import audit_quality, notes, quality_rows
from pipeline.batch_drawing import draw_from_latest_run
from pipeline.commands.asked import asked
from pipeline.commands.options import MAX_SEED, are_settings_named, positive, refuse_overwriting, settings_of, settings_parent, share, up_to
from pipeline.demo.labeller import SimulatedLabeller
from pipeline.inputs import read_taxonomy, resolved
from pipeline.more_answers import AUDITS, SOURCES, Point, advice_of, advice_text, audited_points, point_rows, run_points
from pipeline.more_answers import as_json as more_answers_json
from pipeline.results import latest_folder
from pipeline.run_records import list_runs
from schemas.errors import LabelError, SamplingError, SettingsError
from schemas.label_event import LabelEvent, write_label_events
from schemas.settings import Settings
from schemas.shown_title import shown_title

EPILOG = """examples:
  aisle batch show --config demo/aisle.yaml
  aisle batch draw --config demo/aisle.yaml --subtree "Fashion > Shoes" --shop acme
  aisle batch draw --config demo/aisle.yaml --strategy rare_nodes --size 100 --out new-batch
  aisle batch draw --config demo/aisle.yaml --questions 10
  aisle batch answer --config demo/aisle.yaml --truth demo/truth.tsv --out answers.jsonl
  aisle labels import answers.jsonl --config demo/aisle.yaml
  aisle batch quality --config demo/aisle.yaml
  aisle batch advice --config demo/aisle.yaml --more 250

BATCH is the folder a run names at its end; without it, --config finds the latest run's.
--truth is a TSV with product_id and node_id, such as a case's gold.tsv."""
_MOST_RUNS = 1_000
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
    drawing.add_argument(
        "--questions",
        type=up_to(999_999),
        default=0,
        metavar="N",
        help="items about groups, five products of which are shown (default 0)",
    )
    drawing.add_argument("--seed", type=up_to(MAX_SEED), metavar="N", help="instead of run.seed")
    drawing.add_argument("--out", metavar="FOLDER", help="where the batch goes (default: batches/ID below run.root)")
    drawing.add_argument("--json", action="store_true", help="write JSON")

    judging = actions.add_parser("quality", parents=[common], help="estimate how often the model is right, from audit answers alone")
    judging.add_argument("--json", action="store_true", help="write JSON")

    advising = actions.add_parser(
        "advice", parents=[common], help="say what the next answers are expected to gain, from how quality grew so far"
    )
    advising.add_argument("--more", type=positive, default=NEXT_ANSWERS, metavar="N", help=f"answers to come (default {NEXT_ANSWERS})")
    advising.add_argument(
        "--from",
        dest="source",
        choices=SOURCES,
        default=AUDITS,
        help="audits: answers on random products (the default); runs: the test products of each run below run.root",
    )
    advising.add_argument("--json", action="store_true", help="write JSON")

    answering = actions.add_parser("answer", parents=[shared, common], help="let the simulated labeller answer every item")
    answering.add_argument("--truth", required=True, metavar="FILE", help="TSV with product_id and node_id")
    answering.add_argument("--out", required=True, metavar="EVENTS", help="where the label events go, as JSON lines")
    answering.add_argument("--wrong-answer-rate", type=share, default=0.0, metavar="R", help="share of wrong answers, 0 to 1 (default 0)")
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
    if args.batch_action == "advice":
        return _advice(args)
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
    drawn = draw_from_latest_run(settings, draw, Path(args.out) if args.out else None, args.questions)
    if args.json:
        _write(json.dumps({**vars(drawn.manifest), "folder": str(drawn.folder)}, ensure_ascii=False))
        return 0
    _write(f"batch {drawn.manifest.batch_id}: {_counted(drawn.manifest)}, strategy {sampling.strategy}")
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
    for line in notes(found):
        _write(line)
    return 0


def _advice(args: argparse.Namespace) -> int:
    if not are_settings_named(args):
        raise SettingsError("no settings are named. Pass --config FILE, so that the label events are found.")
    settings = settings_of(args)
    points = audited_points(settings) if args.source == AUDITS else _points_of_runs(settings)
    found = advice_of(points, args.source, args.more, settings.run.seed)
    if args.json:
        _write(json.dumps(more_answers_json(points, args.source, found)))
        return 0
    for line in aligned(list(point_rows(points))):
        _write(line)
    _write(advice_text(found))
    return 0


def _points_of_runs(settings: Settings) -> Sequence[Point]:
    with asked(settings) as where:
        return run_points(list_runs(where.lineage, where.root, where.live_version, _MOST_RUNS))


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
        if item.get(KIND) == QUESTION_KIND:
            question_of(item, f"{folder / ITEMS}:{number}", manifest.batch_id, manifest.version)
    return items, manifest


def _show(args: argparse.Namespace, items: Sequence[Mapping[str, Any]], manifest: BatchManifest) -> int:
    shown = items[: args.limit]
    if args.json:
        _write(json.dumps({"batch_id": manifest.batch_id, "strategy": manifest.strategy, "items": list(shown)}, ensure_ascii=False))
        return 0
    _write(f"batch {manifest.batch_id}: {_counted(manifest)}, strategy {manifest.strategy}")
    rows = [("product", "title", "score", "stream", "reason", "suggestions"), *(_row(item) for item in shown)]
    for line in aligned(rows):
        _write(line)
    if len(items) > len(shown):
        _write(f"... and {len(items) - len(shown)} more; show them with --limit {len(items)}")
    return 0


def _counted(manifest: BatchManifest) -> str:
    """Returns what a batch asks about, such as `2 groups, 18 of 400 products`."""
    groups = f"{manifest.num_questions} groups, " if manifest.num_questions else ""
    return f"{groups}{manifest.num_items - manifest.num_questions} of {manifest.pool:,} products"


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    score, is_question = item.get("score"), item.get(KIND) == QUESTION_KIND
    title = f"{len(item['members'])} products, as {shown_title(item['examples'][0])}" if is_question else shown_title(item)
    return (
        str(item["question"] if is_question else item["product_id"]),
        _shortened(title, _SHOWN_TITLE),
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
    refuse_overwriting({"--out": args.out}, {"--truth": args.truth, "--config": args.config})
    labeller = SimulatedLabeller(read_truth(Path(args.truth)), args.wrong_answer_rate, args.seed, args.labeller)
    # What was shown names the strategy, which only the manifest knows.
    asked = [{**item, "strategy": manifest.strategy, "version": manifest.version} for item in items]
    started_at_ms = time.time_ns() // 1_000_000
    events = list(labeller.answer((item for item in asked if item.get(KIND) != QUESTION_KIND), manifest.batch_id, started_at_ms))
    groups = [question_of(item, args.out, manifest.batch_id, manifest.version) for item in asked if item.get(KIND) == QUESTION_KIND]
    if groups:
        if not are_settings_named(args):
            raise SettingsError("the batch asks about groups of products. Pass --config FILE, for the tree that answers are nodes of.")
        taxonomy = read_taxonomy(resolved(settings_of(args)))
        events += [event for group in groups for event in labeller.answer_group(group, taxonomy, started_at_ms)]
    events = _until(events, started_at_ms)
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
    for number, row in enumerate(_whole_rows(rows, path), 2):
        if not row["product_id"] or not row["node_id"]:
            raise LabelError(f"{path}:{number}: product_id {row['product_id']!r} and node_id {row['node_id']!r} must both be filled.")
        truth[row["product_id"]] = row["node_id"]
    return truth


def _whole_rows(rows: Iterable[dict[str, str]], path: Path) -> Iterable[dict[str, str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise LabelError(f"{path}: {error}. Expected lines of product_id and node_id.") from None


def _until(events: Sequence[LabelEvent], now_ms: int) -> list[LabelEvent]:
    """Returns events moved back so that the last one is now: an answer from the future would outlast a person's own."""
    late = max((event.answered_at_ms for event in events), default=now_ms) - now_ms
    return [replace(event, answered_at_ms=event.answered_at_ms - late) for event in events]


def _write_events(path: Path, events: Sequence[Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label_events(path, events)
    except OSError as error:
        raise LabelError(f"{path}: can't be written: {error.strerror}. Name a file in a folder you may write to.") from None


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


_ACTIONS = {"show": _show, "answer": _answer}
