"""Runs whole rounds on catalogue folders beside the linear reference: python -m benchmarks.cases ../shared/cases ../shared/reference.

About 20 minutes on two cores for two catalogues. Every row of the table is one `aisle run` in a fresh root, or one fit of
the reference; scores are of the test split, which nothing is chosen on. Writes benchmarks/results/cases.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "cases.md"
ALL = -1
# The second objective switched off: the rule_based head learns nothing, so its prior says nothing.
ANSWERS_ALONE = ("phases=[{epochs: 20, rule_based: 0, exclusive: 1}]",)


def aisle_run(case: Path, answers: int, seed: int, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Runs one round and returns what `aisle run --json` prints."""
    with tempfile.TemporaryDirectory() as root:
        settings = [f"catalogue.folder={case}", f"catalogue.answers={answers}", f"run.root={root}", f"run.seed={seed}", *extra]
        command = [str(Path(sys.executable).with_name("aisle")), "run", "--config", str(HERE.parent / "configs" / "case.yaml"), "--json"]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reference(script: Path, case: Path, budget: int, seeds: int) -> Iterator[dict[str, Any]]:
    """Yields what the linear reference prints for all answers, or for `budget` random ones with each seed."""
    choice = ["--full", "--seeds", "0"] if budget == ALL else ["--budgets", str(budget), "--strategies", "random", "--seeds", str(seeds)]
    command = [sys.executable, str(script), str(case), *choice]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        yield json.loads(line)


def row(case: str, what: str, answers: int, runs: Sequence[dict[str, Any]]) -> str:
    """Returns one line of the table, the mean over runs."""
    mean = {key: sum(run[key] for run in runs) / len(runs) for key in ("accuracy", "hierarchical_f1", "macro_f1", "seconds")}
    peak = max((run.get("peak_rss_mb", 0) for run in runs), default=0)
    scores = " | ".join(f"{mean[key]:.4f}" for key in ("accuracy", "hierarchical_f1", "macro_f1"))
    return f"| {case} | {what} | {'all' if answers == ALL else answers} | {scores} | {mean['seconds']:.0f} | {peak or ''} | {len(runs)} |"


def measured(cases: Path, script: Path, budgets: Sequence[int], seeds: int) -> Iterator[str]:
    """Yields the lines of the table as they become known."""
    for case in sorted((path for path in cases.iterdir() if (path / "gold.tsv").exists()), reverse=True):
        for budget in budgets:
            num_seeds = 1 if budget == ALL else seeds
            yield row(case.name, "linear reference", budget, list(reference(script, case, budget, num_seeds)))
            variants: list[tuple[str, Sequence[str]]] = [("aisle", ())]
            if budget != ALL:
                variants.append(("aisle, answers alone", ANSWERS_ALONE))
            for what, extra in variants:
                runs = [aisle_run(case, budget, seed, extra) for seed in range(num_seeds)]
                flat = [{**run["exclusive"], "seconds": run["seconds"], "peak_rss_mb": run["peak_rss_mb"]} for run in runs]
                yield row(case.name, what, budget, flat)


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="folder of catalogue folders")
    parser.add_argument("reference", type=Path, help="folder of linear_baseline.py")
    parser.add_argument("--budgets", type=int, nargs="+", default=[ALL, 1000], help="answers; -1 for all")
    parser.add_argument("--seeds", type=int, default=2, help="random draws of answers for a budget below all")
    args = parser.parse_args()
    script = args.reference / "linear_baseline.py"
    if not script.exists() or not args.cases.is_dir():
        parser.exit(3, f"SKIPPED: {args.cases} or {script} is absent; they hold the catalogues this benchmark measures.\n")
    head = [
        "| case | what | answers | accuracy | hierarchical F1 | macro F1 | s | peak MB | runs |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines = []
    for line in measured(args.cases.resolve(), script.resolve(), args.budgets, args.seeds):
        sys.stderr.write(line + "\n")
        lines.append(line)
    text = [
        "# Whole rounds beside the linear reference",
        "",
        "`python -m benchmarks.cases CASES REFERENCE`, judged on each case's test split, mean over the draws of answers. Seconds of",
        f"`aisle` are the whole pipeline, start-up included; of the reference, the fit alone. {time.strftime('%Y-%m-%d')}, two cores.",
        "",
        *head,
        *lines,
        "",
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
