"""Settings with which a round is quick: a linear model on two fields, batches of 20, and a gate that lets small losses through."""

from __future__ import annotations

from pathlib import Path

_FEATURES = """\
features:
  title: {kind: text, values: 500}
  category: {kind: categorical, values: 100, dimensions: 8}
"""


def quick_settings(folder: Path, exclusive_epochs: int = 1) -> list[str]:
    """Writes a feature config below a folder and returns the overrides that make rounds quick."""
    features = folder / "features.yaml"
    features.write_text(_FEATURES)
    return [
        "model.family=linear",
        "model.parameters={refit: false, validation_share: 0}",
        f"phases=[{{epochs: 1, rule_based: 1, exclusive: 0}}, {{epochs: {exclusive_epochs}, rule_based: 0.25, exclusive: 0.75}}]",
        "sampling.batch_size=20",
        "evaluation.max_hierarchical_f1_loss=1",
        "evaluation.max_depth_loss=1",
        f"model.features={features}",
    ]
