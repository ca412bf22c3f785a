"""Gathers what a run made, from the metadata store and the artifacts' own files, without TensorFlow."""

# mypy: disable-error-code="name-defined,attr-defined"
from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from ml_metadata import errors as metadata_errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.push_folder import PushFolder
from components.push_history import rolled_back_versions
from pipeline.plan import RunPlan
from pipeline.root_state import METADATA, metadata_way_out, take_back_cut_off_write
from schemas.errors import StoreError

_OUTPUT = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT, metadata_store_pb2.Event.INTERNAL_OUTPUT)
_HYPERPARAMETERS = Path("assets.extra") / "hyperparameters.json"
_DONE = (metadata_store_pb2.Execution.COMPLETE, metadata_store_pb2.Execution.CACHED)


def open_metadata(root: Path) -> metadata_store.MetadataStore:
    """Opens the metadata of the runs under `root` for reading.

    Raises:
        StoreError: nothing has run there yet, or the metadata is damaged.
    """
    path = root / METADATA
    if not path.exists():
        raise StoreError(f"{root}: nothing has run here yet. Start with aisle run, or set run.root.")
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    try:
        take_back_cut_off_write(path)
        return metadata_store.MetadataStore(config)
    except (RuntimeError, sqlite3.Error, metadata_errors.StatusError) as error:
        raise metadata_error(root, error) from None


def metadata_error(root: Path, error: Exception) -> StoreError:
    """Returns the error a person reads when the metadata of the runs can't be read."""
    problem = str(error).partition(" query:")[0].splitlines()[0]
    return StoreError(f"{root / METADATA}: the metadata of the runs can't be read: {problem}. {metadata_way_out(problem, root)}")


def latest_artifacts(root: Path, complete_with: str = "") -> dict[str, metadata_store_pb2.Artifact]:
    """Returns the artifacts of the latest run as `Stage.key`, cached ones included.

    Args:
        root: `run.root`.
        complete_with: an artifact a run must have made, such as `Sampler.batch`; a run that stopped before it is passed over.

    Raises:
        StoreError: nothing has run there yet, or no run made that artifact.
    """
    store = open_metadata(root)
    for run in sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: -context.id):
        found = _artifacts_of(store, run.id)
        if not complete_with or complete_with in found:
            return found
    what = f"no run has made {complete_with} yet" if complete_with else "nothing has run here yet"
    raise StoreError(f"{root}: {what}. Start with aisle run, or set run.root.")


def _artifacts_of(store: metadata_store.MetadataStore, run: int) -> dict[str, metadata_store_pb2.Artifact]:
    found: dict[str, metadata_store_pb2.Artifact] = {}
    for execution in sorted(store.get_executions_by_context(run), key=lambda execution: execution.id):
        if execution.last_known_state not in _DONE:
            continue
        node = next((c.name.rpartition(".")[2] for c in store.get_contexts_by_execution(execution.id) if c.type == "node"), "")
        events = [event for event in store.get_events_by_execution_ids([execution.id]) if event.type in _OUTPUT]
        keys = {event.artifact_id: event.path.steps[0].key for event in events if event.path.steps}
        for artifact in store.get_artifacts_by_id(list(keys)):
            found[f"{node}.{keys[artifact.id]}"] = artifact
    return found


def latest_folder(root: Path, name: str) -> Path:
    """Returns where the latest run that made an artifact such as `Sampler.batch` wrote it.

    Raises:
        StoreError: no run has made it, or it is gone.
    """
    folder = Path(latest_artifacts(root, name)[name].uri)
    if not folder.is_dir():
        raise StoreError(f"{folder}: the latest {name} is gone. Run again: aisle run.")
    return folder


def collect_results(root: Path, plan: RunPlan) -> dict[str, Any]:
    """Returns the results of the latest run under `root`."""
    artifacts = latest_artifacts(root)
    uri = {name: Path(artifact.uri) for name, artifact in artifacts.items()}
    metrics = _json(uri["CategoryEvaluator.evaluation"] / "metrics.json")
    quarantine = _json(uri["ProductExampleGen.quarantine"] / "summary.json")
    rules = _json(uri["LabelJoin.rule_report"] / "rule_report.json")
    batch = _json(uri["Sampler.batch"] / "manifest.json")
    index = _json(uri["IndexBuilder.index"] / "manifest.json")
    live, name = Path(plan.settings["push"]["folder"]), plan.settings["run"]["name"]
    version, not_live = _went_live(artifacts["PairPusher.pushed_model"], PushFolder(live, name))
    return {
        "exclusive": metrics["exclusive"],
        "rule_based": metrics["rule_based"],
        "by_depth": metrics["by_depth"],
        "acceptance": metrics.get("acceptance"),
        "audit": metrics.get("audit"),
        "baseline": metrics.get("baseline"),
        "blessed": metrics["blessed"],
        "reasons": metrics["reasons"],
        "version": version,
        "not_live": not_live,
        "products": {key: quarantine[key] for key in ("rows", "refused", "duplicates", "groups", "by_split") if key in quarantine},
        "labels": {**rules["labels"], "rules": {"products": rules["covered"], "coverage": rules["coverage"]}},
        "learnt_from": {"now": _num_answers(uri["Trainer.model"] / "Format-Serving"), "live": _num_answers(Path(plan.baseline_uri or "."))},
        "families": compared_families(uri["Trainer.model"] / "Format-Serving"),
        "batch": batch,
        "index": {key: index[key] for key in ("kind", "num_products", "dimension", "recall")},
        "paths": {
            "root": str(root),
            "report": str(uri["CategoryEvaluator.evaluation"] / "report.html"),
            "tfma": str(uri["CategoryEvaluator.evaluation"] / "tfma.html"),
            "metrics": str(uri["CategoryEvaluator.evaluation"] / "metrics.json"),
            "model": str(live / "models" / name / str(version)) if version else str(uri["Trainer.model"] / "Format-Serving"),
            "index": str(live / "indexes" / name / str(version)) if version else str(uri["IndexBuilder.index"]),
            "batch": str(uri["Sampler.batch"]),
            "quarantine": str(uri["ProductExampleGen.quarantine"] / "quarantine.jsonl"),
            "rule_report": str(uri["LabelJoin.rule_report"] / "rule_report.json"),
        },
    }


def _went_live(pushed: metadata_store_pb2.Artifact, place: PushFolder) -> tuple[int, str]:
    """Returns the version a run pushed if that is live now, or 0 and why not.

    A stage from the cache says what was pushed once; somebody may have gone back from it since.
    """
    said = {name: value.string_value for name, value in pushed.custom_properties.items()}
    version, live = int(said.get("pushed_version") or 0), place.pointed()
    if live and version == live.version:
        return version, ""
    if version in rolled_back_versions(place.changes()):
        return 0, f"version {version} was rolled back; make it live again with aisle rollback --to {version}"
    if version:
        return 0, f"version {version} was pushed, and {f'version {live.version}' if live else 'nothing'} is live"
    return 0, said.get("reason", "")


def _num_answers(model: Path) -> int | None:
    """Returns how many answers of people a model learnt from; None where there is no model that says so."""
    path = model / _HYPERPARAMETERS
    return int(_json(path)["fit"]["num_answers"]) if path.exists() else None


def compared_families(model: Path) -> dict[str, Any] | None:
    """Returns which family won on held-out answers and every one's scores; None where none were compared."""
    found: dict[str, Any] = _json(model / _HYPERPARAMETERS).get("comparison") or {}
    return found if found.get("num_judged") else None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
