"""Runs an acceptance study: re-draws over cores, resumed where it stopped, and its table."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.code_version import ROOT, code_files
from pipeline.commands.options import write_note
from pipeline.interrupts import signals_as_interrupts
from pipeline.progress import Progress
from studies.acceptance import STRATEGY, AcceptanceCatalogue, AcceptanceSettings
from studies.front import front_settings, frozen_folder
from studies.frozen_catalogue import load_catalogue
from studies.replay import ALL, Budget
from studies.result_lines import Line, ResultFile, key_of
from studies.workers import in_workers

# How far below its promise a precision may come out on judged products, which are a sample themselves.
TOLERANCE = 0.005
_KINDS = (("answer", "at the answer"), ("ancestor", "at an ancestor"), ("accepted", "both"))


@dataclass(frozen=True)
class _Task:
    budget: Budget
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class _Shared:
    folder: Path
    settings: AcceptanceSettings
    made_by: str


def prepare(shared: _Shared) -> Callable[[_Task], Iterator[Line]]:
    """Loads the catalogue in a worker's process, and returns what runs re-draws there."""
    catalogue = AcceptanceCatalogue(load_catalogue(shared.folder), shared.settings)

    def run_task(task: _Task) -> Iterator[Line]:
        for line in catalogue.lines(task.budget, list(task.seeds)):
            yield line | {"made_by": shared.made_by}

    return run_task


def acceptance(args: argparse.Namespace) -> int:
    """Does what `aisle study acceptance` was asked, and returns the exit code."""
    settings = AcceptanceSettings(args.promised, args.confidence)
    with signals_as_interrupts(), ResultFile(args.out) as file:
        folder = args.frozen
        if folder is None:
            with contextlib.closing(Progress()) as progress:
                folder = frozen_folder(front_settings(args.case, args.work, args.config, args.overrides), progress)
        catalogue = load_catalogue(folder)
        made_by = _made_by(catalogue.digest, settings)
        file.check_made_by(made_by, [STRATEGY])
        tasks = _missing_tasks(file, catalogue.name, settings, args.budgets, args.seeds)
        for _, line in in_workers(prepare, _Shared(folder, settings, made_by), tasks, args.workers):
            if line is not None and key_of(line) not in file.keys:
                file.append(line)
                write_note(f"{line['budget']} answers, seed {line['seed']}, {line['variant']}: {_said(line, 'answer')}")
        sys.stdout.write(table(file.lines))
    return 0


def _made_by(catalogue: str, settings: AcceptanceSettings) -> str:
    files = {*code_files("few_shot.held_out", "few_shot.acceptance"), ROOT / "studies" / "acceptance.py"}
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
    return hashlib.sha256(json.dumps([catalogue, code, asdict(settings)]).encode()).hexdigest()[:16]


def _missing_tasks(file: ResultFile, case: str, settings: AcceptanceSettings, budgets: Sequence[Budget], seeds: int) -> list[_Task]:
    keys, tasks = file.keys, []
    variants = [settings.variant(tolerance) for tolerance in settings.tolerances]
    for budget in dict.fromkeys(budgets):
        missing = [seed for seed in range(seeds) if any((case, STRATEGY, variant, seed, budget) not in keys for variant in variants)]
        # With every answer the learning, which is what costs, is the same for all re-draws.
        parts = [tuple(missing)] if budget == ALL else [(seed,) for seed in missing]
        tasks += [_Task(budget, part) for part in parts if part]
    return sorted(tasks, key=lambda task: task.budget != ALL)  # The longest first.


def table(lines: Sequence[Line]) -> str:
    """Returns the tables of a study for people: coverage and realised precision, then both by depth of the truth."""
    parts = [_whole_head()], [_depth_head()]
    for budget, variant in dict.fromkeys((line["budget"], line["variant"]) for line in lines):
        ours = [line for line in lines if (line["budget"], line["variant"]) == (budget, variant)]
        label = f"{budget:>8}  {variant:<22}"
        parts[0].extend(f"{label}{_whole_row(ours, kind, name)}" for kind, name in _KINDS)
        parts[1].extend(
            f"{label}{_depth_row(ours, depth)}" for depth in sorted({depth for line in ours for depth in line["by_depth"]}, key=int)
        )
    said = f"kept: re-draws at most {100 * TOLERANCE:g} points below the promise; of offers: near-duplicates counted each"
    return "\n".join([*parts[0], "", said, "", *parts[1], ""])


def _whole_head() -> str:
    label = f"{'answers':>8}  {'promised':<22}{'accepted':<15}"
    return f"{label}{'coverage':>9}{'precision':>10}{'lowest 5 %':>11}{'kept':>12}{'of offers':>10}{'precision':>10}"


def _whole_row(lines: Sequence[Line], kind: str, name: str) -> str:
    precise = [line[f"{kind}_precision"] for line in lines if line[f"{kind}_precision"] is not None]
    low = f"{np.quantile(precise, 0.05):.4f}" if precise else "-"
    kept = f"{sum(value >= lines[0]['promised'] - TOLERANCE for value in precise)} of {len(precise)}"
    offers = [line["offers"] for line in lines]
    coverage = f"{name:<15}{_mean(lines, kind, 'coverage'):>9}{_mean(lines, kind, 'precision'):>10}{low:>11}{kept:>12}"
    return f"{coverage}{_mean(offers, kind, 'coverage'):>10}{_mean(offers, kind, 'precision'):>10}"


def _depth_head() -> str:
    label = f"{'answers':>8}  {'promised':<22}{'depth':<7}"
    return f"{label}{'at the answer':>14}{'precision':>10}{'with ancestors':>15}{'precision':>10}"


def _depth_row(lines: Sequence[Line], depth: str) -> str:
    rows = [line["by_depth"][depth] for line in lines if depth in line["by_depth"]]
    answer = f"{depth:<7}{_mean(rows, 'answer', 'coverage'):>14}{_mean(rows, 'answer', 'precision'):>10}"
    return f"{answer}{_mean(rows, 'accepted', 'coverage'):>15}{_mean(rows, 'accepted', 'precision'):>10}"


def _mean(rows: Sequence[Line], kind: str, what: str) -> str:
    values = [row[f"{kind}_{what}"] for row in rows if row[f"{kind}_{what}"] is not None]
    return f"{np.mean(values):.4f}" if values else "-"


def _said(line: Line, kind: str) -> str:
    precision = line[f"{kind}_precision"]
    return f"{line[f'{kind}_coverage']:.1%} accepted" + (f", {precision:.2%} right" if precision is not None else "")
