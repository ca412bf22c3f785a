"""Imports, exports, lists and retracts label events: the verb `aisle labels`."""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from components.batch_files import questions_of
from pipeline.case_folder import with_case_folder
from pipeline.commands.options import are_settings_named, positive, refuse_overwriting, settings_of, settings_parent
from schemas.errors import LabelError, SettingsError, one_line
from schemas.group_answers import DROPPED, QuestionRecord, parse_answer_line, question_records
from schemas.label_event import GROUP, MAX_TEXT_LENGTH, RETRACT, LabelEvent, read_label_events, standing_events, write_label_events
from schemas.taxonomy import load_taxonomy
from schemas.text import is_unicode
from stores.sqlite_label_events import SqliteLabelEventStore

EPILOG = """examples:
  aisle labels import answers.jsonl --config demo/aisle.yaml
  aisle labels list --product 4711 --store labels.sqlite
  aisle labels list --questions --config demo/aisle.yaml
  aisle labels retract 3f2c --labeller ann --store labels.sqlite
  aisle labels retract --question q-1f0a --labeller ann --store labels.sqlite
  aisle labels import answers.jsonl --batch demo/batch --config demo/aisle.yaml
  aisle labels export - --store labels.sqlite | gzip > backup.jsonl.gz

A label event is one JSON line: event_id, answered_at_ms, labeller, product_id, kind, and node_id where the kind needs one.
An answer about a group of products names the question of its batch in the place of a product, and may be "mixed"; each member
gets an event of it.
The store is --store, else labels.store of the settings.
Importing a file again adds nothing. Nothing is ever removed: a retraction is an event, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands to the verb's parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--store", metavar="FILE", help="SQLite file of label events; default: labels.store of the settings")
    shared.add_argument("--json", action="store_true", help="write JSON")
    parents = [shared, settings_parent()]
    actions = parser.add_subparsers(dest="labels_action", required=True, metavar="ACTION")

    importing = actions.add_parser("import", parents=parents, help="append the events of a JSON-lines file; safe to repeat")
    importing.add_argument("file", metavar="FILE", help="JSON lines; - for standard input")
    importing.add_argument(
        "--batch",
        action="append",
        default=[],
        metavar="BATCH",
        help="folder of a batch whose questions about groups the file answers",
    )
    exporting = actions.add_parser("export", parents=parents, help="write all events as JSON lines")
    exporting.add_argument("file", metavar="FILE", nargs="?", default="-", help="where to; - (the default) for standard output")
    listing = actions.add_parser("list", parents=parents, help="show the latest events, and which of them stand")
    listing.epilog = "Columns, by tabs: time, event, labeller, product, kind, node or retracted event, state, question."
    listing.add_argument("--product", metavar="ID", help="only events about this product")
    listing.add_argument("--question", metavar="ID", help="only events that answer this question about a group")
    listing.add_argument("--questions", action="store_true", help="show the answers about groups, a line each, and how each stands")
    listing.add_argument("--limit", type=positive, default=50, metavar="N", help="how many, counted from the latest (default 50)")
    retracting = actions.add_parser("retract", parents=parents, help="take an answer back; the product's earlier answer stands again")
    retracting.add_argument("event_id", metavar="EVENT_ID", nargs="?")
    retracting.add_argument("--question", metavar="ID", help="instead of one event, all that answer this question about a group")
    retracting.add_argument("--labeller", required=True, metavar="NAME", help="who takes it back")


def run(args: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code; results go to standard output.

    Raises:
        LabelError: an event can't be read, contradicts the store, or isn't there.
        SettingsError: no store is named, or an argument can't be part of an event.
        StoreError: the store can't be read or written.
    """
    for name, option in _TEXTS.items():
        _check_text(option, getattr(args, name, None))
    return _ACTIONS[args.labels_action](args, _store(args))


def _store(args: argparse.Namespace) -> Path:
    if not args.store and not are_settings_named(args):
        raise SettingsError("no store of label events is named. Pass --store FILE, or --config with labels.store.")
    return Path(args.store or settings_of(args).labels.store)


