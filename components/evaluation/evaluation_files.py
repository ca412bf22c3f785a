"""Writes and reads the files of a `WideEvaluation`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_model_analysis.proto import validation_result_pb2

from components.evaluation.report import write_report
from components.evaluation.tfma_files import write_tfma_files, write_tfma_page
from schemas.errors import EvaluationError
from schemas.taxonomy import Taxonomy

METRICS, REPORT, TFMA_PAGE, TFMA_FOLDER = "metrics.json", "report.html", "tfma.html", "tfma"


def write_evaluation(
    folder: Path,
    metrics: Mapping[str, Any],
    taxonomy: Taxonomy,
    validation: validation_result_pb2.ValidationResult | None,
    rule_report: Mapping[str, Any] | None = None,
    quarantine: Mapping[str, Any] | None = None,
    data_location: str = "",
    model_location: str = "",
) -> None:
    """Writes `metrics.json`, `report.html`, `tfma.html` and `tfma/` into `folder`.

    Args:
        folder: made when missing.
        metrics: as `evaluate.evaluate` returns it, with `blessed` and `reasons`.
        taxonomy: the tree the metrics are in the numbers of.
        validation: the gate's result, copied into TFMA's files.
        rule_report: content of `rule_report.json`.
        quarantine: content of the quarantine's `summary.json`.
        data_location: of the examples, for dashboards.
        model_location: of the model, for dashboards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metrics, ensure_ascii=False, allow_nan=False, indent=1)
    (folder / METRICS).write_text(text + "\n", encoding="utf-8")
    write_tfma_files(folder / TFMA_FOLDER, metrics, taxonomy, validation, data_location, model_location)
    write_tfma_page(folder / TFMA_PAGE, folder / TFMA_FOLDER)
    paths = {node.id: taxonomy.path(node.id) for node in taxonomy}
    write_report(folder / REPORT, metrics, rule_report, quarantine, TFMA_PAGE, paths)


def read_optional_json(path: Path) -> dict[str, Any] | None:
    """Returns a JSON object, or None where the file isn't there.

    Raises:
        EvaluationError: the file isn't a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise EvaluationError(f"{path}:{error.lineno}: this isn't JSON: {error.msg}. Run the stage that wrote it again.") from None
    if not isinstance(content, dict):
        raise EvaluationError(f"{path}: found a {type(content).__name__}, expected a JSON object. Run the stage that wrote it again.")
    return content
