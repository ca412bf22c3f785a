"""Asks TFX's metadata what was made from what, by which stage of which run; reads nothing but the metadata store."""

# mypy: disable-error-code="name-defined,attr-defined"
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from schemas.errors import StoreError

_EVENT, _EXECUTION = metadata_store_pb2.Event, metadata_store_pb2.Execution
_INPUTS = (_EVENT.INPUT, _EVENT.DECLARED_INPUT, _EVENT.INTERNAL_INPUT)
_OUTPUTS = (_EVENT.OUTPUT, _EVENT.DECLARED_OUTPUT, _EVENT.INTERNAL_OUTPUT)
RAN, CACHED, FAILED, INTERRUPTED, RUNNING = "ran", "cached", "failed", "interrupted", "running"
_STATES = {_EXECUTION.COMPLETE: RAN, _EXECUTION.CACHED: CACHED, _EXECUTION.FAILED: FAILED, _EXECUTION.RUNNING: RUNNING}
DONE = (RAN, CACHED)
_RUN, _NODE = "pipeline_run", "node"


@dataclass(frozen=True)
class Stage:
    """One execution of a stage.

    Attributes:
        number: its id in the store.
        node: the stage's name in the pipeline.
        run: id of the run it belongs to.
        state: `ran`, `cached`, `failed`, `interrupted` or `running`.
        started_ms, ended_ms: since 1970.
        parameters: what it was told.
    """

    number: int
    node: str
    run: str
    state: str
    started_ms: int
    ended_ms: int
    parameters: Mapping[str, Any]

    @property
    def code(self) -> str:
        """Digest of the stage's own code; empty for a stage of TFX, which has none."""
        if self.parameters.get("code"):
            return str(self.parameters["code"])
        try:
            return str(json.loads(self.parameters.get("custom_config") or "{}").get("code", ""))
        except (ValueError, AttributeError):
            return ""


@dataclass(frozen=True)
class Artifact:
    """One artifact.

    Attributes:
        number: its id in the store.
        kind: its type's name, such as `Model` or `components.RuleSnapshot`.
        name: `Stage.key`, such as `Trainer.model`; empty where its maker isn't known.
        uri: its folder.
        stage: number of the execution that made it; 0 where that isn't known.
        properties: content digests, counts and the like.
    """

    number: int
    kind: str
    name: str
    uri: str
    stage: int
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """Artifacts and the stages that made them, both in the order in which they were made."""

    stages: Sequence[Stage]
    artifacts: Sequence[Artifact]

    def of_kind(self, kind: str) -> list[Artifact]:
        """Returns the artifacts of a type, the name without its package, oldest first."""
        return [artifact for artifact in self.artifacts if artifact.kind.rpartition(".")[2] == kind]

    def stage(self, number: int) -> Stage | None:
        """Returns a stage by its number."""
        return next((stage for stage in self.stages if stage.number == number), None)


