"""Writes the pipeline as a specification for Kubeflow: the verb `aisle compile`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
from pathlib import Path

from pipeline.commands.options import add_settings, refuse_overwriting, settings_of, write_line, write_note
from pipeline.kubeflow.parameters import PARAMETERS
from schemas.errors import SettingsError

EPILOG = """examples:
  aisle compile --config configs/kubeflow.yaml --image registry/aisle:0a1b2c3d4e5f --output pipeline.yaml
  aisle compile --config shop.yaml --image registry/aisle:0a1b2c3d4e5f --root s3://bucket/aisle --output pipeline.yaml

Reads the settings and the feature config, no other input: paths are those inside the containers. The same settings and code give
the same file. Give its parameters, digests of the inputs or values never used before, when a run starts."""
_SUFFIXES = (".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to write the YAML; replaced in one step")
    parser.add_argument("--image", default="", metavar="IMAGE", help="image of every stage, with a tag (default kubeflow.image)")
    parser.add_argument("--root", default="", metavar="URI", help="where artifacts go: minio://, s3:// or gs:// (default kubeflow.root)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Writes the file and returns the exit code.

    Raises:
        SettingsError: settings that can't work on a cluster, or a file that can't be written.
    """
    settings = settings_of(args)
    if args.output.suffix not in _SUFFIXES:
        raise SettingsError(f"--output {args.output}: Kubeflow takes YAML. Name a file that ends in .yaml.")
    refuse_overwriting({"--output": args.output}, {"--config": args.config})
    write_note("loading TFX ...")
    compiler = importlib.import_module("pipeline.kubeflow.compiler")
    text = compiler.compile_pipeline(settings, args.image, args.root)
    _write(args.output, text)
    if args.json:
        write_line(json.dumps({"name": settings.run.name, "file": str(args.output), "parameters": sorted(PARAMETERS)}))
    else:
        write_line(f"compiled {settings.run.name} to {args.output}, {len(text.encode()):,} bytes; parameters: {', '.join(PARAMETERS)}")
    return 0


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise SettingsError(f"--output {path}: can't be written: {error.strerror}. Name a file you may write.") from None
