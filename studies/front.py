"""Runs the real pipeline up to its Trainer, without any answer, and freezes what it made; found again by content in seconds."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.case_folder import case_events
from pipeline.code_version import ROOT, STAGES, code_files
from pipeline.commands.run import run_in_child
from pipeline.plan import RunPlan, plan_run
from pipeline.progress import Progress
from pipeline.root_state import check_metadata
from pipeline.run_lock import run_lock
from schemas.errors import AisleError, CatalogueError
from schemas.settings import Settings
from schemas.settings_loader import load_settings
from studies.frozen_catalogue import is_frozen

LAST_STAGE = "Trainer"
_STAGES = ("ProductExampleGen", "TaxonomySnapshotGen", "RuleSnapshotGen", "Encoder", "LabelJoin", "Transform", LAST_STAGE)
# The learner is what a study looks at: a change of it changes the scores of campaigns, but nothing that is frozen.
_LEARNER, _NOT_LEARNER = ("few_shot.learner", "few_shot.held_out", "few_shot.acceptance_file"), ("few_shot.frozen", "few_shot.latent")
_FREEZE = ("studies/freeze.py", "studies/frozen_catalogue.py")
_SECTIONS = ("ingest", "model", "networks", "phases", "tuner")


def front_settings(case: Path, work: Path, config: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Returns the settings of a run on a catalogue folder without answers, in a root of its own.

    Args:
        case: folder in the case format.
        work: the study's folder; the root is in it, by the name of the case.
        config: YAML file of settings, or None.
        overrides: as --set gives them, such as another feature config.

    Raises:
        SettingsError: the settings can't be used.
        CatalogueError: the folder isn't in the case format, or has no gold.tsv.
    """
    case = case.absolute()
    ours = [f"catalogue.folder={json.dumps(str(case))}", "catalogue.answers=0", f"run.name={json.dumps(_name(case))}"]
    settings = load_settings(config, [*overrides, *ours, f"run.root={json.dumps(str(work.absolute() / _name(case) / 'root'))}"])
    if not (case / "gold.tsv").is_file():
        raise CatalogueError(f"{case}: there is no gold.tsv, so nobody can answer. A study needs product_id, node_id and split there.")
    return settings


def _name(case: Path) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in case.name) or "case"


@contextlib.contextmanager
def _planned(settings: Settings, progress: Progress) -> Iterator[tuple[RunPlan, int]]:
    """Plans a run whose root nobody else writes to meanwhile."""
    root = Path(settings.run.root)
    with run_lock(root, ["aisle", *sys.argv[1:]], progress.say) as lock:
        check_metadata(root)
        yield plan_run(settings), lock


def frozen_folder(settings: Settings, progress: Progress) -> Path:
    """Returns the folder of the frozen catalogue, made now unless the same content and code made it before.

    Raises:
        AisleError: a stage refused its input.
    """
    root = Path(settings.run.root)
    with _planned(settings, progress) as (plan, lock):
        digest = frozen_digest(plan)
        folder = root.parent / f"frozen-{digest}"
        if not is_frozen(folder):
            stages = run_in_child(plan, progress, lock, until=LAST_STAGE)["paths"]
            progress.say("freezing what is known of products and nodes ...")
            about = {"name": root.parent.name, "digest": digest, "encoders": plan.encoders}
            _freeze({**about, "stages": stages, "gold": _gold(settings), "folder": str(folder)}, root)
    return folder


def run_front(settings: Settings, progress: Progress, until: str = LAST_STAGE) -> tuple[RunPlan, dict[str, str]]:
    """Returns the plan of a run up to a stage, and the folder of each artifact, such as `Transform.transform_graph`.

    Raises:
        AisleError: a stage refused its input.
    """
    with _planned(settings, progress) as (plan, lock):
        return plan, run_in_child(plan, progress, lock, until=until)["paths"]


def frozen_digest(plan: RunPlan) -> str:
    """Returns a digest of all that a frozen catalogue depends on: feeds, tree, rules, settings and code, but not the learner's."""
    about = {
        "settings": {name: plan.settings[name] for name in _SECTIONS} | {"seed": plan.settings["run"]["seed"]},
        "inputs": [plan.feeds_sha256, plan.taxonomy_sha256, plan.rules_sha256, plan.features, plan.encoders, plan.images_sha256],
        "code": _sha256(_frozen_code()),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def _frozen_code() -> list[Path]:
    stages = code_files(*(module for stage in _STAGES for module in STAGES[stage]))
    learner = set(code_files(*_LEARNER)) - set(code_files(*_NOT_LEARNER))
    return [*(file for file in stages if file not in learner), *(ROOT / name for name in _FREEZE)]


def _sha256(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT).as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def learner_code() -> str:
    """Returns a digest of the code that decides what a campaign scores: learner, strategies, metrics and the loop itself."""
    files = set(code_files("few_shot.learner", "components.sampling", "components.evaluation.wide_metrics"))
    files |= {ROOT / "studies" / name for name in ("replay.py", "judging.py")}
    return _sha256(sorted(files))[:16]


def _gold(settings: Settings) -> dict[str, str]:
    every = dataclasses.replace(settings, catalogue=dataclasses.replace(settings.catalogue, answers=-1))
    return {event.product_id: event.node_id for event in case_events(every)}


def _freeze(request: dict[str, object], root: Path) -> None:
    """Runs `studies.freeze` in a process of its own, which ends with this one."""
    log, file = root / "logs" / "freeze.log", root / "inputs" / "freeze.json"
    file.write_text(json.dumps(request, ensure_ascii=False), encoding="utf-8")
    command = [sys.executable, "-m", "studies.freeze", str(file)]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True) as child:
        try:
            code = child.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    if code:
        last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or ["it said nothing"])[-1]
        raise AisleError(f"freezing ended with code {code}: {last.removeprefix('error: ')}. The log says more: {log}")
