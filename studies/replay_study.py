"""Runs a replay study: campaigns of every strategy and seed over cores, resumed where it stopped, and its report."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.sampling.contract import find_strategy
from few_shot.learner import DEFAULTS
from pipeline.commands.options import write_note
from pipeline.interrupts import signals_as_interrupts
from pipeline.progress import Progress
from schemas.errors import SettingsError
from studies.dev_split import judged_within_dev
from studies.front import front_settings, frozen_folder, learner_code
from studies.frozen_catalogue import load_catalogue
from studies.learner_options import learner_parameters
from studies.reference import reference_lines
from studies.replay import ALL, DEFAULT, Budget, ReplayCatalogue, ReplaySettings, campaign
from studies.report import show_report
from studies.result_lines import Line, ResultFile, read_lines
from studies.workers import in_workers

# What one more refit costs, in answers, when the time left is guessed.
_REFIT_ANSWERS = 300


@dataclass(frozen=True)
class _Task:
    """One campaign; `known` budgets have a line already."""

    strategy: str
    seed: int
    budgets: tuple[Budget, ...]
    known: tuple[Budget, ...]


@dataclass(frozen=True)
class _Shared:
    folder: Path
    settings: ReplaySettings
    made_by: str


def prepare(shared: _Shared) -> Callable[[_Task], Iterator[Line]]:
    """Loads the catalogue in a worker's process, and returns what runs a campaign there."""
    catalogue = load_catalogue(shared.folder)
    replayed = ReplayCatalogue(judged_within_dev(catalogue) if shared.settings.within_dev else catalogue, shared.settings)

    def run_task(task: _Task) -> Iterator[Line]:
        for line in campaign(replayed, task.strategy, task.seed, task.budgets):
            if line["budget"] not in task.known:
                yield line | {"made_by": shared.made_by}

    return run_task


def replay(args: argparse.Namespace) -> int:
    """Does what `aisle study replay` was asked, and returns the exit code."""
    settings = ReplaySettings(
        batches=tuple(args.batch),
        growth=args.growth,
        audit_share=args.audit_share,
        scored_products=args.scored_products,
        wrong=args.wrong,
        unsure=args.unsure,
        yes_or_no=args.yes_or_no,
        learns_unsure=not args.ignore_unsure,
        question_share=args.question_share if args.questions == "mixed" else 0.0,
        product_seconds=args.seconds[0],
        question_seconds=args.seconds[1],
        with_rules=not args.without_rules,
        with_names=not args.without_names,
        within_dev=args.within_dev,
        learner=learner_parameters(args.learner),
    )
    if args.yes_or_no and ALL in args.budgets:
        raise SettingsError(
            "--yes-or-no asks about the model's best node, and with the budget all there is no model yet. Leave one of them out."
        )
    for strategy in args.strategies:
        if strategy != DEFAULT:
            find_strategy(strategy)
    progress = Progress()
    with signals_as_interrupts(), ResultFile(args.out) as file:
        folder = args.frozen
        if folder is None:
            with contextlib.closing(progress):
                folder = frozen_folder(front_settings(args.case, args.work, args.config, args.overrides), progress)
                progress.say(f"frozen: {folder}")
        catalogue = load_catalogue(folder)
        made_by = _made_by(catalogue.digest, settings)
        file.check_made_by(made_by, args.strategies)
        if catalogue.missing:
            left_out = "products of gold.tsv were refused or aren't in the feed; they are neither asked nor judged"
            write_note(f"{args.case}: {catalogue.missing} {left_out}")
        for line in _campaigns(args, settings, _Shared(folder, settings, made_by), catalogue.name, file):
            file.append(line)
        if args.reference:
            for line in reference_lines(
                args.reference, args.case, catalogue.name, args.budgets, args.reference_seeds or args.seeds, file, write_note
            ):
                file.append(line)
        return show_report(args.out, file.lines)


def _made_by(catalogue: str, settings: ReplaySettings) -> str:
    """Returns a digest of what makes points comparable; the variant stands in each line and may differ."""
    shared = dataclasses.replace(
        settings,
        wrong=0.0,
        unsure=0.0,
        yes_or_no=0.0,
        learns_unsure=True,
        question_share=0.0,
        with_rules=True,
        with_names=True,
        within_dev=False,
        learner=DEFAULTS,
    )
    text = json.dumps([catalogue, learner_code(), dataclasses.asdict(shared)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _campaigns(args: argparse.Namespace, settings: ReplaySettings, shared: _Shared, case: str, file: ResultFile) -> Iterator[Line]:
    """Yields the lines that are missing, as workers find them, and says how it goes."""
    keys, tasks = file.keys, []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for strategy in dict.fromkeys(args.strategies):
            known = tuple(budget for budget in args.budgets if (case, strategy, settings.variant, seed, budget) in keys)
            if len(known) < len(set(args.budgets)):
                tasks.append(_Task(strategy, seed, tuple(args.budgets), known))
    clock = _Clock(tasks)
    for number, line in in_workers(prepare, shared, tasks, args.workers):
        task = tasks[number]
        if line is not None:
            yield line
        write_note(clock.said(number, task, line))


class _Clock:
    """Says how far the campaigns are and when they will be done."""

    def __init__(self, tasks: list[_Task]) -> None:
        self._started_s, self._tasks = time.monotonic(), tasks
        self._done = [0.0] * len(tasks)

    def said(self, number: int, task: _Task, line: Line | None) -> str:
        self._done[number] = self._share(task, line["budget"]) if line else 1.0
        share = sum(self._done) / len(self._tasks)
        elapsed_s = time.monotonic() - self._started_s
        left = f"{_minutes(elapsed_s / share - elapsed_s)} left" if 0 < share < 1 else _minutes(elapsed_s)
        finished = sum(done == 1.0 for done in self._done)
        about = f"{task.strategy} seed {task.seed}"
        if line is None:
            return f"[{finished}/{len(self._tasks)}] {about}: done, {left}"
        scores = f"hierarchical F1 {line['hierarchical_f1']:.4f}, macro F1 {line['macro_f1']:.4f}"
        return f"[{finished}/{len(self._tasks)}] {about}: {line['answers']} answers, {scores}, {left}"

    def _share(self, task: _Task, budget: Budget) -> float:
        """Returns the part of a campaign's time that a budget takes, guessed: a refit is dearer with more answers."""
        numbers = [each for each in task.budgets if isinstance(each, int)]
        cost = {each: float(each) ** 1.3 + _REFIT_ANSWERS for each in numbers}
        total = max(cost.values(), default=0.0) + (max([*cost.values(), 10_000.0]) if ALL in task.budgets else 0.0)
        return min(0.999, cost[budget] / total) if budget in cost else 0.999  # type: ignore[index]


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def report(args: argparse.Namespace) -> int:
    """Does what `aisle study report` was asked, and returns the exit code."""
    lines = read_lines(args.file)
    if not lines:
        raise SettingsError(f"{args.file}: there is no point of a study yet. Run aisle study replay --out {args.file}.")
    return show_report(args.file, lines)
