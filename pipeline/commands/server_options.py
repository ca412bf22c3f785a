"""Makes options of a server's section of the settings, and lays the options that are given over it."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from schemas.settings import ServingSettings, SimilarSettings

_MAX_DIGITS = 18
Section = TypeVar("Section", ServingSettings, SimilarSettings)


def add_options(parser: argparse.ArgumentParser, section: type[Section], metavars: Mapping[str, str]) -> None:
    """Adds an option for every setting of a section, spelt with - or with _ between words.

    Args:
        parser: of the verb.
        section: class of the settings; range, default and meaning come from there.
        metavars: setting to what its value is called in the help.
    """
    hints, defaults = typing.get_type_hints(section), section()
    for field in dataclasses.fields(section):
        words = field.name.replace("_", "-")
        spellings = [f"--{words}"] + [f"--{field.name}"] * ("_" in field.name)
        parser.add_argument(
            *spellings,
            dest=field.name,
            default=None,
            help=_help(field.metadata["doc"], getattr(defaults, field.name)),
            **_kind(hints[field.name], field.metadata, metavars.get(field.name, words.upper())),
        )


def laid_over(section: Section, args: argparse.Namespace) -> Section:
    """Returns the settings of a section, with the options that were given in place of them."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(section):
        value = getattr(args, field.name)
        if value is not None:
            given[field.name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(section, **given)


def _help(doc: str, default: Any) -> str:
    shown = str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else str(default)
    first, *rest = doc.rstrip(".").replace("%", "%%").split(" ")
    meaning = " ".join([first.lower() if first.istitle() else first, *rest])
    return meaning if default in ("", ()) else f"{meaning} (default {shown})"


def _kind(hint: Any, metadata: Mapping[str, Any], metavar: str) -> dict[str, Any]:
    if metadata["choices"]:
        return {"choices": metadata["choices"]}
    if hint is bool:
        return {"type": _flag, "nargs": "?", "const": True, "metavar": "BOOL"}
    if hint in (int, float):
        return {"type": _number(hint, metadata["minimum"], metadata["maximum"]), "metavar": metavar}
    return {"action": "append", "metavar": metavar} if typing.get_origin(hint) is tuple else {"metavar": metavar}


def _number(kind: type, low: float, high: float) -> Callable[[str], Any]:
    wanted = f"a {'whole number' if kind is int else 'number'} from {low:,} to {high:,}"

    def number(text: str) -> Any:
        try:
            found = kind(text) if len(text) <= _MAX_DIGITS and "_" not in text and text == text.strip() else None
        except ValueError:
            found = None
        if found is None or not low <= found <= high:
            raise argparse.ArgumentTypeError(f"{text[:20]!r} isn't {wanted}")
        return found

    return number


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} isn't true or false")
    return text == "true"
