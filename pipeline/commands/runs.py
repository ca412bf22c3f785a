"""Lists the runs: when, how they ended, what they learnt from, how good they are, what they pushed: the verb `aisle runs`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from pipeline.commands.asked import asked, score
from pipeline.commands.batch import aligned
from pipeline.commands.options import add_settings, positive, settings_of, write_line
from pipeline.run_records import RunRecord, list_runs

EPILOG = """examples:
  aisle runs --config demo/aisle.yaml
  aisle runs --config demo/aisle.yaml --limit 5 --json

Newest first. "stages" are those done, and how many of them came from the cache. A run that failed or was interrupted goes on
from the cache when the same command is given again. * marks the version that is live."""
_LIMIT = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--limit", type=positive, default=_LIMIT, metavar="N", help=f"runs shown (default {_LIMIT})")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Lists the runs and returns the exit code.

    Raises:
        StoreError: nothing has run there, or the metadata can't be read.
    """
    with asked(settings_of(args)) as where:
        records = list_runs(where.lineage, where.root, where.live_version, args.limit)
        live = where.live_version
    if args.json:
        write_line(json.dumps({"live": live, "runs": [asdict(record) for record in records]}, ensure_ascii=False))
        return 0
    rows = [("run", "name", "took", "state", "stages", "answers", "accuracy", "blessed", "version"), *map(_row, records)]
    for line in aligned(rows):
        write_line(line)
    write_line()
    write_line(f"live: version {live}" if live else "live: nothing yet")
    return 0


def _row(record: RunRecord) -> tuple[str, ...]:
    done, cached = record.stages
    return (
        record.run,
        record.name or "-",
        f"{record.seconds:.0f} s",
        record.state + (f" in {record.stopped_at}" if record.stopped_at else ""),
        f"{done} ({cached} cached)",
        "-" if record.answers is None else f"{record.answers:,}",
        score(record.accuracy),
        "-" if record.blessed is None else "yes" if record.blessed else "no",
        f"{record.version}{' *' if record.is_live else ''}" if record.version else "-",
    )
