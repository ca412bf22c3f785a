"""Reads compiled pipelines: name, parameters, the version their content has, and which tasks Kubeflow may take from its cache."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import SubmissionError

MAX_BYTES = 32 << 20  # What the API takes.
SCHEMA_VERSION = "2.1.0"
_MAX_DEPTH = 200
_WAY_OUT = "Write it with aisle compile."


@dataclass(frozen=True)
class Parameter:
    """A parameter of a pipeline.

    Attributes:
        kind: such as `STRING` or `NUMBER_INTEGER`.
        required: whether every run must give it.
    """

    kind: str
    required: bool


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        name: of the pipeline.
        version: named by the content: the same bytes have the same version.
        text: YAML.
        parameters: by name.
    """

    name: str
    version: str
    text: str
    parameters: Mapping[str, Parameter]


def read_package(path: Path) -> Package:
    """Reads a compiled pipeline from a file.

    Raises:
        SubmissionError: it can't be read, or isn't one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SubmissionError(f"{path}: can't be read: {error.strerror}. {_WAY_OUT}") from None
    if len(content) > MAX_BYTES:
        raise SubmissionError(f"{path}: is over {MAX_BYTES >> 20} MB, more than Kubeflow Pipelines takes. {_WAY_OUT}")
    try:
        return package_of(content.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{path}: byte {error.start} isn't UTF-8. {_WAY_OUT}") from None


def package_of(text: str, where: str) -> Package:
    """Returns the compiled pipeline that a text is.

    Args:
        text: YAML, the pipeline first and what its platform needs after it.
        where: for messages.

    Raises:
        SubmissionError: it isn't one, or has another schema.
    """
    spec = _first_document(text, where)
    version = spec.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise SubmissionError(f"{where}: schemaVersion is {version!r}, expected {SCHEMA_VERSION!r}. {_WAY_OUT}")
    name = _inner(spec, "pipelineInfo").get("name")
    if not isinstance(name, str) or not name:
        raise SubmissionError(f"{where}: pipelineInfo.name is {name!r}, expected the pipeline's name. {_WAY_OUT}")
    if not _inner(_inner(_inner(spec, "root"), "dag"), "tasks") or not _inner(_inner(spec, "deploymentSpec"), "executors"):
        raise SubmissionError(f"{where}: there are no tasks in root.dag, or no executors in deploymentSpec. {_WAY_OUT}")
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return Package(name, f"sha256-{digest[:16]}", text, dict(_parameters(spec)))


def reading_anew(package: Package, names: Collection[str]) -> Package:
    """Returns a pipeline whose tasks that are told one of these parameters are never taken from Kubeflow's cache.

    A recurring run tells each of its runs the same: Kubeflow Pipelines 2 doesn't reliably fill in the time in a parameter. From its
    cache it would then take yesterday's inputs for today's. What reads those tasks' outputs runs again by itself.

    Args:
        package: the pipeline; it stays as it is.
        names: of parameters.
    """
    documents = [document for document in yaml.load_all(package.text, Loader=yaml.CSafeLoader) if document]
    told = [task for task in _inner(_inner(_inner(documents[0], "root"), "dag"), "tasks").values() if _told(task) & set(names)]
    for task in told:
        task["cachingOptions"] = {"enableCache": False}
    if not told:
        return package
    text = yaml.dump_all(documents, Dumper=yaml.CSafeDumper, sort_keys=True, allow_unicode=True, width=120)
    return package_of(text, package.name)


def _told(task: Mapping[str, Any]) -> set[str]:
    given = _inner(_inner(task, "inputs"), "parameters").values()
    return {str(source["componentInputParameter"]) for source in given if isinstance(source, dict) and "componentInputParameter" in source}


def _first_document(text: str, where: str) -> Mapping[str, Any]:
    try:
        _check_depth(text, where)
        spec = next(iter(yaml.load_all(text, Loader=yaml.CSafeLoader)), None)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        place = f":{error.problem_mark.line + 1}" if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark else ""
        raise SubmissionError(f"{where}{place}: this isn't YAML. {_WAY_OUT}") from None
    if not isinstance(spec, dict):
        raise SubmissionError(f"{where}: found {type(spec).__name__}, expected a mapping with a pipeline specification. {_WAY_OUT}")
    return spec


def _check_depth(text: str, where: str) -> None:
    """Refuses what is nested too deep: the C loader calls itself for each level, and a full stack ends the process."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise SubmissionError(f"{where}:{line}: is nested over {_MAX_DEPTH} levels deep. {_WAY_OUT}")


def _parameters(spec: Mapping[str, Any]) -> Iterator[tuple[str, Parameter]]:
    for name, row in _inner(_inner(_inner(spec, "root"), "inputDefinitions"), "parameters").items():
        definition = row if isinstance(row, dict) else {}
        required = not definition.get("isOptional") and "defaultValue" not in definition
        yield str(name), Parameter(str(definition.get("parameterType", "STRING")), required)


def _inner(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = row.get(key)
    return found if isinstance(found, dict) else {}
