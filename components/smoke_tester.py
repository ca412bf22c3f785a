"""The TFX shell that lets no model go live which a fresh process can't load and call; smoke_testing.py says how."""

import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import path_utils

from components.pool_scoring import split_files
from components.smoke_testing import smoke_test_in_fresh_process
from schemas.product import SPLITS

log = logging.getLogger(__name__)


@component
def SmokeTester(
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    blessing: OutputArtifact[InfraBlessing],
    products: Parameter[int] = 8,
    code: Parameter[str] = "",
) -> None:
    """Writes INFRA_BLESSED, or INFRA_NOT_BLESSED with the problems in it, as TFX's InfraValidator would."""
    del code  # In the cache key only.
    folder = Path(path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model)))
    files = [path for split in SPLITS for path in split_files(Path(examples.uri), split)]
    report = smoke_test_in_fresh_process(folder, files, int(products))
    out = Path(blessing.uri)
    out.mkdir(parents=True, exist_ok=True)
    (out / ("INFRA_BLESSED" if report.passed else "INFRA_NOT_BLESSED")).write_text("\n".join(report.problems), encoding="utf-8")
    blessing.set_int_custom_property("blessed", int(report.passed))
    blessing.set_string_custom_property("reasons", "; ".join(report.problems))
    level = logging.INFO if report.passed else logging.WARNING
    log.log(level, "smoke_tester passed=%s products=%d seconds=%.1f", report.passed, report.products, report.seconds)
    for problem in report.problems:
        log.warning("smoke_tester problem=%r", problem)
