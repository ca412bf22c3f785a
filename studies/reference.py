"""Runs a linear reference beside a study, as the program it is, and makes its output lines of the study."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from schemas.errors import AisleError, SettingsError
from studies.replay import ALL, Budget
from studies.result_lines import Line, ResultFile

REFERENCE = "reference random"
_FIELDS = ("seed", "answers", "nodes_seen", "accuracy", "hierarchical_f1", "macro_f1", "seconds")


def reference_lines(
    script: Path, case: Path, name: str, budgets: Sequence[Budget], seeds: int, file: ResultFile, say: Callable[[str], None]
) -> Iterator[Line]:
    """Yields what the reference scores with random answers, budget by budget; nothing where every line is there.

    Args:
        script: a program that takes CASE --strategies random --seeds N --budgets ... --full, and prints a JSON line each.
        case: the catalogue folder.
        name: what the study calls it.
        budgets: those above 0, and `all`, are asked.
        seeds: how many.
        file: what is there already.
        say: told how it goes.

    Raises:
        SettingsError: there is no such program.
        AisleError: it failed, or printed something else.
    """
    if not script.is_file():
        raise SettingsError(f"--reference: {script} isn't a file. Name a program that prints the reference's scores.")
    numbers = [budget for budget in budgets if isinstance(budget, int) and budget > 0]
    wanted = {(seed, budget) for seed in range(seeds) for budget in numbers} | ({(0, ALL)} if ALL in budgets else set())
    made_by = hashlib.sha256(script.read_bytes()).hexdigest()[:16]
    file.check_made_by(made_by, [REFERENCE])
    known = {(line["seed"], line["budget"]) for line in file.lines if line["strategy"] == REFERENCE and line["case"] == name}
    if not wanted - known:
        return
    options = ["--strategies", "random", "--seeds", str(seeds if numbers else 0), "--budgets", *map(str, numbers or [1])]
    command = [sys.executable, str(script), str(case), *options, *(["--full"] if ALL in budgets else [])]
    started_s = time.monotonic()
    for printed in _printed(command):
        line = _line(printed, script) | {"case": name, "made_by": made_by}
        say(
            f"{line['strategy']} seed {line['seed']}: {line['answers']} answers, hierarchical F1 {line['hierarchical_f1']:.4f}, "
            f"macro F1 {line['macro_f1']:.4f}, {time.monotonic() - started_s:.0f} s"
        )
        if (line["seed"], line["budget"]) not in known:
            yield line


def _printed(command: Sequence[str]) -> Iterator[str]:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, encoding="utf-8", env=environment) as child:
        try:
            yield from child.stdout or ()
            code = child.wait()
        finally:
            child.kill()
    if code:
        raise AisleError(f"{command[1]}: the reference ended with code {code}; what it said is above. Run it by itself to see why.")


def _line(printed: str, script: Path) -> Line:
    try:
        found = json.loads(printed)
        line = {name: found[name] for name in _FIELDS}
        is_all = found["strategy"] == ALL
    except (ValueError, KeyError, TypeError) as error:
        raise AisleError(f"{script}: printed {printed[:80]!r}, expected a JSON line with {', '.join(_FIELDS)} ({error}).") from None
    return {"strategy": REFERENCE, "variant": "", "budget": ALL if is_all else line["answers"], **line}
