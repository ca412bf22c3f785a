"""Turns what stages write into artifacts that the Kubeflow Pipelines interface renders: metrics, pages, tables."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS, HTML, MARKDOWN = "system.Metrics", "system.HTML", "system.Markdown"
_ITEMS_SHOWN = 100
_MAX_CELL = 120


@dataclass(frozen=True)
class Rendered:
    """What the interface is given.

    Attributes:
        metadata: numbers and texts that are shown as they are.
        content: bytes of the file at the artifact's URI; None for no file.
    """

    metadata: Mapping[str, Any]
    content: bytes | None = None


@dataclass(frozen=True)
class InterfaceArtifact:
    """An artifact beside those a stage writes.

    Attributes:
        kind: the type the interface knows.
        render: makes it from the stage's output folders, by key.
    """

    kind: str
    render: Callable[[Mapping[str, Path]], Rendered]


def ingest_metrics(outputs: Mapping[str, Path]) -> Rendered:
    """Returns how many rows were read and refused."""
    return _metrics(_read(outputs["quarantine"] / "summary.json"), ("rows", "refused", "duplicates", "groups"))


def rule_metrics(outputs: Mapping[str, Path]) -> Rendered:
    """Returns what rules and answers cover."""
    report = _read(outputs["rule_report"] / "rule_report.json")
    return _metrics({**report, "answers_joined": report["labels"]["joined"]}, ("products", "covered", "coverage", "answers_joined"))


def score_metrics(outputs: Mapping[str, Path]) -> Rendered:
    """Returns the scores of the exclusive head over all judged products, and whether the model was blessed."""
    metrics = _read(outputs["evaluation"] / "metrics.json")
    scores = {**metrics["exclusive"], "judged": metrics["products"]["judged"], "blessed": int(metrics["blessed"])}
    return _metrics(scores, tuple(scores))


def report_page(outputs: Mapping[str, Path]) -> Rendered:
    """Returns the evaluation's report."""
    return Rendered({}, (outputs["evaluation"] / "report.html").read_bytes())


def index_metrics(outputs: Mapping[str, Path]) -> Rendered:
    """Returns the index' size and its measured recall."""
    return _metrics(_read(outputs["index"] / "manifest.json"), ("num_products", "dimension", "recall"))


def batch_table(outputs: Mapping[str, Path]) -> Rendered:
    """Returns the labelling batch as a table, the first items of a long one."""
    manifest = _read(outputs["batch"] / "manifest.json")
    with (outputs["batch"] / "batch.jsonl").open(encoding="utf-8") as file:
        items = [json.loads(line) for line in itertools.islice(file, _ITEMS_SHOWN)]
    text = "\n".join(_table(manifest, items)) + "\n"
    return Rendered({"batch_id": manifest["batch_id"], "num_items": manifest["num_items"]}, text.encode())


# By stage, then by the key of the output. A key must not be one of the stage's own.
INTERFACE_ARTIFACTS: Mapping[str, Mapping[str, InterfaceArtifact]] = {
    "ProductExampleGen": {"ingest_metrics": InterfaceArtifact(METRICS, ingest_metrics)},
    "LabelJoin": {"rule_metrics": InterfaceArtifact(METRICS, rule_metrics)},
    "CategoryEvaluator": {
        "score_metrics": InterfaceArtifact(METRICS, score_metrics),
        "report_page": InterfaceArtifact(HTML, report_page),
    },
    "IndexBuilder": {"index_metrics": InterfaceArtifact(METRICS, index_metrics)},
    "Sampler": {"batch_table": InterfaceArtifact(MARKDOWN, batch_table)},
}
BY_KEY: Mapping[str, InterfaceArtifact] = {key: found for stage in INTERFACE_ARTIFACTS.values() for key, found in stage.items()}


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _metrics(values: Mapping[str, Any], names: tuple[str, ...]) -> Rendered:
    """Keeps numbers alone, finite ones: the metadata of Kubeflow knows no others."""
    numbers = {name: values[name] for name in names if isinstance(values.get(name), (int, float)) and math.isfinite(values[name])}
    return Rendered(numbers)


def _table(manifest: Mapping[str, Any], items: list[dict[str, Any]]) -> Iterator[str]:
    yield f"# Labelling batch {_cell(manifest['batch_id'])}"
    yield ""
    yield f"{manifest['num_items']} products, strategy {_cell(manifest['strategy'])}, seed {manifest['seed']}."
    yield ""
    yield "| product | title | score | reason | first suggestion |"
    yield "|---|---|---|---|---|"
    for item in items:
        suggestion = item["suggestions"][0]["path"] if item["suggestions"] else ""
        score = f"{item['score']:.4f}" if isinstance(item["score"], (int, float)) else ""
        cells = (_cell(item["product_id"]), _cell(item.get("title")), score, _cell(item["reason"]), _cell(suggestion))
        yield f"| {' | '.join(cells)} |"
    if manifest["num_items"] > len(items):
        yield ""
        yield f"The first {len(items)} of {manifest['num_items']}."


def _cell(value: object) -> str:
    """Returns a feed's text so that it can be neither markup nor another cell."""
    text = " ".join(str(value if value is not None else "").split())
    text = text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 3]}..."
    for letter in "\\`*_{}[]()#+!|~-":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
