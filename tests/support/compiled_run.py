"""Executes a compiled specification's own commands, handing each what Kubeflow's driver would, in the order of its tasks.

It stands in for a cluster, which can't be had where tests run. What it does as Kubeflow does: one process a task; inputs
come without their types and under the number of their artifact; metadata grows by what a task's output file says, and that
file must hold the message and nothing else; a task whose outputs are missing fails whoever reads them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

Launch = Callable[[str, Sequence[str]], None]


def read_spec(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the specification, and what Kubernetes is told; empty for none."""
    documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    return documents[0], documents[1] if len(documents) > 1 else {}


def task_order(tasks: Mapping[str, Any]) -> list[str]:
    """Returns the tasks, each after those it needs: by its list of them, and by where its artifacts come from."""
    needed = {name: set(task.get("dependentTasks", [])) | _producers(task) for name, task in tasks.items()}
    order: list[str] = []
    while len(order) < len(tasks):
        ready = sorted(name for name, before in needed.items() if name not in order and before <= set(order))
        assert ready, f"a cycle among {set(tasks) - set(order)}"
        order += ready
    return order


def _producers(task: Mapping[str, Any]) -> set[str]:
    artifacts = task.get("inputs", {}).get("artifacts", {}).values()
    return {artifact["taskOutputArtifact"]["producerTask"] for artifact in artifacts}


class CompiledRun:
    """One run of a specification.

    Args:
        spec: its first document.
        root: pipeline root, a folder or a URI.
        parameters: values of the pipeline's parameters; each must be there.
        folder: for the tasks' output files.
        launch: runs a task's command and raises where it fails.
    """

    def __init__(self, spec: dict[str, Any], root: str, parameters: Mapping[str, str], folder: Path, launch: Launch) -> None:
        assert set(parameters) == set(spec["root"]["inputDefinitions"]["parameters"])
        self._spec, self._root, self._parameters, self._folder, self._launch = spec, root, parameters, folder, launch
        self._numbers = itertools.count(1)
        self.artifacts: dict[str, dict[str, Any]] = {}

    def run(self, only: Sequence[str] = ()) -> None:
        """Runs every task; with `only`, these again on what the others have made."""
        tasks = self._spec["root"]["dag"]["tasks"]
        for name in task_order(tasks):
            if not only or name in only:
                self._run(name, tasks[name])

    def _run(self, name: str, task: Mapping[str, Any]) -> None:
        component = self._spec["components"][task["componentRef"]["name"]]
        container = self._spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        output_file = self._folder / name / str(next(self._numbers)) / "output_metadata.json"
        asked = self._message(name, task, component, output_file)
        # As Kubeflow's own serialization does, this leaves out what is empty.
        told = json_format.MessageToJson(json_format.ParseDict(asked, pipeline_spec_pb2.ExecutorInput()))
        words = [word.replace("{{$}}", told) for word in (*container["command"], *container.get("args", []))]
        self._launch(name, words)
        text = output_file.read_text(encoding="utf-8") if output_file.exists() else "{}"
        output = json_format.MessageToDict(json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput()))
        for key, listed in asked["outputs"]["artifacts"].items():
            told = output.get("artifacts", {}).get(key, {}).get("artifacts", [{}])[0]
            artifact = listed["artifacts"][0]
            self.artifacts[f"{name}.{key}"] = {
                "name": str(next(self._numbers)),
                "uri": told.get("uri") or artifact["uri"],
                "metadata": {"display_name": key, **artifact["metadata"], **told.get("metadata", {})},
            }

    def _message(self, name: str, task: Mapping[str, Any], component: Mapping[str, Any], output_file: Path) -> dict[str, Any]:
        inputs = task.get("inputs", {})
        read = {key: _artifact_name(source) for key, source in inputs.get("artifacts", {}).items()}
        written = component.get("outputDefinitions", {}).get("artifacts", {})
        return {
            "inputs": {
                "parameterValues": {key: self._value(source) for key, source in inputs.get("parameters", {}).items()},
                "artifacts": {key: {"artifacts": [self.artifacts[found]]} for key, found in read.items()},
            },
            "outputs": {
                "artifacts": {key: {"artifacts": [self._output(name, key, found)]} for key, found in written.items()},
                "outputFile": str(output_file),
            },
        }

    def _value(self, source: Mapping[str, Any]) -> Any:
        if "componentInputParameter" in source:
            return self._parameters[source["componentInputParameter"]]
        return source["runtimeValue"]["constant"]

    def _output(self, name: str, key: str, found: Mapping[str, Any]) -> dict[str, Any]:
        uri = f"{self._root.rstrip('/')}/{name}/{next(self._numbers)}/{key}"
        return {"uri": uri, "type": found["artifactType"], "metadata": found.get("metadata", {})}


def _artifact_name(source: Mapping[str, Any]) -> str:
    produced = source["taskOutputArtifact"]
    return f"{produced['producerTask']}.{produced['outputArtifactKey']}"
