"""Writes the table of all settings for people: `python -m pipeline.settings_table > docs/settings.md`."""

from __future__ import annotations

import dataclasses
import json
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.settings import Settings

_HEAD = """\
# Settings

Every setting, from `schemas/settings.py`; written by `python -m pipeline.settings_table`. A configuration is YAML
with these sections; `--set path.to.key=value` overrides one. `aisle check` shows what is in force. `NAME` stands for a network's name,
`N` for a phase's or an encoder's number. A relative path starts at the configuration file, or with `--set` where the program was started.
`:prefix` is $AISLE_PREFIX, or the folder `var`.
"""
_KINDS = {str: "text", int: "whole number", float: "number", bool: "true, false"}


def settings_markdown() -> str:
    """Returns one table a section, with key, default, what is allowed, and meaning."""
    hints = typing.get_type_hints(Settings)
    parts = [_section(field.name, hints[field.name]) for field in dataclasses.fields(Settings)]
    return "\n".join([_HEAD, *parts])


def _section(name: str, hint: Any) -> str:
    kind, prefix = _inner(hint), _prefix(name, hint)
    lines = [f"## {name}", "", (kind.__doc__ or "").strip(), "", "| key | default | allowed | meaning |", "|---|---|---|---|"]
    lines += [f"| `{prefix}{key}` | {default} | {allowed} | {doc} |" for key, default, allowed, doc in _rows(kind)]
    return "\n".join(lines) + "\n"


def _inner(hint: Any) -> Any:
    """Returns the settings class of a section, of the values of a mapping, or of the items of a list."""
    return hint if dataclasses.is_dataclass(hint) else next(part for part in typing.get_args(hint) if dataclasses.is_dataclass(part))


def _prefix(name: str, hint: Any) -> str:
    if dataclasses.is_dataclass(hint):
        return f"{name}."
    origin = typing.get_origin(hint)
    return f"{name}.NAME." if issubclass(origin, Mapping) else f"{name}.N."


def _rows(kind: Any) -> Iterator[tuple[str, str, str, str]]:
    hints, defaults = typing.get_type_hints(kind), kind()
    for field in dataclasses.fields(kind):
        default = getattr(defaults, field.name)
        shown = "" if default == "" else f"`{default if isinstance(default, str) else json.dumps(default)}`"
        yield field.name, shown, _allowed(hints[field.name], field.metadata), _cell(field.metadata["doc"])


def _allowed(hint: Any, metadata: Mapping[str, Any]) -> str:
    low, high, choices = metadata["minimum"], metadata["maximum"], metadata["choices"]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return "list of texts"
    if origin is not None:
        return "mapping"
    word = _KINDS[hint]
    if low is not None and high is not None:
        return f"{word}, {low:,} to {high:,}"
    return f"{word}, at least {low:,}" if low is not None else word


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(settings_markdown())
