"""Finds what is live when the run gets there, where nobody can look before: on Kubeflow."""

import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model
from tfx.utils import io_utils, path_utils

from components.baseline_artifact import VERSION, write_nothing_live
from components.pair_pushing import read_live

log = logging.getLogger(__name__)


@component
def BaselineLookup(
    baseline: OutputArtifact[Model],
    push_folder: Parameter[str],
    name: Parameter[str],
    live: Parameter[str] = "",
    code: Parameter[str] = "",
) -> None:
    """Copies the SavedModel that `live.json` names, or notes that nothing is live.

    `live`, what the one who starts the run knows of `live.json` or a value never used before, and `code` only tell the
    cache when to look again.
    """
    del live, code
    found = read_live(Path(push_folder), name)
    if found is None:
        write_nothing_live(baseline)
        log.info("baseline_lookup live=none folder=%s", push_folder)
        return
    io_utils.copy_dir(str(found.model), path_utils.serving_model_dir(baseline.uri))
    baseline.set_int_custom_property(VERSION, found.version)
    log.info("baseline_lookup version=%d", found.version)
