"""Shows what a version comes from and what was made from it: the verb `aisle lineage`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.commands.asked import asked, moment, score, short, tree
from pipeline.commands.options import add_settings, settings_of, write_line
from pipeline.version_comparison import flat
from pipeline.version_origins import find_target, origins
from schemas.settings import Settings
from schemas.settings_loader import flat_settings

EPILOG = """examples:
  aisle lineage live --config demo/aisle.yaml
  aisle lineage 1790000000 --config demo/aisle.yaml --json | jq .rules.sha256
  aisle lineage 2026-05-01T12:00 --config demo/aisle.yaml

WHAT is live, a version, or a run's id or its beginning (see aisle runs). The answer comes from the metadata of the runs, so it is
there even where an artifact's folder was removed; what is gone is said. --json has all settings and files."""
_SHOWN_CHARS = 70


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("what", metavar="WHAT", help="live, a version, or a run")
    add_settings(parser)
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Shows the lineage and returns the exit code.

    Raises:
        StoreError: nothing is known by that name, or the metadata can't be read.
        PushError: the history of what was live can't be read.
    """
    with asked(settings_of(args)) as where:
        found = origins(where.lineage, where.root, where.place, find_target(where.lineage, where.place, args.what))
    if args.json:
        write_line(json.dumps(found, ensure_ascii=False))
        return 0
    write_line(_title(found))
    branches = [
        ("made from", list(_inputs(found))),
        ("settings that differ from the defaults", list(_settings(found["settings"]))),
        ("by stages", [_stage(stage, found["run"]) for stage in found["stages"]]),
        ("judged", [_judged(row) for row in found["metrics"]]),
        ("made from it", list(_made(found))),
        ("live", [_change(change) for change in found["history"]]),
        ("notes", found["notes"]),
    ]
    for line in tree(branches):
        write_line(line)
    return 0


def _title(found: Mapping[str, Any]) -> str:
    state = "live" if found["is_live"] else "rolled back" if found["is_rolled_back"] else "not live"
    run = f"run {found['run']}" if found["run"] else "a run that isn't known any more"
    return f"version {found['version']} ({state}), made by {run}" if found["version"] else f"{run}, which pushed no version"


def _inputs(found: Mapping[str, Any]) -> Iterator[str]:
    data = found["data"]
    if data:
        files = sum(len(feed["files"]) for feed in data["feeds"])
        rows = f"{data['rows']:,} rows, {data['refused']:,} refused, " if "rows" in data else ""
        yield f"feeds     {rows}{files} files of {len(data['feeds'])} networks, sha256 {short(data['sha256'])}"
        if data.get("quarantine"):
            yield f"refused   {_place(data['quarantine'])}"
    for name, count, noun in (
        ("taxonomy", "num_nodes", "nodes"),
        ("rules", "num_rules", "rules"),
        ("labels", "num_events", "label events"),
    ):
        row = found[name]
        if row:
            newest = f", newest {moment(row['newest_ms'])}" if row.get("newest_ms") else ""
            yield f"{name:9s} {row.get(count, 0):,} {noun}{newest}, sha256 {short(row.get('sha256', ''))}  {_place(row)}"
    if found["answers"] is not None:
        yield f"answers   {found['answers']:,} that the model learnt from"
    if found["settings_file"]:
        yield f"settings  {found['settings_file']}"


def _place(row: Mapping[str, Any]) -> str:
    return row["folder"] if row["is_there"] else f"{row['folder']} (removed)"


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    defaults = dict(flat_settings(Settings()))
    for key, value in flat(settings):
        default = defaults.get(key)
        same = list(default) == list(value) if isinstance(default, tuple) and isinstance(value, list) else default == value
        if not same and not key.startswith("networks.") and value not in ({}, []):
            yield f"{key} = {_short_text(value)}"


def _short_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _stage(stage: Mapping[str, Any], run: str) -> str:
    where = "" if stage["run"] == run else f"  in run {stage['run']}"
    state = "" if stage["state"] == "ran" else f"  {stage['state']}"
    return f"{stage['node']:20s} code {stage['code'] or 'of TFX':16s} {stage['seconds']:7.1f} s{state}{where}"


def _judged(row: Mapping[str, Any]) -> str:
    scores = f"accuracy {score(row['accuracy'])}, hierarchical F1 {score(row['hierarchical_f1'])}, macro F1 {score(row['macro_f1'])}"
    said = "" if row["blessed"] is None else ", blessed" if row["blessed"] else f", not blessed: {'; '.join(row['reasons'])}"
    products = f" on {row['judged']:,} products" if row["judged"] is not None else ""
    return f"run {row['run']}: {scores}{products}{said}  {_place(row)}"


def _made(found: Mapping[str, Any]) -> Iterator[str]:
    rows: Sequence[Mapping[str, Any]] = found["made"]
    for row in rows:
        facts = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("name", "run", "folder", "is_there"))
        where = "" if row["run"] == found["run"] else f"  in run {row['run']}"
        yield f"{row['name']:30s} {facts + '  ' if facts else ''}{_place(row)}{where}"
    if found["judged_against_it"]:
        yield f"judged against it: runs {', '.join(found['judged_against_it'])}"


def _change(change: Mapping[str, Any]) -> str:
    by = f" by {change['by']}" if change.get("by") else ""
    reason = f": {change['reason']}" if change.get("reason") else ""
    before = f", before it {change['before']}" if change.get("before") else ""
    return f"{moment(change['at_ms'])} {change['event']} version {change['version']}{before}{by}{reason}"
