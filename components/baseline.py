"""Makes the live model an artifact the Evaluator can compare with, in a way open-source Kubeflow also runs."""

import logging
import posixpath

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import Model
from tfx.utils import io_utils, path_utils

from schemas.errors import ModelError

log = logging.getLogger(__name__)


@component
def BaselineModel(
    baseline: OutputArtifact[Model], baseline_uri: Parameter[str], version: Parameter[int] = 0, code: Parameter[str] = ""
) -> None:
    """Copies the live SavedModel, so that the artifact stays whole when a newer version goes live."""
    del code  # In the cache key only.
    if not fileio.exists(posixpath.join(baseline_uri, "saved_model.pb")):
        raise ModelError(f"{baseline_uri}: there is no SavedModel. Live version {version} is gone; restore it or remove live.json.")
    io_utils.copy_dir(baseline_uri, path_utils.serving_model_dir(baseline.uri))
    baseline.set_int_custom_property("version", int(version))
    log.info("baseline version=%d uri=%s", version, baseline_uri)
