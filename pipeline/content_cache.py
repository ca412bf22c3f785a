"""Finds a stage's earlier result by the content of its inputs, in place of TFX's cache, which goes by their ids."""

# mypy: disable-error-code="name-defined,attr-defined"
from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import tensorflow as tf
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx import version as tfx_version
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.types.artifact import Artifact
from tfx.types.standard_artifacts import PushedModel

from components.folder_digest import folder_sha256
from components.pair_pusher import NOT_PUSHED_REASON
from pipeline.code_version import STAGES, stage_code

CONTENT, STAT = "content_sha256", "content_stat"
# What says where an artifact came from, not what it is: two runs differ here though every byte of theirs is the same.
_PROVENANCE = frozenset({
    CONTENT, STAT, "tfx_version", "is_external", "name", "input_fingerprint", "pushed_destination",
    "current_model", "current_model_id", "baseline_model", "baseline_model_id",
})  # fmt: skip
_LIBRARIES = f"tfx {tfx_version.__version__} tensorflow {tf.__version__} beam {beam.__version__}"
_DESTINATION = "pushed_destination"

log = logging.getLogger(__name__)


def get_cache_context(
    metadata_handle: metadata.Metadata,
    pipeline_node: Any,
    pipeline_info: Any,
    executor_spec: Any = None,
    input_artifacts: Mapping[str, Sequence[Artifact]] | None = None,
    output_artifacts: Mapping[str, Sequence[Artifact]] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> metadata_store_pb2.Context:
    """Returns the context that holds all executions of a stage with the same inputs, settings and code.

    Stands in for TFX's function of the same name. Inputs count by their content and properties, so that a stage above
    which ran again and made the same bytes changes nothing here.
    """
    digest = _Digest()
    digest.add("libraries", _LIBRARIES.encode())
    digest.add("pipeline", pipeline_info.SerializeToString(deterministic=True))
    digest.add("node", pipeline_node.node_info.SerializeToString(deterministic=True))
    name = pipeline_node.node_info.id
    digest.add("code", stage_code(name).encode() if name in STAGES else b"")
    digest.add("executor", executor_spec.SerializeToString(deterministic=True) if executor_spec else b"")
    for key, artifacts in sorted((input_artifacts or {}).items()):
        for artifact in artifacts:
            digest.add(f"input {key}", _identity(metadata_handle.store, artifact.mlmd_artifact).encode())
    for key, artifacts in sorted((output_artifacts or {}).items()):
        digest.add(f"output {key}", ",".join(artifact.type_name for artifact in artifacts).encode())
    for key, value in sorted((parameters or {}).items()):
        digest.add(f"parameter {key}", str(value).encode())
    return context_lib.register_context_if_not_exists(
        metadata_handle=metadata_handle, context_type_name=context_lib.CONTEXT_TYPE_EXECUTION_CACHE, context_name=digest.hexdigest()
    )


def get_cached_outputs(metadata_handle: metadata.Metadata, cache_context: metadata_store_pb2.Context) -> dict[str, list[Artifact]] | None:
    """Returns what the newest of the executions made whose outputs are all still there and whole; None: it must run.

    Stands in for TFX's function of the same name.
    """
    executions = metadata_handle.store.get_executions_by_context(cache_context.id)
    done = [execution for execution in executions if execution_lib.is_execution_successful(execution)]
    checked: dict[str, bool] = {}
    for execution in execution_lib.sort_executions_newest_to_oldest(done):
        outputs = execution_lib.get_output_artifacts(metadata_handle, execution.id)
        artifacts = [artifact.mlmd_artifact for found in outputs.values() for artifact in found]
        for artifact in artifacts:
            if artifact.uri not in checked:
                checked[artifact.uri] = is_whole(artifact)
        if all(checked[artifact.uri] for artifact in artifacts):
            return {key: list(found) for key, found in outputs.items()}
    return None


def is_whole(artifact: metadata_store_pb2.Artifact) -> bool:
    """Returns whether an artifact is published and its folder holds what it held when it was made.

    Names, sizes and times of its files are compared; only where a time differs is the content digested again. A push
    counts only while the version it made is where it was put, and a push that was refused is tried again.
    """
    folder = Path(artifact.uri)
    if artifact.state != metadata_store_pb2.Artifact.LIVE or not folder.exists() or _is_outdated_push(artifact):
        return False
    content = artifact.custom_properties[CONTENT].string_value if CONTENT in artifact.custom_properties else ""
    if not content:
        return True  # Made by a release that kept no digest.
    if artifact.custom_properties[STAT].string_value == _stat_sha256(folder) or folder_sha256(folder) == content:
        return True
    log.warning("content_cache damaged=%s type=%s", folder, artifact.type)
    return False


def add_digests(artifacts: Iterable[metadata_store_pb2.Artifact]) -> None:
    """Notes the digest of each artifact's folder in its properties, before it is published; a folder is read once."""
    known: dict[str, tuple[str, str]] = {}
    for artifact in artifacts:
        if artifact.uri not in known:
            known[artifact.uri] = folder_sha256(Path(artifact.uri)), _stat_sha256(Path(artifact.uri))
        content, stat = known[artifact.uri]
        artifact.custom_properties[CONTENT].string_value = content
        artifact.custom_properties[STAT].string_value = stat


def _is_outdated_push(artifact: metadata_store_pb2.Artifact) -> bool:
    """Returns whether a push would go another way today: its version was taken away, or it was refused for the moment."""
    if artifact.type != PushedModel.TYPE_NAME:
        return False
    place = artifact.custom_properties[_DESTINATION].string_value if _DESTINATION in artifact.custom_properties else ""
    return NOT_PUSHED_REASON in artifact.custom_properties or (bool(place) and not Path(place).is_dir())


def _identity(store: metadata_store.MetadataStore, artifact: metadata_store_pb2.Artifact) -> str:
    """Returns a digest of what an artifact is: its type, content and properties, but not its id, place or provenance."""
    if CONTENT not in artifact.custom_properties:
        add_digests([artifact])
        store.put_artifacts([artifact])
    digest = _Digest()
    digest.add("type", (artifact.type or str(artifact.type_id)).encode())
    digest.add(CONTENT, artifact.custom_properties[CONTENT].string_value.encode())
    for kind, properties in (("property", artifact.properties), ("custom property", artifact.custom_properties)):
        for key in sorted(set(properties) - _PROVENANCE):
            digest.add(f"{kind} {key}", properties[key].SerializeToString(deterministic=True))
    return digest.hexdigest()


def _stat_sha256(folder: Path) -> str:
    """Returns a digest of names, sizes and times of all files below a folder, which is quicker than of their content."""
    digest = _Digest()
    for path, name in _files(folder):
        found = path.stat()
        digest.add(name, f"{found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(found for found in folder.rglob("*") if found.is_file()):
        yield path, path.relative_to(folder).as_posix()


class _Digest:
    """A SHA-256 of named values, each with its length, so that no two lists of values run into each other."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, name: str, value: bytes) -> None:
        self._sha256.update(f"{name}:{len(value)}:".encode() + value)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()
