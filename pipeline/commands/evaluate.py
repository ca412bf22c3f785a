"""Shows the scores of the latest run, or judges another model on the same products: the verb `aisle evaluate`."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.commands.options import add_settings, positive, settings_of, write_line, write_note
from pipeline.inputs import read_taxonomy, resolved
from pipeline.results import latest_artifacts, latest_folder
from pipeline.summary import score_table
from schemas.errors import EvaluationError, ModelError
from schemas.product import TEST
from schemas.settings import Settings

EPILOG = """examples:
  aisle evaluate --config demo/aisle.yaml
  aisle evaluate --config demo/aisle.yaml --json | jq .exclusive.accuracy
  aisle evaluate --config demo/aisle.yaml --model var/demo/serving/models/demo/1790000000

Without --model nothing is computed: the scores are those the latest run wrote. With it, that SavedModel is judged on the
test split of the latest run, its answers as they were then; nothing is written."""
_WORST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="SavedModel to judge instead")
    parser.add_argument("--worst", type=positive, default=_WORST, metavar="N", help=f"nodes named that cost most (default {_WORST})")
    parser.add_argument("--json", action="store_true", help="write the whole of metrics.json")


def run(args: argparse.Namespace) -> int:
    """Shows the scores and returns the exit code.

    Raises:
        StoreError: nothing has run yet.
        EvaluationError: the run's scores are gone or can't be read.
        ModelError: the folder holds no model that can be judged.
    """
    settings = resolved(settings_of(args))
    metrics, place = _judged(settings, args.model) if args.model else _latest(settings)
    if args.json:
        write_line(json.dumps(metrics, ensure_ascii=False))
        return 0
    for line in _lines(metrics, place, args.worst):
        write_line(line)
    return 0


def _latest(settings: Settings) -> tuple[dict[str, Any], str]:
    folder = latest_folder(Path(settings.run.root), "CategoryEvaluator.evaluation")
    path = folder / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")), str(folder / "report.html")
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: this can't be read: {error}. Run again with --set run.cache=false.") from None


def _judged(settings: Settings, model: Path) -> tuple[dict[str, Any], str]:
    # TensorFlow takes seconds to load, so all that can be wrong without it comes before.
    if not (model / "saved_model.pb").is_file():
        raise ModelError(f"{model}: there is no saved_model.pb, so this isn't a SavedModel. Name the folder that holds it.")
    artifacts = latest_artifacts(Path(settings.run.root), "LabelJoin.labelled_examples")
    split = Path(artifacts["LabelJoin.labelled_examples"].uri) / f"Split-{TEST}"
    if not split.is_dir():
        raise EvaluationError(f"{split}: the latest run's examples are gone. Run again with --set run.cache=false.")
    taxonomy = read_taxonomy(settings)
    write_note("loading the model and judging it ...")
    importlib.import_module("pipeline.quiet")
    judge = importlib.import_module("components.evaluation.evaluate")
    return judge.evaluate(split, model, None, taxonomy, settings.scoring.block_products), str(model)


def _lines(metrics: Mapping[str, Any], place: str, worst: int) -> Iterator[str]:
    yield from score_table(metrics)
    yield ""
    if "blessed" in metrics:
        yield "blessed    yes" if metrics["blessed"] else "blessed    no: " + "; ".join(metrics["reasons"])
    exclusive = metrics["exclusive"]
    yield f"further    top 5 {_number(exclusive['top_5'])}, tree distance {_number(exclusive['tree_distance'])}, " + (
        f"calibration error {_number(exclusive['calibration_error'])}"
    )
    ranked = sorted(metrics["by_node"].items(), key=lambda item: -item[1]["loss"])
    for _, row in [item for item in ranked[:worst] if item[1]["loss"]]:
        yield f"costs      F1 {_number(row['f1'])}, {row['judged']:,} products  {row['path']}"
    yield from (f"note       {note}" for note in metrics["notes"])
    yield f"{'report' if place.endswith('.html') else 'model':10s} {place}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
