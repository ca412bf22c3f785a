"""Copies the live model and its index into a folder of their own: the verb `aisle export`."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from components.folder_digest import folder_sha256
from components.pair_pushing import INDEXES, LIVE, MODELS, Live
from pipeline.commands.options import add_settings, settings_of, write_line
from pipeline.inputs import live_pair
from schemas.errors import NeighbourIndexError, PushError
from similarity.manifest import verify

EPILOG = """examples:
  aisle export release --config demo/aisle.yaml
  docker run -v $PWD/release/models/demo:/models/demo -e MODEL_NAME=demo tensorflow/serving

FOLDER becomes models/NAME/VERSION (TensorFlow Serving's layout), indexes/NAME/VERSION and live.json. It must be empty or not
be there; it appears at once and complete, its copies compared with the originals, or not at all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where to; must be empty or not be there")
    add_settings(parser)
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Exports the pair and returns the exit code.

    Raises:
        PushError: nothing is live, the live pair is damaged, or the folder isn't empty or can't be written.
    """
    settings = settings_of(args)
    live = live_pair(settings)
    if live is None:
        raise PushError(f"{settings.push.folder}: nothing is live here. Run until a model is blessed: aisle run.")
    export_pair(live, args.folder)
    if args.json:
        write_line(json.dumps({"name": live.name, "version": live.version, "folder": str(args.folder)}))
    else:
        write_line(f"exported version {live.version} of {live.name}, model and index, to {args.folder}")
    return 0


def export_pair(live: Live, folder: Path) -> None:
    """Copies a live pair into `folder`, which holds all of it or stays as it was.

    Raises:
        PushError: the pair is damaged, or the folder isn't empty or can't be written.
    """
    _check_empty(folder)
    model_sha256 = _checked(live.model, live.index, live.version)
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    except OSError as error:
        raise PushError(f"{folder}: can't be made: {error.strerror}. Name a folder you may write to.") from None
    try:
        _fill(live, part)
        if _checked(part / _place(MODELS, live), part / _place(INDEXES, live), live.version) != model_sha256:
            raise PushError(f"{live.model}: the model changed while it was copied. Export again.")
        part.chmod(0o755)  # Temporary folders are for their maker's eyes only.
        part.rename(folder)
    except OSError as error:
        raise PushError(f"{folder}: can't be written: {error.strerror or error}. Name an empty folder you may write to.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_empty(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise PushError(f"{folder}: this isn't a folder. Name one that is empty or isn't there.")
    if folder.is_dir() and any(folder.iterdir()):
        raise PushError(f"{folder}: this folder isn't empty, and export replaces nothing. Name one that is empty or isn't there.")


def _checked(model: Path, index: Path, version: int) -> str:
    """Returns the model's digest after comparing every file of the index with its manifest, and the index with the model."""
    try:
        manifest = verify(index, version)
    except NeighbourIndexError as error:
        raise PushError(str(error)) from None
    digest = folder_sha256(model)
    if manifest.model_sha256 and manifest.model_sha256 != digest:
        raise PushError(
            f"{model}: this isn't the model the index was built for; it was changed or damaged. Run again to push a whole pair."
        )
    return digest


def _fill(live: Live, folder: Path) -> None:
    for kind, source in ((MODELS, live.model), (INDEXES, live.index)):
        shutil.copytree(source, folder / _place(kind, live))
    row = {"name": live.name, "version": live.version, "model": str(_place(MODELS, live)), "index": str(_place(INDEXES, live))}
    (folder / LIVE).write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")


def _place(kind: str, live: Live) -> Path:
    return Path(kind) / live.name / str(live.version)
