"""Says what an artifact of the live model holds: a SavedModel, or the note that nothing is live yet."""

from __future__ import annotations

from pathlib import Path

from tfx.types.artifact import Artifact
from tfx.utils import path_utils

NOTHING_LIVE = "NOTHING_LIVE"
VERSION = "version"


def baseline_folder(baseline: Artifact | None) -> Path | None:
    """Returns the folder of the SavedModel; None where there is no artifact, or nothing was live when it was made."""
    if baseline is None or (Path(baseline.uri) / NOTHING_LIVE).exists():
        return None
    return Path(path_utils.serving_model_path(baseline.uri))


def baseline_version(baseline: Artifact | None) -> int:
    """Returns the version that was live; 0 for none."""
    return 0 if baseline_folder(baseline) is None or baseline is None else int(baseline.get_int_custom_property(VERSION))


def write_nothing_live(baseline: Artifact) -> None:
    """Writes down that nothing is live, so that an empty artifact is never taken for it."""
    folder = Path(baseline.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTHING_LIVE).write_text("", encoding="utf-8")
    baseline.set_int_custom_property(VERSION, 0)
