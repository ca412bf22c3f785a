"""Writes a demo catalogue to try everything on: the verb `aisle demo-catalogue`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from pipeline.commands.options import MAX_SEED, up_to
from pipeline.demo.catalogue import CONFIGURATION, DEFAULT_PRODUCTS, write_demo_catalogue

EPILOG = """examples:
  aisle demo-catalogue var/demo
  aisle demo-catalogue var/small --products 500 --seed 7
  aisle run --config var/demo/aisle.yaml

Feeds of three networks, pictures, a category tree, rules, the truth and the first answers; no network is needed.
The same seed gives the same files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments to its parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("folder", metavar="DIR", help="folder to write to, empty or new")
    parser.add_argument(
        "--products", type=int, default=DEFAULT_PRODUCTS, metavar="N", help=f"products, broken rows included (default {DEFAULT_PRODUCTS})"
    )
    parser.add_argument("--seed", type=up_to(MAX_SEED), default=0, help="of every random choice (default 0)")
    parser.add_argument("--force", action="store_true", help="replace the demo catalogue that is in the folder")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Writes the catalogue and returns the exit code; the summary goes to standard output.

    Raises:
        CatalogueError: the folder isn't empty or can't be written, or the number of products is out of range.
    """
    folder = Path(args.folder)
    summary = write_demo_catalogue(folder, num_products=args.products, seed=args.seed, force=args.force, progress=_show_progress)
    if args.json:
        sys.stdout.write(json.dumps({**asdict(summary), "folder": str(folder), "config": str(folder / CONFIGURATION)}) + "\n")
        return 0
    sys.stdout.write(
        f"{summary.products:,} products of {summary.articles:,} articles from {summary.shops} shops in {summary.feeds} feeds, "
        f"{summary.titleless} of them without a title, {summary.broken} broken rows, {summary.twice} ids sent twice\n"
        f"{summary.nodes} nodes to depth {summary.depth}, {summary.rules} rules, {summary.pictures:,} pictures\n"
        f"{summary.dev:,} dev and {summary.test:,} test products, {summary.events:,} answers to start with\n"
        f"next: aisle run --config {folder / CONFIGURATION}\n"
    )
    return 0


def _show_progress(step: str) -> None:
    sys.stderr.write(f"demo-catalogue: {step} ...\n")
