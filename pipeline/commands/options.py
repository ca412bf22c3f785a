"""The options that verbs share: --config, --set and --json."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from schemas.settings import Settings
from schemas.settings_loader import load_settings


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds --config and --set."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override one setting, as in sampling.batch_size=100"
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """Returns the settings that the options name.

    Raises:
        SettingsError: they can't be used.
    """
    return load_settings(args.config, args.overrides)


def write_line(text: str = "") -> None:
    """Writes one line of result."""
    sys.stdout.write(text + "\n")
