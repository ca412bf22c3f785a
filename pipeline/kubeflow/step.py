"""Runs one stage in its container: files in, TFX's own executor, files out; `python -m pipeline.kubeflow.step`.

Kubeflow hands a step what TFX's entry point can't work with: URIs its file layer doesn't know, and inputs without their
types. This module is what stands between the two.
"""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

import argparse
import copy
import json
import logging
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from pipeline.causes import find_cause
from pipeline.kubeflow.interface_artifacts import BY_KEY
from pipeline.kubeflow.staging import Staging, launcher_folder
from schemas.errors import ModelError

_OURS = ("components", "pipeline", "trainer_module", "similarity", "stores")
_SYSTEM = "system."

log = logging.getLogger(__name__)


def run_step(
    executor: str, executor_input: Mapping[str, Any], inputs_spec: str, more: Sequence[str], staging: Staging, scratch: Path
) -> None:
    """Runs an executor and writes its output file, as the last thing: where there is none, nothing is complete.

    Args:
        executor: dotted path of the executor's class.
        executor_input: Kubeflow's message, as plain data.
        inputs_spec: JSON of the component's inputs, with their types.
        more: arguments for Beam.
        staging: the local places of artifacts.
        scratch: an empty folder.

    Raises:
        AisleError: the stage refused its input, or an artifact can't be read or written.
    """
    asked = copy.deepcopy(dict(executor_input))
    spec = json.loads(inputs_spec or "{}")
    shown = _take_interface_artifacts(asked)
    places = _localized(asked, spec, staging)
    local_output = scratch / "step" / "executor_output.json"
    local_output.parent.mkdir(parents=True, exist_ok=True)
    output_file = asked["outputs"].get("outputFile", "")
    asked["outputs"]["outputFile"] = str(local_output)
    arguments = argparse.Namespace(
        executor_class_path=executor,
        json_serialized_invocation_args=json.dumps(asked),
        json_serialized_inputs_spec_args=inputs_spec,
    )
    kubeflow_v2_run_executor.main((arguments, list(more)))
    output = json.loads(local_output.read_text(encoding="utf-8"))
    folders = {key: Path(found["artifacts"][0]["uri"]) for key, found in asked["outputs"].get("artifacts", {}).items()}
    _render(shown, folders, staging, output)
    staging.deliver(_uris(executor_input.get("outputs", {})))
    _write_output(Path(output_file), _with_uris(output, places))


def _take_interface_artifacts(asked: dict[str, Any]) -> dict[str, Any]:
    """Removes the outputs that TFX doesn't know from a message, and returns those that are ours to make."""
    outputs = asked.setdefault("outputs", {}).setdefault("artifacts", {})
    titles = {key: found["artifacts"][0].get("type", {}).get("schemaTitle", "") for key, found in outputs.items() if found["artifacts"]}
    taken = {key: outputs.pop(key) for key, title in titles.items() if title.startswith(_SYSTEM)}
    return {key: found["artifacts"][0] for key, found in taken.items() if key in BY_KEY}


def _localized(asked: dict[str, Any], spec: Mapping[str, Any], staging: Staging) -> dict[str, str]:
    """Gives every artifact of a message its local place, and inputs their types; returns local places to URIs."""
    places: dict[str, str] = {}
    types = {key: found["artifactType"] for key, found in spec.get("artifacts", {}).items()}
    for key, artifact in _artifacts(asked.get("inputs", {})):
        if not artifact.get("type"):
            artifact["type"] = types[key]
        artifact["name"] = artifact.get("name") or artifact["uri"]  # TFX's Evaluator must find its models by name again.
        places[str(staging.fetch(artifact["uri"]))] = artifact["uri"]
        artifact["uri"] = str(staging.place(artifact["uri"]))
    for _, artifact in _artifacts(asked["outputs"]):
        place = staging.place(artifact["uri"])
        place.mkdir(parents=True, exist_ok=True)
        places[str(place)] = artifact["uri"]
        artifact["uri"] = str(place)
    return places


def _artifacts(side: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, found in side.get("artifacts", {}).items():
        for artifact in found.get("artifacts", []):
            yield key, artifact


def _uris(side: Mapping[str, Any]) -> list[str]:
    return [artifact["uri"] for _, artifact in _artifacts(side)]


def _render(shown: Mapping[str, Any], folders: Mapping[str, Path], staging: Staging, output: dict[str, Any]) -> None:
    for key, artifact in shown.items():
        rendered = BY_KEY[key].render(folders)
        if rendered.content is not None:
            place = staging.place(artifact["uri"])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(rendered.content)
        row = {"uri": artifact["uri"], "metadata": dict(rendered.metadata)}
        output.setdefault("artifacts", {})[key] = {"artifacts": [row]}


def _with_uris(value: Any, places: Mapping[str, str]) -> Any:
    """Returns a message with every local place in it, a metadata text included, replaced by its URI; the longest place first."""
    if isinstance(value, dict):
        return {key: _with_uris(inner, places) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_uris(inner, places) for inner in value]
    if isinstance(value, str):
        for place in sorted(places, key=len, reverse=True):
            if value == place or value.startswith(f"{place}/"):
                return places[place] + value[len(place) :]
    return value


def _write_output(path: Path, output: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(output), encoding="utf-8")
    partial.replace(path)


def read_message(text: str) -> dict[str, Any]:
    """Returns Kubeflow's message to a step.

    Raises:
        ModelError: it isn't one.
    """
    try:
        found = json.loads(text)
        outputs = found["outputs"]
        if not isinstance(outputs["outputFile"], str) or not isinstance(found.get("inputs", {}), dict):
            raise TypeError("outputFile must be a text and inputs an object")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{text[:60]!r}: this isn't what Kubeflow hands a step: {error}. This program is started by Kubeflow alone."
        ) from None
    return dict(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step named on the command line and returns the exit code; an error is the last line of standard error."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", default="")
    args, more = parser.parse_known_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        message = read_message(args.json_serialized_invocation_args)
        with tempfile.TemporaryDirectory(prefix="aisle-step-") as folder:
            launcher = launcher_folder(_uris(message.get("inputs", {})), _uris(message["outputs"]))
            staging = Staging(Path(folder), launcher)
            run_step(args.executor_class_path, message, args.json_serialized_inputs_spec_args, more, staging, Path(folder))
    except Exception as error:
        traceback.print_exc()
        cause = find_cause(error)
        sys.stderr.write(f"error: {cause or repr(error)}\n")
        return cause.exit_code if cause else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
