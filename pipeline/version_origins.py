"""Gathers where a version or a run comes from, and what was made from it: metadata, plan, and the artifacts that are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.push_folder import PushFolder
from components.push_history import ROLLBACK, known_versions, rolled_back_versions
from pipeline.lineage import Artifact, Graph, Lineage, Stage
from pipeline.run_records import Plans, metrics_of, num_answers, run_named
from schemas.errors import StoreError

SCORES = ("accuracy", "hierarchical_f1", "macro_f1")
_ANSWERED_AT = re.compile(rb'"answered_at_ms": ?(\d+)')
_MAX_VERSION_DIGITS = 18


@dataclass(frozen=True)
class Target:
    """What is asked about.

    Attributes:
        version: that was pushed; 0 for a run that pushed none.
        run: that made it; empty where the metadata doesn't know.
        model: that was pushed, or would have been; None where it is unknown or wasn't made.
    """

    version: int
    run: str
    model: Artifact | None


def find_target(lineage: Lineage | None, place: PushFolder, text: str) -> Target:
    """Returns what `live`, a version, a run's id or its beginning stands for.

    Args:
        lineage: None where the metadata is gone; then only what was ever live is known.
        place: where versions are pushed.
        text: what a person typed.

    Raises:
        StoreError: nothing is known by that name.
        PushError: nothing is live, or what is live can't be told.
    """
    if text == "live":
        live = place.pointed()
        if live is None:
            raise StoreError(f"{place.folder}: nothing is live here. See the runs with aisle runs.")
        return _of_version(lineage, place, live.version)
    if text.isdecimal() and len(text) <= _MAX_VERSION_DIGITS:
        return _of_version(lineage, place, int(text))
    if lineage is None:
        raise StoreError(f"there is no run {text!r}: nothing has run here yet, or its metadata was removed.")
    run = run_named(lineage, text)
    made = {artifact.name: artifact for artifact in lineage.run(run).artifacts}
    pushed = made.get("PairPusher.pushed_model")
    version = int(pushed.properties.get("pushed_version") or 0) if pushed and pushed.properties.get("pushed") else 0
    return Target(version, run, made.get("Trainer.model"))


def _of_version(lineage: Lineage | None, place: PushFolder, version: int) -> Target:
    pushed = lineage.pushed(version) if lineage else []
    if pushed and lineage:
        maker = lineage.run_of(pushed[0].stage)
        return Target(version, maker, lineage.model_of(pushed[0]))
    if version in known_versions(place.changes()):
        return Target(version, known_versions(place.changes())[version].run, None)
    raise StoreError(f"version {version} was never pushed here. See the versions with aisle rollback --list, and the runs with aisle runs.")


def origins(lineage: Lineage | None, root: Path, place: PushFolder, target: Target) -> dict[str, Any]:
    """Returns all that is known of a target, as plain data.

    Returns:
        `version`, `run`, `is_live`, `is_rolled_back`, `data`, `taxonomy`, `rules`, `labels`, `settings`, `stages` (those
        upstream, with their code), `answers`, `metrics` (one of each time the model was judged, oldest first), `made`
        (what was made from the model), `judged_against_it` (ids of later runs), `history` (when it was live and who
        changed that), `notes` (what is missing).
    """
    up, down = _around(lineage, target)
    plan_file = Plans(root).path_of(target.run) if target.run else None
    plan = Plans(root).of(target.run) if target.run else {}
    changes, live = place.changes(), place.pointed()
    found: dict[str, Any] = {
        "version": target.version,
        "run": target.run,
        "is_live": bool(target.version) and live is not None and live.version == target.version,
        "is_rolled_back": target.version in rolled_back_versions(changes),
        "data": _data(up),
        **{name: _snapshot(up, kind) for name, kind in _SNAPSHOTS.items()},
        "settings": plan.get("settings", {}),
        "settings_file": str(plan_file or ""),
        "answers": num_answers(target.model),
        "stages": [_stage(stage) for stage in up.stages],
        "metrics": [_judged(down, artifact) for artifact in down.of_kind("WideEvaluation")],
        "made": [_made(down, artifact) for artifact in down.artifacts],
        "judged_against_it": lineage.judged_against(target.version) if lineage and target.version else [],
        "history": [change.to_row() for change in changes if target.version and target.version in (change.version, _left(change))],
    }
    return {**found, "notes": list(_notes(target, up, down, plan, lineage))}


_SNAPSHOTS = {"taxonomy": "TaxonomySnapshot", "rules": "RuleSnapshot", "labels": "LabelSnapshot"}


def _left(change: Any) -> int:
    return int(change.before) if change.event == ROLLBACK else 0


def _around(lineage: Lineage | None, target: Target) -> tuple[Graph, Graph]:
    """Returns what a target's model comes from and what was made from it; without a model, what its run did."""
    if lineage is None or (target.model is None and not target.run):
        return Graph([], []), Graph([], [])
    if target.model is None:
        return lineage.run(target.run), Graph([], [])
    return lineage.ancestors([target.model.number]), lineage.descendants([target.model.number])


