"""TFX's Evaluator, which judges alone a model that nothing is live to compare with."""

from __future__ import annotations

from typing import Any

from tfx.components import Evaluator
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.dsl.components.base import executor_spec
from tfx.types import artifact_utils, standard_component_specs

from components.baseline_artifact import baseline_folder

_BASELINE = standard_component_specs.BASELINE_MODEL_KEY


class Executor(tfx_evaluator.Executor):
    """TFX's executor, which drops thresholds on change by itself where it is given no baseline."""

    def Do(self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]) -> None:
        """Runs the stage, without the baseline where its artifact says that nothing is live."""
        if input_dict.get(_BASELINE) and baseline_folder(artifact_utils.get_single_instance(input_dict[_BASELINE])) is None:
            input_dict = {name: found for name, found in input_dict.items() if name != _BASELINE}
        super().Do(input_dict, output_dict, exec_properties)


class ModelGate(Evaluator):
    """Writes TFX's evaluation and the blessing; everything a run says is that of TFX's Evaluator."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