def _check_text(option: str, text: str | None) -> None:
    if text and not is_unicode(text):
        raise SettingsError(f"{option}: {text[:60]!r} isn't UTF-8, expected a text. Write it in UTF-8.")


def write(text: str, stream: TextIO | None = None) -> None:
    """Writes one line of result; bytes of a file's name that aren't UTF-8 as escapes."""
    (stream or sys.stdout).write(text.encode(errors="backslashreplace").decode() + "\n")


def _import(args: argparse.Namespace, path: Path) -> int:
    source = Path("/dev/stdin" if args.file == "-" else args.file)
    asked = {question.question: question for folder in args.batch for question in questions_of(Path(folder))}
    events = list(read_label_events(source, lambda line, place: parse_answer_line(line, place, asked)))
    with SqliteLabelEventStore(path) as store:
        try:
            appended = store.append(events)
        except LabelError as error:
            raise LabelError(f"{args.file}: {error}") from None
        total = store.count()
    if args.json:
        write(_json({"added": appended.added, "already_there": appended.already_there, "events": total, "store": str(path)}))
    else:
        write(f"added {appended.added}, already there {appended.already_there}; {path} holds {total} events")
    return 0


def _export(args: argparse.Namespace, path: Path) -> int:
    refuse_overwriting({"FILE": args.file}, {"the store": path, "--config": args.config})
    with SqliteLabelEventStore(path, read_only=True) as store:
        if args.file == "-":
            for event in store.events():
                write(event.to_json())
            return 0
        count = _replace(Path(args.file), store.events())
    write(_json({"exported": count, "file": args.file}) if args.json else f"exported {count} events to {args.file}")
    return 0


def _replace(target: Path, events: Iterable[LabelEvent]) -> int:
    """Writes beside the target and renames, so that a broken export leaves the earlier one whole."""
    part = target.with_name(target.name + ".part")
    try:
        count = write_label_events(part, events)
        part.replace(target)
    except OSError as error:
        raise LabelError(f"{target}: can't be written: {error.strerror}. Name a file in a folder you may write to.") from None
    return count


def _list(args: argparse.Namespace, path: Path) -> int:
    with SqliteLabelEventStore(path, read_only=True) as store:
        if args.questions:
            return _list_questions(args, store)
        if args.question is not None:
            events = store.events_of_question(args.question)[-args.limit :]
        elif args.product is None:
            events = list(store.events(max(0, store.count() - args.limit)))
        else:
            events = store.events_of(args.product)[-args.limit :]
        states = {product_id: _states(store.events_of(product_id)) for product_id in {event.product_id for event in events}}
        if any(event.source == GROUP for event in events) and are_settings_named(args):
            dropped = {record.question for record in _records(args, store) if record.state == DROPPED}
            _drop(states, events, dropped)
    for event in events:
        state = states[event.product_id][event.event_id]
        write(_json({**json.loads(event.to_json()), "state": state}) if args.json else _line(event, state))
    return 0


def _drop(states: dict[str, dict[str, str]], events: Sequence[LabelEvent], dropped: set[str]) -> None:
    for event in events:
        if event.question in dropped and states[event.product_id][event.event_id] == "stands":
            states[event.product_id][event.event_id] = DROPPED


def _records(args: argparse.Namespace, store: SqliteLabelEventStore) -> list[QuestionRecord]:
    settings = settings_of(args)
    path = (with_case_folder(settings) if settings.catalogue.folder else settings).taxonomy.path
    if not path:
        raise SettingsError("no taxonomy is named. Set taxonomy.path: whether answers agree is a matter of it.")
    return list(question_records(store.events(), load_taxonomy(Path(path))).values())


def _list_questions(args: argparse.Namespace, store: SqliteLabelEventStore) -> int:
    if not are_settings_named(args):
        raise SettingsError("no settings are named. Pass --config FILE: whether answers agree is a matter of its taxonomy.")
    for record in _records(args, store)[-args.limit :]:
        about = asdict(record) | {"expected_agreement": round(record.expected_agreement, 4), "state": record.state}
        if args.json:
            write(_json(about))
            continue
        said = f"{record.kind} {record.node_id}".strip()
        votes = f"{record.agreed} agree, {record.contradicted} contradict"
        write("\t".join(map(one_line, [record.question, said, f"{record.members} products", votes, record.state])))
    return 0


