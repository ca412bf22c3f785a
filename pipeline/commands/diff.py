"""Shows how two versions differ: settings, data, scores by depth, products that changed: the verb `aisle diff`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.commands.asked import asked, moment, score, short
from pipeline.commands.batch import aligned
from pipeline.commands.options import add_settings, settings_of, write_line
from pipeline.version_comparison import KINDS, compare
from pipeline.version_origins import SCORES, find_target, origins

EPILOG = """examples:
  aisle diff 1790000000 live --config demo/aisle.yaml
  aisle diff 1790000000 1790090000 --config demo/aisle.yaml --examples 10 --json

Each side is live, a version, or a run's id or its beginning. Products are compared where both were judged on them with the same
answer: gained became right, lost became wrong, changed is wrong in another way."""
_EXAMPLES = 3
_SHOWN_IDS = 8
_SHOWN_CHARS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("before", metavar="BEFORE", help="live, a version, or a run")
    parser.add_argument("after", metavar="AFTER", help="live, a version, or a run")
    add_settings(parser)
    parser.add_argument(
        "--examples", type=_count, default=_EXAMPLES, metavar="N", help=f"products shown of each kind in each part (default {_EXAMPLES})"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} isn't a whole number from 0")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Shows the differences and returns the exit code.

    Raises:
        StoreError: nothing is known by one of the names, or the metadata can't be read.
        PushError: the history of what was live can't be read.
    """
    with asked(settings_of(args)) as where:
        targets = [find_target(where.lineage, where.place, text) for text in (args.before, args.after)]
        before, after = (origins(where.lineage, where.root, where.place, target) for target in targets)
    found = compare(before, after, args.examples)
    if args.json:
        write_line(json.dumps(found, ensure_ascii=False))
        return 0
    for line in _lines(found):
        write_line(line)
    return 0


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"before  {_side(found['before'])}"
    yield f"after   {_side(found['after'])}"
    yield ""
    yield "settings" if found["settings"] else "settings  the same"
    yield from (f"  {key}: {_short_text(old)} -> {_short_text(new)}" for key, (old, new) in found["settings"].items())
    if found["code"]:
        yield f"code      of {', '.join(found['code'])}"
    changed = {name: values for name, values in found["data"].items() if values}
    yield "data" if changed else "data      the same"
    for name, values in changed.items():
        yield from (f"  {line}" for line in _input(name, values))
    yield ""
    if found["scores"]:
        yield from aligned([("judged on test", "products", *SCORES), *(_scores(name, row) for name, row in found["scores"].items())])
        yield ""
    if found["products"]:
        yield from _products(found["products"])
    yield from (f"note: {note}" for note in found["notes"])


def _side(side: Mapping[str, Any]) -> str:
    version = f"version {side['version']}" if side["version"] else "no version"
    return f"{version}, run {side['run']}" if side["run"] else version


def _input(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key, pair in values.items():
        if key in ("added", "removed", "changed"):
            if pair:
                more = f" and {len(pair) - _SHOWN_IDS:,} more" if len(pair) > _SHOWN_IDS else ""
                yield f"{name}: {len(pair):,} {key}: {', '.join(pair[:_SHOWN_IDS])}{more}"
        else:
            yield f"{name} {key}: {_value(key, pair[0])} -> {_value(key, pair[1])}"


def _value(key: str, value: Any) -> str:
    if value is None:
        return "-"
    return short(value) if key == "sha256" else moment(value) if key == "newest_ms" else f"{value:,}"


def _short_text(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def _scores(name: str, row: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    judged = " -> ".join("-" if count is None else f"{count:,}" for count in dict.fromkeys(row["judged"]))
    return (name, judged, *(_delta(*row[key]) for key in SCORES))


def _delta(before: Any, after: Any) -> str:
    change = f" {after - before:+.4f}" if isinstance(before, (int, float)) and isinstance(after, (int, float)) else ""
    return f"{score(before)} -> {score(after)}{change}"


def _products(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"of {found['compared']:,} products judged in both: {found['gained']:,} gained, {found['lost']:,} lost, "
        f"{found['changed']:,} changed from wrong to wrong"
    )
    left = [("only_before", "judged only before"), ("only_after", "judged only after"), ("answer_changed", "with another answer now")]
    yield from (f"  not compared: {found[key]:,} {text}" for key, text in left if found[key])
    for root, row in found["by_root"].items():
        yield f"  {root}: +{row['gained']:,} -{row['lost']:,} ~{row['changed']:,}"
        for kind in KINDS:
            for example in row["examples"][kind]:
                title = _short_text(example["title"])
                yield f"    {kind:8s} {example['id']}  {title}"
                yield f"             answer {example['answer']}; before {example['before']}; after {example['after']}"
