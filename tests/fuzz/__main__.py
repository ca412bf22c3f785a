"""`python -m tests.fuzz --inputs 10000 --out benchmarks/results/fuzz.md` fuzzes every target, each in a process of its own."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Findings, campaign
from tests.fuzz.targets import TARGETS, Target


def _in_a_process(target: Target, count: int, seed: int) -> Findings:
    """Returns the findings; a reader that takes the whole process down is a crash like others."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--measure", target.name, "--inputs", str(count), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Findings(target.name, crashes=[f"the process ended with {done.returncode}: {done.stderr[-300:]}"])
    return Findings(**json.loads(done.stdout.splitlines()[-1]))


def table(found: list[Findings]) -> str:
    """Returns the findings as a Markdown table."""
    lines = [
        "| input | inputs | read | refused as a whole | crashes | hangs | seconds | slowest s | memory grown MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in found:
        lines.append(
            f"| {one.target} | {one.inputs:,} | {one.used:,} | {one.refused:,} | {len(one.crashes)} | {len(one.hangs)} "
            f"| {one.seconds:.0f} | {one.slowest_s:.2f} | {one.grown_mb:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Fuzzes the targets and returns 1 if anything crashed or hung."""
    parser = argparse.ArgumentParser(description="Fuzzes everything that reads what users hand in.")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="names of targets")
    parser.add_argument("--out", type=Path, help="Markdown file to write the table to")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        target = next(target for target in TARGETS if target.name == asked.measure)
        one = campaign(target, asked.inputs, asked.seed, Path(tempfile.mkdtemp(prefix="fuzz-")))
        sys.stdout.write(json.dumps(dataclasses.asdict(one)) + "\n")
        return 0
    found = []
    for target in TARGETS:
        if not asked.only or target.name in asked.only:
            found.append(_in_a_process(target, asked.inputs, asked.seed))
            print(table(found[-1:]).splitlines()[-1], *sorted(set(found[-1].crashes + found[-1].hangs))[:20], sep="\n  ", flush=True)  # noqa: T201
    if asked.out:
        command = f"python -m tests.fuzz --inputs {asked.inputs} --seed {asked.seed} --out {asked.out}"
        asked.out.write_text(f"# Fuzzing\n\n`{command}`\n\n{table(found)}\n")
    return int(any(one.crashes or one.hangs for one in found))


if __name__ == "__main__":
    sys.exit(main())