def _states(events: Sequence[LabelEvent]) -> dict[str, str]:
    """Returns what became of each of a product's events: stands, retracted, superseded, or retraction."""
    retracted = {event.retracts for event in events if event.kind == RETRACT}
    standing = {event.event_id for event in standing_events(events).values()}

    def state(event: LabelEvent) -> str:
        if event.kind == RETRACT:
            return "retraction"
        if event.event_id in retracted:
            return "retracted"
        return "stands" if event.event_id in standing else "superseded"

    return {event.event_id: state(event) for event in events}


def _line(event: LabelEvent, state: str) -> str:
    moment = datetime.fromtimestamp(event.answered_at_ms / 1000, timezone.utc)
    target = event.retracts if event.kind == RETRACT else event.node_id
    cells = [moment.strftime("%Y-%m-%dT%H:%M:%SZ"), event.event_id, event.labeller, event.product_id, event.kind, target, state]
    cells += [event.question] if event.question else []
    return "\t".join(map(one_line, cells))  # An id may hold anything, a tab or a terminal's commands too.


def _retract(args: argparse.Namespace, path: Path) -> int:
    if bool(args.event_id) == bool(args.question):
        raise SettingsError("aisle labels retract takes back one event or one question. Pass EVENT_ID, or --question ID.")
    if not 1 <= len(args.labeller) <= MAX_TEXT_LENGTH:
        raise SettingsError(f"--labeller has {len(args.labeller):,} characters, expected 1 to {MAX_TEXT_LENGTH:,}. Name who takes it back.")
    if args.question:
        return _retract_question(args, path)
    with SqliteLabelEventStore(path, create=False) as store:
        target = store.get(args.event_id)
        if target is None:
            raise LabelError(f"{path}: there is no event {args.event_id!r} to retract. See aisle labels list for the ids.")
        retraction = _retraction(target, args.labeller, uuid.uuid4().hex, time.time_ns() // 1_000_000)
        store.append([retraction])
        standing = standing_events(store.events_of(target.product_id)).get(target.product_id)
    now = f"{standing.kind} {standing.node_id}".strip() if standing else "nothing"
    if args.json:
        write(_json({"event_id": retraction.event_id, "retracts": target.event_id, "product_id": target.product_id, "stands": now}))
    else:
        write(f"retracted {target.event_id} by {retraction.event_id}; product {target.product_id} now stands at: {now}")
    return 0


def _retract_question(args: argparse.Namespace, path: Path) -> int:
    with SqliteLabelEventStore(path, create=False) as store:
        events = store.events_of_question(args.question)
        if not events:
            raise LabelError(f"{path}: there is no answer to a question {args.question!r}. See aisle labels list --questions for the ids.")
        gone = {event.retracts for event in events if event.kind == RETRACT}
        targets = [event for event in events if event.kind != RETRACT and event.event_id not in gone]
        now_ms = time.time_ns() // 1_000_000
        store.append([_retraction(target, args.labeller, uuid.uuid4().hex, now_ms) for target in targets])
    if args.json:
        write(_json({"question": args.question, "retracted": len(targets)}))
    elif targets:
        write(f"retracted the answer to {args.question}: {len(targets)} products")
    else:
        write(f"nothing was left to retract: every answer to {args.question} was taken back before")
    return 0


def _retraction(target: LabelEvent, labeller: str, event_id: str, now_ms: int) -> LabelEvent:
    return LabelEvent(
        event_id,
        now_ms,
        labeller,
        target.product_id,
        RETRACT,
        retracts=target.event_id,
        group=target.group,
        source=target.source,
        question=target.question,
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_TEXTS = {"product": "--product", "question": "--question", "event_id": "EVENT_ID", "labeller": "--labeller"}
_ACTIONS = {"import": _import, "export": _export, "list": _list, "retract": _retract}
