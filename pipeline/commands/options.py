"""What the options of verbs share: --config and --set, numbers, files to write, and lines of output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

from schemas.errors import SettingsError
from schemas.settings import Settings
from schemas.settings_loader import load_settings

MAX_SEED = 2**31 - 1
_MOST = 999_999_999_999_999  # Versions are seconds; nothing is more.


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds --config and --set."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override one setting, as in sampling.batch_size=100; may be repeated",
    )


def settings_parent() -> argparse.ArgumentParser:
    """Returns a parser with --config and --set for the subcommands of a verb, as one of their parents."""
    parent = argparse.ArgumentParser(add_help=False)
    add_settings(parent)
    return parent


def are_settings_named(args: argparse.Namespace) -> bool:
    """Returns whether --config or --set is there."""
    return bool(getattr(args, "config", None) or getattr(args, "overrides", None))


def settings_of(args: argparse.Namespace) -> Settings:
    """Returns the settings that the options name.

    Raises:
        SettingsError: they can't be used.
    """
    return load_settings(args.config, args.overrides)


def refuse_overwriting(outputs: Mapping[str, str | Path | None], inputs: Mapping[str, str | Path | None]) -> None:
    """Refuses to write over a file that is read, or to write one file twice; a missing path and `-` are nobody's.

    Args:
        outputs: what will be written, by option.
        inputs: what is read, by option.

    Raises:
        SettingsError: two of them are one file.
    """
    written, read = ([(name, Path(path)) for name, path in paths.items() if path and str(path) != "-"] for paths in (outputs, inputs))
    for (name, path), (other_name, other) in [*((out, source) for out in written for source in read), *combinations(written, 2)]:
        if path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other)):
            raise SettingsError(f"{name} {path}: this is the file of {other_name}, and would be written over. Name another file.")


def positive(text: str) -> int:
    """Reads a whole number above 0, for argparse."""
    if not text.isdecimal() or (len(text) < len(str(_MOST)) and int(text) < 1):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number above 0")
    if len(text) > len(str(_MOST)) or int(text) > _MOST:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is more than {_MOST:,}")
    return int(text)


def up_to(most: int) -> Callable[[str], int]:
    """Returns what reads a whole number from 0 to `most`, for argparse."""

    def whole(text: str) -> int:
        if not text.isdecimal() or len(text) > len(str(most)) or int(text) > most:
            raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number from 0 to {most:,}")
        return int(text)

    return whole


def share(text: str) -> float:
    """Reads a share from 0 to 1, for argparse."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0.0 <= found <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a share from 0 to 1")
    return found


def write_line(text: str = "") -> None:
    """Writes one line of result."""
    sys.stdout.write(text + "\n")


def write_note(text: str) -> None:
    """Writes one line that isn't a result, such as progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
