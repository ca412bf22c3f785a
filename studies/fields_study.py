"""Measures what each field of a feed adds: front and learner with the title alone, with one field beside it, and with all."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.sampling.contract import find_strategy
from pipeline.code_version import ROOT
from pipeline.commands.options import write_note
from pipeline.inputs import read_features
from pipeline.interrupts import signals_as_interrupts
from pipeline.plan import plan_run
from pipeline.progress import Progress
from schemas.errors import SettingsError
from schemas.features import FeatureConfig, reading_only, write_features
from schemas.product import TITLE
from studies.front import front_settings, frozen_digest, frozen_folder, learner_code
from studies.frozen_catalogue import load_catalogue
from studies.replay import DEFAULT, Budget, ReplayCatalogue, ReplaySettings, campaign
from studies.report import show_report
from studies.result_lines import Line, ResultFile
from studies.workers import in_workers

EVERY = "every field"


@dataclass(frozen=True)
class _Shared:
    folder: Path
    fields: str
    made_by: str


@dataclass(frozen=True)
class _Task:
    strategy: str
    seed: int
    budgets: tuple[Budget, ...]


def prepare(shared: _Shared) -> Callable[[_Task], Iterator[Line]]:
    """Loads a catalogue described by some fields in a worker's process, and returns what runs a campaign there."""
    replayed = ReplayCatalogue(load_catalogue(shared.folder), ReplaySettings())

    def run_task(task: _Task) -> Iterator[Line]:
        for line in campaign(replayed, task.strategy, task.seed, task.budgets):
            yield line | {"variant": shared.fields, "made_by": shared.made_by}

    return run_task


def fields(args: argparse.Namespace) -> int:
    """Does what `aisle study fields` was asked, and returns the exit code."""
    with signals_as_interrupts(), ResultFile(args.out) as file:
        settings = front_settings(args.case, args.work, args.config, args.overrides)
        variants = field_variants(read_features(settings), args.fields)
        if args.strategy != DEFAULT:
            find_strategy(args.strategy)  # Before the minutes that a front takes.
        made_by = _made_by(frozen_digest(plan_run(settings)))
        file.check_made_by(made_by, [args.strategy])
        case = args.case.absolute().name
        for number, (name, config) in enumerate(variants.items(), 1):
            tasks = _missing_tasks(file, case, name, args)
            if not tasks:
                continue
            write_note(f"[{number}/{len(variants)}] {name}")
            path = args.work / "fields" / case / f"{hashlib.sha256(config.to_json().encode()).hexdigest()[:16]}.yaml"
            write_features(path, config)
            only = f"model.features={json.dumps(str(path.absolute()))}"
            with contextlib.closing(Progress()) as progress:
                folder = frozen_folder(front_settings(args.case, args.work, args.config, [*args.overrides, only]), progress)
            for _, line in in_workers(prepare, _Shared(folder, name, made_by), tasks, args.workers):
                if line is not None:
                    file.append(line)
        return show_report(args.out, file.lines)


def field_variants(config: FeatureConfig, asked: Sequence[str] | None) -> dict[str, FeatureConfig]:
    """Returns the feature configs to compare, by name: the title's, the title's with each field, and the whole.

    Args:
        config: the whole.
        asked: fields to look at; None: all that it reads beside the title.

    Raises:
        SettingsError: it doesn't read the title, or a field that was asked for.
    """
    read = [name for name in config.string_fields if name != TITLE]
    unknown = [name for name in asked or () if name not in read]
    if TITLE not in config.string_fields or unknown:
        missing = unknown[0] if unknown else TITLE
        raise SettingsError(f"--fields: no feature reads {missing!r}. Read: {', '.join(config.string_fields)}. Add one to model.features.")
    beside = {f"{TITLE}, {name}": reading_only(config, (TITLE, name)) for name in (read if asked is None else asked)}
    return {f"{TITLE} alone": reading_only(config, (TITLE,)), **beside, EVERY: config}


def _made_by(whole: str) -> str:
    code = (ROOT / "studies" / "fields_study.py").read_bytes()
    return hashlib.sha256("\0".join((whole, learner_code(), hashlib.sha256(code).hexdigest())).encode()).hexdigest()[:16]


def _missing_tasks(file: ResultFile, case: str, name: str, args: argparse.Namespace) -> list[_Task]:
    keys = file.keys
    return [
        _Task(args.strategy, seed, tuple(args.budgets))
        for seed in range(args.seeds)
        if any((case, args.strategy, name, seed, budget) not in keys for budget in args.budgets)
    ]
