"""Measures what noise in a feed costs: front and learner on spoilt copies of a catalogue, each compared with the clean one."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.code_version import ROOT
from pipeline.commands.options import write_note
from pipeline.inputs import resolved
from pipeline.interrupts import signals_as_interrupts
from pipeline.plan import plan_run
from pipeline.progress import Progress
from schemas.errors import CatalogueError
from schemas.settings import Settings
from studies.case_writing import GOLD, RULES, TAXONOMY, feed_products, write_feed
from studies.corruption import CLEAN, Products, corrupted, corruptions
from studies.front import front_settings, frozen_digest, frozen_folder, learner_code
from studies.frozen_catalogue import load_catalogue
from studies.replay import DEFAULT, Budget, ReplayCatalogue, ReplaySettings, campaign
from studies.report import show_report
from studies.result_lines import Line, ResultFile
from studies.workers import in_workers


@dataclass(frozen=True)
class _Shared:
    folder: Path
    case: str
    noise: str
    made_by: str


@dataclass(frozen=True)
class _Task:
    seed: int
    budgets: tuple[Budget, ...]


def prepare(shared: _Shared) -> Callable[[_Task], Iterator[Line]]:
    """Loads a spoilt catalogue in a worker's process, and returns what runs a campaign there."""
    replayed = ReplayCatalogue(load_catalogue(shared.folder), ReplaySettings())

    def run_task(task: _Task) -> Iterator[Line]:
        for line in campaign(replayed, DEFAULT, task.seed, task.budgets):
            yield line | {"case": shared.case, "variant": shared.noise, "noise": shared.noise or "none", "made_by": shared.made_by}

    return run_task


def noise(args: argparse.Namespace) -> int:
    """Does what `aisle study noise` was asked, and returns the exit code."""
    with signals_as_interrupts(), ResultFile(args.out) as file:
        clean = front_settings(args.case, args.work, args.config, args.overrides)
        made_by = _made_by(frozen_digest(plan_run(clean)), args.seed)
        file.check_made_by(made_by, [DEFAULT])
        products, case = feed_products(resolved(clean)), args.case.absolute().name
        kinds = corruptions(sorted({name for product in products for name in product}))
        names = [CLEAN, *(_known(args.kinds, list(kinds)) if args.kinds else kinds)]
        for number, name in enumerate(names, 1):
            tasks = _missing_tasks(file, case, name, args.seeds, args.budgets)
            if not tasks:
                continue
            write_note(f"[{number}/{len(names)}] {name or 'clean'}")
            spoilt = corrupted(products, name, kinds[name], args.seed) if name else None
            with _frozen(args, clean, spoilt, args.work / "noise" / case / _digest(made_by, name)) as folder:
                for _, line in in_workers(prepare, _Shared(folder, case, name, made_by), tasks, args.workers):
                    if line is not None:
                        file.append(line)
        return show_report(args.out, file.lines)


@contextlib.contextmanager
def _frozen(args: argparse.Namespace, clean: Settings, spoilt: Products | None, copy: Path) -> Iterator[Path]:
    """Yields the folder of the frozen catalogue: the clean one, or that of a spoilt copy, which is removed when all went well."""
    settings = clean
    if spoilt is not None:
        _write_case(spoilt, args.case, copy)
        pictures = f"encoding.images={json.dumps(clean.encoding.images or str(args.case.absolute()))}"
        settings = front_settings(copy, copy, args.config, [*args.overrides, pictures])
    with contextlib.closing(Progress()) as progress:
        frozen = frozen_folder(settings, progress)
    yield frozen
    if spoilt is not None:
        shutil.rmtree(copy)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _made_by(clean: str, seed: int) -> str:
    code = b"".join((ROOT / "studies" / name).read_bytes() for name in ("corruption.py", "noise_study.py"))
    return _digest(clean, learner_code(), str(seed), hashlib.sha256(code).hexdigest())


def _known(asked: Sequence[str], kinds: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in kinds:
            raise CatalogueError(f"--kinds: {name!r} isn't a kind of noise this catalogue can have. Known: {', '.join(kinds)}.")
    return list(asked)


def _missing_tasks(file: ResultFile, case: str, name: str, seeds: int, budgets: Sequence[Budget]) -> list[_Task]:
    keys = file.keys
    return [
        _Task(seed, tuple(budgets)) for seed in range(seeds) if any((case, DEFAULT, name, seed, budget) not in keys for budget in budgets)
    ]


def _write_case(products: Products, case: Path, folder: Path) -> None:
    """Writes a copy of a catalogue with these products; its pictures stay where they are."""
    write_feed(products, folder)
    for name in (TAXONOMY, RULES, GOLD):
        if (case / name).exists():
            shutil.copyfile(case / name, folder / name)
