"""Runs one round in a process of its own, shows how it goes, and ends with a table: the verb `aisle run`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline import events
from pipeline.commands.options import add_settings, settings_of, write_line
from pipeline.plan import RunPlan, plan_run
from pipeline.progress import Progress
from pipeline.summary import summary_lines
from schemas.errors import AisleError

EPILOG = """examples:
  aisle run --config demo/aisle.yaml
  aisle run --config configs/case.yaml --set catalogue.folder=CATALOGUE --set catalogue.answers=1000 --json

Everything is written under run.root. Logs go to run.root/logs. Unchanged stages come from the cache."""
_LOG_TAIL = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_settings(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> int:
    """Runs the round and returns the exit code."""
    started_s = time.monotonic()
    progress = Progress()
    try:
        progress.say("reading settings, taxonomy, rules and labels ...")
        plan = plan_run(settings_of(args))
        results = run_in_child(plan, progress)
    finally:
        progress.stop()
    results["seconds"] = round(time.monotonic() - started_s, 1)
    if args.json:
        write_line(json.dumps(results, ensure_ascii=False))
    else:
        for line in summary_lines(results):
            write_line(line)
    return 0


def run_in_child(plan: RunPlan, progress: Progress) -> dict[str, Any]:
    """Runs the plan in a fresh process, whose chatter goes to a log file.

    Raises:
        AisleError: the run failed; the message says where the log is.
    """
    root = Path(plan.settings["run"]["root"])
    log_file = _new_log(root)
    plan_file = log_file.with_suffix(".plan.json")
    plan_file.write_text(plan.to_json(), encoding="utf-8")
    progress.say("loading TensorFlow ...")
    results: dict[str, Any] | None = None
    failure: AisleError | None = None
    with log_file.open("wb") as log:
        command = [sys.executable, "-m", "pipeline.local_run", str(plan_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8") as child:  # noqa: S603
            try:
                for line in child.stdout or ():
                    event = events.received(line)
                    if event is None:
                        continue
                    if event["event"] == events.RESULT:
                        results = dict(event["results"])
                    elif event["event"] == events.ERROR:
                        failure = _failure(event, log_file)
                    else:
                        progress.show(event)
            except BaseException:
                child.terminate()
                raise
    if failure:
        raise failure
    if results is None:
        raise AisleError(f"the run's process ended with code {child.returncode} and no result. Its log: {log_file}\n{_tail(log_file)}")
    results["paths"]["log"] = str(log_file)
    return results


def _failure(event: Any, log_file: Path) -> AisleError:
    failure = AisleError(event["message"] if event["ours"] else f"{event['message']}. The log says more: {log_file}")
    failure.exit_code = event["exit_code"]
    return failure


def _new_log(root: Path) -> Path:
    folder = root / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AisleError(f"{folder}: can't be made: {error.strerror}. Set run.root to a folder you may write to.") from None
    moment = time.strftime("%Y%m%d-%H%M%S")
    number = 0
    while (path := folder / f"{moment}{f'-{number}' if number else ''}.log").exists():
        number += 1
    return path


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL:])
