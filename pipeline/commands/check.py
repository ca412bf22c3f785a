"""Shows every setting in force and checks every input, and writes nothing: the verb `aisle check`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.commands.options import add_settings, settings_of, write_line, write_note
from pipeline.input_checks import CheckReport, check_inputs
from schemas.errors import SettingsError
from schemas.settings import EncoderSettings, NetworkSettings, PhaseSettings, Settings
from schemas.settings_loader import flat_settings, setting_places

EPILOG = """examples:
  aisle check --config demo/aisle.yaml
  aisle check --config configs/case.yaml --set catalogue.folder=CATALOGUE --json

A * marks a setting that differs from its default, and says where it comes from. Of each feed the first rows are read, the
other inputs in full. Nothing is written. Exit codes: 0 a run can start, 1 an input can't be used, 2 wrong settings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--json", action="store_true", help="write one JSON object")


def run(args: argparse.Namespace) -> int:
    """Shows and checks everything, and returns the exit code; errors go to standard error, one line each.

    Raises:
        SettingsError: the settings can't be read at all.
    """
    settings = settings_of(args)
    rows = list(settings_in_force(settings, setting_places(args.config, args.overrides)))
    report = check_inputs(settings)
    if args.json:
        write_line(json.dumps(_as_json(rows, report), ensure_ascii=False))
    else:
        for line in _lines(rows, report):
            write_line(line)
    for error in report.errors:
        write_note(f"error: {error}")
    return max((error.exit_code for error in report.errors), default=0)


def settings_in_force(settings: Settings, places: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yields each setting with `key`, `value`, `default`, whether it is `changed`, and where it is set (`place`)."""
    defaults = dict(flat_settings(Settings()))
    repeated = {"networks": NetworkSettings(), "phases": PhaseSettings(), "encoders": EncoderSettings()}
    inside = {section: dict(flat_settings(item)) for section, item in repeated.items()}
    for key, value in flat_settings(settings):
        section, _, rest = key.partition(".")
        inner = rest.rpartition(".")[2]
        default = inside.get(section, {}).get(inner, defaults.get(key))
        given = [place for name, place in places.items() if name == key or name.startswith(f"{key}.") or key.startswith(f"{name}.")]
        # A template is the default until somebody writes another one, whatever it was filled with.
        changed = value != default and (bool(given) or not (isinstance(default, str) and ":" in default))
        yield {"key": key, "value": value, "default": default, "changed": changed, "place": given[-1] if given else ""}


def _lines(rows: list[dict[str, Any]], report: CheckReport) -> Iterator[str]:
    width = max(len(row["key"]) for row in rows)
    yield "settings"
    for row in rows:
        note = f"   ({row['place']}; default {_shown(row['default'])})" if row["changed"] else ""
        yield f"{'*' if row['changed'] else ' '} {row['key']:{width}}  {_shown(row['value'])}{note}".rstrip()
    yield ""
    yield "inputs"
    for found in report.findings:
        yield f"  {found.name:9} {found.text}"
        if found.hint:
            yield f"  {'':9} look: {found.hint}"


def _shown(value: Any) -> str:
    if value == "" or value is None:
        return "-"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _as_json(rows: list[dict[str, Any]], report: CheckReport) -> dict[str, Any]:
    return {
        "ok": not report.errors,
        "settings": {row["key"]: row["value"] for row in rows},
        "changed": {row["key"]: {"default": row["default"], "place": row["place"]} for row in rows if row["changed"]},
        "inputs": [{"name": found.name, **found.counts, **({"hint": found.hint} if found.hint else {})} for found in report.findings],
        "errors": [{"message": str(error), "settings": isinstance(error, SettingsError)} for error in report.errors],
    }
