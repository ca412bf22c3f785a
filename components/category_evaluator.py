"""TFX shell: judges the model on the test split and writes what people and dashboards read."""

import json
import logging
import time
from pathlib import Path

from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation
from tfx.utils import path_utils

from components.artifacts import LabelSnapshot, Quarantine, RuleReport, TaxonomySnapshot, WideEvaluation
from components.baseline_artifact import baseline_folder
from components.evaluation.evaluate import evaluate
from components.evaluation.evaluation_files import read_optional_json, write_evaluation
from components.evaluation.judgements import JUDGEMENTS
from components.evaluation.scoring import model_taxonomy
from components.evaluation.verdict import read_validation, reasons
from components.snapshot_files import read_events
from few_shot.quality_estimate import as_json, estimate_quality, read_audit_answers
from schemas.product import TEST
from schemas.taxonomy import load_taxonomy

log = logging.getLogger(__name__)


@component
def CategoryEvaluator(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    taxonomy: InputArtifact[TaxonomySnapshot],
    labels: InputArtifact[LabelSnapshot],
    blessing: InputArtifact[ModelBlessing],
    validation: InputArtifact[ModelEvaluation],
    rule_report: InputArtifact[RuleReport],
    quarantine: InputArtifact[Quarantine],
    evaluation: OutputArtifact[WideEvaluation],
    baseline: InputArtifact[Model] = None,
    baseline_uri: Parameter[str] = "",
    block_products: Parameter[int] = 512,
    code: Parameter[str] = "",
) -> None:
    """Writes `metrics.json`, `judgements.parquet`, `report.html`, `tfma.html` and `tfma/`; `evaluation/` says how.

    Args:
        examples: labelled examples; the test split is judged.
        model: the candidate, with the signature `score_all`.
        taxonomy: the tree as it stands.
        labels: the label events, of which answers about audit products say how good live models were.
        blessing: what the gate decided.
        validation: the Evaluator's results, which say why.
        rule_report: highlights of it go into the report.
        quarantine: its summary goes into the report.
        evaluation: where everything is written.
        baseline: the model that is live, where it was looked up while the run goes.
        baseline_uri: otherwise folder of the SavedModel that is live; empty for none.
        block_products: products scored at once.
        code: digest of the code behind this stage, so that the cache never serves an older one.
    """
    started = time.monotonic()
    folder = Path(path_utils.serving_model_path(model.uri))
    split = Path(examples.uri) / f"Split-{TEST}"
    live = baseline_folder(baseline) or (Path(baseline_uri) if baseline_uri else None)
    tree, judgements = load_taxonomy(Path(taxonomy.uri) / "taxonomy.tsv"), Path(evaluation.uri) / JUDGEMENTS
    metrics = evaluate(split, folder, live, tree, int(block_products), judgements)
    result = read_validation(Path(validation.uri))
    blessed = (Path(blessing.uri) / constants.BLESSED_FILE_NAME).exists()
    audits = estimate_quality(read_audit_answers(read_events(labels.uri), tree))
    metrics |= {"audit": as_json(audits), "blessed": blessed, "reasons": [] if blessed else reasons(result)}
    write_evaluation(
        Path(evaluation.uri),
        metrics,
        model_taxonomy(folder),
        result,
        rule_report=read_optional_json(Path(rule_report.uri) / "rule_report.json"),
        quarantine=read_optional_json(Path(quarantine.uri) / "summary.json"),
        data_location=str(split),
        model_location=str(folder),
    )
    counts = json.dumps(metrics["products"], separators=(",", ":"))
    log.info("category_evaluator products=%s blessed=%s seconds=%.1f", counts, blessed, time.monotonic() - started)
