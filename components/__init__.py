"""The stages of a run. Artifact types are exposed here lazily, because their names are import paths in containers."""

import importlib
from typing import Any

_ARTIFACTS = {
    "EncodingReport", "LabelSnapshot", "NeighbourLists", "Quarantine", "RuleReport", "RuleSnapshot", "SamplingBatch",
    "ScoredPool", "SimilarityIndex", "TaxonomySnapshot", "WideEvaluation",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _ARTIFACTS:
        return getattr(importlib.import_module("components.artifacts"), name)
    raise AttributeError(f"module 'components' has no attribute {name!r}")
