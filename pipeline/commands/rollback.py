"""Makes the previous pair of model and index live again, or another one that is kept: the verb `aisle rollback`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from components.pair_rollback import KeptVersion, Rollback, kept_versions, roll_back
from components.push_folder import PushFolder, who
from components.push_history import Change
from pipeline.commands.asked import moment
from pipeline.commands.batch import aligned
from pipeline.commands.options import add_settings, positive, settings_of, write_line

EPILOG = """examples:
  aisle rollback --config demo/aisle.yaml --reason "shoes went to bags"
  aisle rollback --config demo/aisle.yaml --to 1790000000 --dry-run
  aisle rollback --config demo/aisle.yaml --list

Every file of the pair is compared with its digest first, and model and index change in one step. Later versions are taken out of
use: their models move to withdrawn/, and no run brings the same model back by itself. To undo, name the newer version with --to."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--to", type=positive, metavar="VERSION", help="version to make live; default: the one before the live one")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the history")
    parser.add_argument("--dry-run", action="store_true", help="check everything and change nothing")
    parser.add_argument("--list", action="store_true", help="show the versions that are kept, and what was live when")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Goes back, or shows where to, and returns the exit code.

    Raises:
        PushError: there is nothing to go back to, the pair is damaged, or the folder can't be written.
    """
    settings = settings_of(args)
    folder, name = Path(settings.push.folder), settings.run.name
    if args.list:
        return _list(folder, name, args.json)
    done = roll_back(folder, name, time.time_ns() // 1_000_000, who(), args.to, args.reason, args.dry_run)
    if args.json:
        write_line(json.dumps({**asdict(done), "dry_run": args.dry_run}))
    else:
        write_line(_said(done, args.dry_run))
    return 0


def _said(done: Rollback, is_dry: bool) -> str:
    if not done.changed:
        return f"version {done.version} is live already; its pair is whole"
    before = f" in place of {done.before}" if done.before else ""
    if is_dry:
        return f"version {done.version} would go live{before}; its pair is whole, and nothing was changed"
    undo = f"; undo with aisle rollback --to {done.before}" if done.before else ""
    return f"version {done.version} of model and index is live{before}{undo}"


def _list(folder: Path, name: str, as_json: bool) -> int:
    versions, changes = kept_versions(folder, name), PushFolder(folder, name).changes()
    if as_json:
        rows = {"versions": [asdict(version) for version in versions], "history": [change.to_row() for change in changes]}
        write_line(json.dumps(rows, ensure_ascii=False))
        return 0
    if not versions:
        write_line("nothing was ever live here")
        return 0
    for line in aligned([("version", "pushed", "state", "run"), *map(_row, versions)]):
        write_line(line)
    write_line()
    for line in _history(changes):
        write_line(line)
    return 0


def _row(kept: KeptVersion) -> tuple[str, ...]:
    state = "live" if kept.is_live else "rolled back" if kept.is_rolled_back else "kept"
    return str(kept.version), moment(kept.pushed_at_ms), state if kept.is_whole else "removed", kept.run or "-"


def _history(changes: list[Change]) -> Iterator[str]:
    for change in changes:
        before = f", before it {change.before}" if change.before else ""
        by = f" by {change.by}" if change.by else ""
        reason = f": {change.reason}" if change.reason else ""
        yield f"{moment(change.at_ms)} {change.event} version {change.version}{before}{by}{reason}"