def _data(up: Graph) -> dict[str, Any]:
    """Returns the feeds and their rows; counts are properties, so they outlive the folder."""
    reader = next((stage for stage in up.stages if stage.node == "ProductExampleGen"), None)
    if reader is None:
        return {}
    quarantine = next(iter(up.of_kind("Quarantine")), None)
    counts = quarantine.properties if quarantine else {}
    return {
        "sha256": reader.parameters.get("fingerprint", ""),
        "feeds": [
            {"network": feed.get("network", ""), "files": feed.get("files", [])} for feed in _json_list(reader.parameters.get("feeds"))
        ],
        **{name: counts[name] for name in ("rows", "refused", "duplicates", "groups") if name in counts},
        **({"quarantine": _folder(quarantine)} if quarantine else {}),
    }


def _json_list(text: Any) -> list[dict[str, Any]]:
    try:
        found = json.loads(text or "[]")
    except (TypeError, ValueError):
        return []
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _snapshot(up: Graph, kind: str) -> dict[str, Any]:
    """Returns a frozen input: its digest, its counts, and its newest event where there are events."""
    artifact = next(iter(up.of_kind(kind)), None)
    if artifact is None:
        return {}
    counts = {name: value for name, value in artifact.properties.items() if name in ("sha256", "num_nodes", "num_rules", "num_events")}
    events = Path(artifact.uri) / "label_events.jsonl"
    newest = _newest_ms(events) if events.is_file() else None
    return {**counts, **({"newest_ms": newest} if newest else {}), **_folder(artifact)}


def _newest_ms(path: Path) -> int | None:
    with path.open("rb") as file:
        moments = (int(match[1]) for line in file if (match := _ANSWERED_AT.search(line)))
        return max(moments, default=None)


def _folder(artifact: Artifact) -> dict[str, Any]:
    return {"folder": artifact.uri, "is_there": Path(artifact.uri).exists()}


def _stage(stage: Stage) -> dict[str, Any]:
    seconds = round((stage.ended_ms - stage.started_ms) / 1000, 1)
    return {"node": stage.node, "run": stage.run, "state": stage.state, "seconds": seconds, "code": stage.code}


def _judged(down: Graph, evaluation: Artifact) -> dict[str, Any]:
    metrics, stage = metrics_of(evaluation), down.stage(evaluation.stage)
    exclusive = metrics.get("exclusive", {})
    return {
        "run": stage.run if stage else "",
        **{name: exclusive.get(name) for name in ("judged", *SCORES)},
        "blessed": metrics.get("blessed"),
        "reasons": metrics.get("reasons", []),
        **_folder(evaluation),
    }


def _made(down: Graph, artifact: Artifact) -> dict[str, Any]:
    stage = down.stage(artifact.stage)
    shown = {name: value for name, value in artifact.properties.items() if name in _SHOWN}
    return {"name": artifact.name, "run": stage.run if stage else "", **shown, **_folder(artifact)}


_SHOWN = ("blessed", "pushed", "pushed_version", "reason", "num_products", "num_items", "batch_id", "kind", "recall", "model")


def _notes(target: Target, up: Graph, down: Graph, plan: Mapping[str, Any], lineage: Lineage | None) -> Iterable[str]:
    if lineage is None or not up.stages:
        yield "The metadata of the run is gone, so its lineage is unknown beyond what the push recorded."
    elif not plan:
        yield "The run's plan is gone, so its settings are unknown."
    if target.model is None and up.stages:
        yield "The run made no model."
    gone = [artifact for artifact in (*up.artifacts, *down.artifacts) if not Path(artifact.uri).exists()]
    if gone:
        names = ", ".join(dict.fromkeys(artifact.name for artifact in gone))
        yield f"Removed since: {names}. Digests and counts are kept in the metadata."
    failed = [stage for stage in up.stages if stage.state not in ("ran", "cached")]
    for stage in failed:
        yield f"{stage.node} {stage.state} in run {stage.run}."


def snapshot_folder(described: Mapping[str, Any], name: str) -> Path | None:
    """Returns the folder of a frozen input, `taxonomy`, `rules` or `labels`; None where it is gone."""
    row: Mapping[str, Any] = described.get(name) or {}
    return Path(row["folder"]) if row.get("is_there") else None


def latest_judged(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the latest time the model was judged of which the files are still there; empty where there is none."""
    rows: Sequence[Mapping[str, Any]] = described["metrics"]
    return next((row for row in reversed(rows) if row["is_there"]), {})
