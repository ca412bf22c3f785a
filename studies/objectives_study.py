"""Runs a study of the two objectives: every way of using rules over budgets and seeds, resumed where it stopped, and its table."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pipeline.code_version import ROOT, code_files
from pipeline.commands.options import write_note
from pipeline.interrupts import signals_as_interrupts
from pipeline.progress import Progress
from schemas.errors import SettingsError
from studies.front import front_settings, run_front
from studies.objectives import WAYS, Shared, Task, prepare
from studies.report import show_report
from studies.result_lines import ResultFile
from studies.workers import in_workers
from trainer_module.hyperparameters import hyperparameters

_LAST_STAGE = "Transform"


def objectives(args: argparse.Namespace) -> int:
    """Does what `aisle study objectives` was asked, and returns the exit code.

    Raises:
        SettingsError: a way or a hyper-parameter that there isn't, or encoders, whose vectors of node names this study doesn't read.
    """
    ways, changed = _known(args.ways), _changed(args.parameters)
    with signals_as_interrupts(), ResultFile(args.out) as file:
        settings = front_settings(args.case, args.work, args.config, args.overrides)
        if settings.encoders:
            raise SettingsError("encoders: a study of the objectives runs without any, found some. Leave them out of the configuration.")
        # Every answer is joined, and the study draws from them: one front serves all budgets.
        settings = dataclasses.replace(settings, catalogue=dataclasses.replace(settings.catalogue, answers=-1))
        with contextlib.closing(Progress()) as progress:
            plan, stages = run_front(settings, progress, _LAST_STAGE)
        about = [plan.feeds_sha256, plan.taxonomy_sha256, plan.rules_sha256, plan.features, args.rule_products, _code()]
        made_by = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        file.check_made_by(made_by, ways)
        shared = Shared(args.case.absolute().name, stages, plan.features, {"max_rule_products": args.rule_products, **changed}, made_by)
        for _, line in in_workers(prepare, shared, _missing(file, shared.case, ways, args), args.workers):
            if line is not None:
                file.append(line)
                write_note(
                    f"{line['strategy']} {line['variant']}, {line['budget']} answers, seed {line['seed']}: {line['hierarchical_f1']:.4f}"
                )
        return show_report(args.out, file.lines)


def _known(asked: Sequence[str] | None) -> list[str]:
    for name in asked or ():
        if name not in WAYS:
            raise SettingsError(f"--ways: {name!r} is unknown. Known: {'; '.join(WAYS)}.")
    return list(asked or WAYS)


def _code() -> str:
    files = {*code_files("trainer_module.fitting", "trainer_module.node_texts", "trainer_module.zoo.registry")}
    files |= {ROOT / "studies" / name for name in ("objectives.py", "judging.py")}
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


def _changed(texts: Sequence[str]) -> dict[str, Any]:
    """Returns hyper-parameters by name, read from NAME=VALUE and checked."""
    found = {name: _value(value) for name, _, value in (text.partition("=") for text in texts)}
    hyperparameters(found, "--parameters")
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # Of a choice; if it should have been a number, that is said by name.


def _missing(file: ResultFile, case: str, ways: Sequence[str], args: argparse.Namespace) -> list[Task]:
    changed = tuple(args.parameters)
    every = [
        Task(way, names, budget, seed, changed)
        for seed in range(args.seeds)
        for budget in args.budgets
        for way in ways
        for names in (False, True)
    ]
    keys = file.keys
    return [task for task in every if (case, task.way, task.variant, task.seed, task.budget) not in keys]