class Lineage:
    """Questions about a metadata store.

    Args:
        store: opened for reading.
    """

    def __init__(self, store: metadata_store.MetadataStore) -> None:
        self._store = store
        self._places: dict[int, tuple[str, str]] = {}

    def runs(self) -> list[str]:
        """Returns the ids of all runs, oldest first."""
        contexts = self._store.get_contexts_by_type(_RUN)
        return [context.name for context in sorted(contexts, key=lambda context: context.id)]

    def run(self, run: str) -> Graph:
        """Returns everything a run did, and what it made or took from the cache.

        Raises:
            StoreError: there is no such run.
        """
        context = self._store.get_context_by_type_and_name(_RUN, run)
        if context is None:
            raise StoreError(f"there is no run {run!r} here. See them with aisle runs.")
        executions = self._store.get_executions_by_context(context.id)
        return self._graph([execution.id for execution in executions], run)

    def pushed(self, version: int) -> list[Artifact]:
        """Returns the artifacts by which runs said that they pushed a version, oldest first; the first one's run made it."""
        found = [artifact for artifact in self._store.get_artifacts_by_type("PushedModel") if _properties(artifact).get("pushed")]
        return self._named([artifact for artifact in found if str(_properties(artifact).get("pushed_version")) == str(version)])

    def ancestors(self, artifacts: Iterable[int]) -> Graph:
        """Returns the stages that artifacts come from, and all that those stages made."""
        front, executions = set(artifacts), set[int]()
        seen: set[int] = set()
        while front:
            seen |= front
            made = set(self._makers(front).values()) - executions
            executions |= made
            front = {event.artifact_id for event in self._events(made) if event.type in _INPUTS} - seen
        return self._graph(sorted(executions))

    def descendants(self, artifacts: Iterable[int]) -> Graph:
        """Returns the stages that used artifacts, and all that they and those after them made."""
        front, executions = set(artifacts), set[int]()
        seen: set[int] = set()
        while front:
            seen |= front
            found = self._store.get_events_by_artifact_ids(list(front))
            used = {event.execution_id for event in found if event.type in _INPUTS} - executions
            executions |= used
            front = {event.artifact_id for event in self._events(used) if event.type in _OUTPUTS} - seen
        return self._graph(sorted(executions))

    def model_of(self, pushed: Artifact) -> Artifact | None:
        """Returns the model that a `PushedModel` is a copy of."""
        inputs = [event for event in self._events([pushed.stage]) if event.type in _INPUTS and _key(event) == "model"]
        found = self._named(self._store.get_artifacts_by_id([event.artifact_id for event in inputs]))
        return found[0] if found else None

    def run_of(self, stage: int) -> str:
        """Returns the id of the run that a stage belongs to; empty where the store doesn't say."""
        return self._place(stage)[0]

    def judged_against(self, version: int) -> list[str]:
        """Returns the ids of the runs whose candidate was judged against a version, oldest first."""
        copies = [row.id for row in self._store.get_artifacts_by_type("Model") if _properties(row).get("version") == version]
        return sorted({stage.run for stage in self.descendants(copies).stages})

    def _events(self, executions: Iterable[int]) -> list[metadata_store_pb2.Event]:
        wanted = list(executions)
        return list(self._store.get_events_by_execution_ids(wanted)) if wanted else []

    def _makers(self, artifacts: Iterable[int]) -> dict[int, int]:
        """Returns the execution that made each artifact: the first one, because the cache names it again as its own output."""
        wanted = list(artifacts)
        makers: dict[int, int] = {}
        for event in self._store.get_events_by_artifact_ids(wanted) if wanted else []:
            if event.type in _OUTPUTS:
                makers[event.artifact_id] = min(event.execution_id, makers.get(event.artifact_id, event.execution_id))
        return makers

    def _graph(self, executions: Sequence[int], run: str = "") -> Graph:
        if not executions:
            return Graph([], [])
        rows = sorted(self._store.get_executions_by_id(executions), key=lambda row: row.id)
        stages = [self._stage(row, run or self.run_of(row.id)) for row in rows]
        done = {stage.number for stage in stages if stage.state in DONE}
        outputs = [event for event in self._events(done) if event.type in _OUTPUTS]
        return Graph(stages, self._named(self._store.get_artifacts_by_id([event.artifact_id for event in outputs])))

    def _named(self, rows: Iterable[metadata_store_pb2.Artifact]) -> list[Artifact]:
        unique = {row.id: row for row in rows}
        if not unique:
            return []
        makers = self._makers(unique)
        keys = {event.artifact_id: _key(event) for event in self._events(set(makers.values())) if event.type in _OUTPUTS}
        found = []
        for number, row in sorted(unique.items()):
            stage = makers.get(number, 0)
            name = f"{self._node(stage)}.{keys.get(number, '')}" if stage else ""
            found.append(Artifact(number, row.type, name, row.uri, stage, _properties(row)))
        return found

    def _stage(self, row: metadata_store_pb2.Execution, run: str) -> Stage:
        state = _STATES.get(row.last_known_state, INTERRUPTED)
        times = row.create_time_since_epoch, row.last_update_time_since_epoch
        return Stage(row.id, self._node(row.id), run, state, *times, _properties(row))

    def _node(self, execution: int) -> str:
        return self._place(execution)[1]

    def _place(self, execution: int) -> tuple[str, str]:
        """Returns run and node of an execution; asked for one by one, because a store has many more than are shown."""
        if execution not in self._places:
            names = {context.type: context.name for context in self._store.get_contexts_by_execution(execution)}
            self._places[execution] = names.get(_RUN, ""), names.get(_NODE, "").rpartition(".")[2]
        return self._places[execution]


def _key(event: metadata_store_pb2.Event) -> str:
    return event.path.steps[0].key if event.path.steps else ""


def _properties(row: Any) -> dict[str, Any]:
    """Returns the properties of a row of the store as plain values; those that are messages are left out."""
    found = {}
    for values in (row.properties, row.custom_properties):
        for name, value in values.items():
            kind = value.WhichOneof("value")
            if kind in ("int_value", "double_value", "string_value", "bool_value"):
                found[name] = getattr(value, kind)
    return found
