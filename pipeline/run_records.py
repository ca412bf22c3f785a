"""Tells what each run was: when, how it ended, what it learnt from, how good it is and what it pushed; without TensorFlow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.lineage import DONE, FAILED, INTERRUPTED, RUNNING, Artifact, Graph, Lineage, Stage
from pipeline.run_lock import lock_holder
from schemas.errors import StoreError

FINISHED = "finished"
LAST_OUTPUT = "Sampler.batch"
_PLAN = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?\.plan\.json")


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        run: its id in the metadata; the moment in its log's name where it ended before its first stage.
        name: `run.name`, empty where its plan is gone.
        started: local time, as 2026-05-01 12:00:00.
        seconds: from its first stage to the end of its last one.
        state: `finished`, `failed`, `interrupted` or `running`.
        stages: how many were done, and how many of them came from the cache.
        stopped_at: the stage it failed or was interrupted in, empty where it finished.
        blessed: what the gate said; None where it didn't come to that.
        version: that it pushed, 0 for none.
        is_live: that version is live now.
        answers: of people that its model learnt from; None where unknown.
        accuracy: of the exclusive head over the judged products; None where unknown.
    """

    run: str
    name: str
    started: str
    seconds: float
    state: str
    stages: tuple[int, int]
    stopped_at: str
    blessed: bool | None
    version: int
    is_live: bool
    answers: int | None
    accuracy: float | None


def list_runs(lineage: Lineage | None, root: Path, live_version: int, limit: int) -> list[RunRecord]:
    """Returns the latest runs below a root, newest first; those that ended before their first stage, too.

    Args:
        lineage: the metadata of the runs; None where no stage has run yet.
        root: `run.root`.
        live_version: what is live now, 0 for nothing.
        limit: at most so many.
    """
    ids = lineage.runs()[-limit:] if lineage else []
    plans = Plans(root)
    records = [_record(lineage.run(run), run, plans.of(run), live_version) for run in ids] if lineage else []
    records += [_stillborn(moment, plan) for moment, plan in plans.without(lineage.runs() if lineage else [])]
    records.sort(key=lambda record: record.started, reverse=True)
    if records and records[0].state == INTERRUPTED and lock_holder(root):
        records[0] = replace(records[0], state=RUNNING)
    return records[:limit]


def _record(graph: Graph, run: str, plan: Mapping[str, Any], live_version: int) -> RunRecord:
    made = {artifact.name: artifact for artifact in graph.artifacts}
    done = [stage for stage in graph.stages if stage.state in DONE]
    stopped = next((stage for stage in graph.stages if stage.state not in DONE), None)
    version = pushed_version(made.get("PairPusher.pushed_model"))
    return RunRecord(
        run=run,
        name=str(plan.get("settings", {}).get("run", {}).get("name", "")),
        started=run[:19].replace("T", " "),
        seconds=_seconds(graph.stages),
        state=_state(LAST_OUTPUT in made, stopped),
        stages=(len(done), sum(stage.state == "cached" for stage in done)),
        stopped_at=stopped.node if stopped and LAST_OUTPUT not in made else "",
        blessed=_blessed(made.get("Evaluator.blessing")),
        version=version,
        is_live=bool(version) and version == live_version,
        answers=num_answers(made.get("Trainer.model")),
        accuracy=metrics_of(made.get("CategoryEvaluator.evaluation")).get("exclusive", {}).get("accuracy"),
    )


def _state(is_finished: bool, stopped: Stage | None) -> str:
    if is_finished:
        return FINISHED
    return FAILED if stopped and stopped.state == FAILED else INTERRUPTED


def _seconds(stages: Sequence[Stage]) -> float:
    return round((max(stage.ended_ms for stage in stages) - min(stage.started_ms for stage in stages)) / 1000, 1) if stages else 0.0


def _stillborn(moment: str, plan: Mapping[str, Any]) -> RunRecord:
    started = str(datetime.strptime(moment[:15], "%Y%m%d-%H%M%S"))
    name = str(plan.get("settings", {}).get("run", {}).get("name", ""))
    return RunRecord(moment, name, started, 0.0, INTERRUPTED, (0, 0), "", None, 0, False, None, None)


def _blessed(blessing: Artifact | None) -> bool | None:
    return bool(blessing.properties.get("blessed")) if blessing else None


def pushed_version(pushed: Artifact | None) -> int:
    """Returns the version a run pushed, 0 for none."""
    said = pushed.properties if pushed else {}
    return int(said.get("pushed_version") or 0) if said.get("pushed") else 0


def num_answers(model: Artifact | None) -> int | None:
    """Returns how many answers of people a model learnt from; None where its folder is gone or doesn't say."""
    path = Path(model.uri) / "Format-Serving" / "assets.extra" / "hyperparameters.json" if model else None
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["fit"]["num_answers"]) if path else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def metrics_of(evaluation: Artifact | None) -> dict[str, Any]:
    """Returns `metrics.json` of an evaluation; empty where it is gone or can't be read."""
    try:
        found = json.loads((Path(evaluation.uri) / "metrics.json").read_text(encoding="utf-8")) if evaluation else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class Plans:
    """The plans of the runs below a root. A run's is the last one written before its first stage: one run goes at a time.

    Args:
        root: `run.root`.
    """

    def __init__(self, root: Path) -> None:
        found = [(match, path) for path in (root / "logs").glob("*.plan.json") if (match := _PLAN.fullmatch(path.name))]
        self._plans = sorted(((match[1], int(match[2] or 0)), path) for match, path in found)

    def path_of(self, run: str) -> Path | None:
        """Returns the file of a run's plan; None where it is gone."""
        moment = run[:19].replace("-", "").replace(":", "").replace("T", "-")
        return next((path for (written, _), path in reversed(self._plans) if written <= moment), None)

    def of(self, run: str) -> dict[str, Any]:
        """Returns a run's plan; empty where it is gone or can't be read."""
        return _read(self.path_of(run))

    def without(self, runs: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
        """Returns moment and content of the plans that none of the runs, which must be all there are, went by."""
        used = {self.path_of(run) for run in runs}
        return [(path.name.removesuffix(".plan.json"), _read(path)) for _, path in self._plans if path not in used]


def _read(path: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def run_named(lineage: Lineage, text: str) -> str:
    """Returns the id of the run that a text is the beginning of.

    Raises:
        StoreError: no run's id begins so, or several do.
    """
    wanted = text.replace(" ", "T")
    found = [run for run in lineage.runs() if run.startswith(wanted)]
    if len(found) != 1:
        what = f"{len(found)} runs begin with {text!r}: {', '.join(found[:3])}" if found else f"there is no run {text!r}"
        raise StoreError(f"{what}. See them with aisle runs.")
    return found[0]
