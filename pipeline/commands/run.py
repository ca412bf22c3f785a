"""Runs one round in a process of its own, shows how it goes, and ends with a table: the verb `aisle run`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import events
from pipeline.causes import system_error
from pipeline.commands.options import add_settings, settings_of, write_line, write_note
from pipeline.interrupts import signals_as_interrupts
from pipeline.peak_memory import PeakMemory
from pipeline.plan import RunPlan, plan_run
from pipeline.progress import Progress
from pipeline.root_state import check_metadata
from pipeline.run_lock import run_lock
from pipeline.summary import summary_lines
from schemas.errors import AisleError

EPILOG = """examples:
  aisle run --config demo/aisle.yaml
  aisle run --config configs/case.yaml --set catalogue.folder=CATALOGUE --set catalogue.answers=1000 --json

Everything is written under run.root. Logs go to run.root/logs. Unchanged stages come from the cache, so the same command
again takes seconds, and goes on where a run was stopped or killed. A second run under the same root is refused."""
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
    with contextlib.closing(progress), PeakMemory() as memory, signals_as_interrupts():
        settings = settings_of(args)
        root = Path(settings.run.root)
        with run_lock(root, ["aisle", *sys.argv[1:]], progress.say) as lock, _system_errors(root):
            check_metadata(root)
            progress.say("reading settings, taxonomy, rules and labels ...")
            results = run_in_child(plan_run(settings), progress, lock)
    results["seconds"] = round(time.monotonic() - started_s, 1)
    results["peak_rss_mb"] = memory.megabytes
    if args.json:
        write_line(json.dumps(results, ensure_ascii=False))
    else:
        for line in summary_lines(results):
            write_line(line)
    return 0


@contextlib.contextmanager
def _system_errors(root: Path) -> Iterator[None]:
    """Says in one line what the system says about a disk or a file below the root."""
    try:
        yield
    except OSError as error:
        raise system_error(error, root) from error


def run_in_child(plan: RunPlan, progress: Progress, lock: int | None = None, until: str = "") -> dict[str, Any]:
    """Runs the plan in a fresh process, whose chatter goes to a log file.

    Args:
        plan: what to run.
        progress: shows how it goes.
        lock: file descriptor of the root's lock, which the process keeps open, so that it holds as long as either lives.
        until: the last stage to run; the result then holds `paths` alone, the folder of each artifact. Empty: all stages.

    Raises:
        AisleError: the run failed; the message says where the log is.
    """
    log_file = _new_log(Path(plan.settings["run"]["root"]))
    plan_file = log_file.with_suffix(".plan.json")
    plan_file.write_text(plan.to_json(), encoding="utf-8")
    progress.say("loading TensorFlow ...")
    found: dict[str, dict[str, Any]] = {}
    with log_file.open("wb") as log, _child(plan_file, log, lock, until) as child:
        for line in child.stdout or ():
            event = events.received(line)
            if event is None:
                continue
            if event["event"] in (events.RESULT, events.ERROR):
                found[event["event"]] = dict(event)
                break  # The last one; something the child started may hold its end of the pipe open.
            progress.show(event)
    if events.ERROR in found:
        progress.fail()
        raise _failure(found[events.ERROR], log_file)
    if events.RESULT not in found:
        progress.fail()
        for line in _tail(log_file):
            write_note(line)
        raise AisleError(f"{_ending(child.returncode)} The end of its log is above, all of it in {log_file}")
    results = dict(found[events.RESULT]["results"])
    results["paths"]["log"] = str(log_file)
    return results


@contextlib.contextmanager
def _child(plan_file: Path, log: Any, lock: int | None, until: str) -> Iterator[subprocess.Popen[str]]:
    """Runs the plan's process, in a process group of its own so that it ends with everything it started."""
    command = [sys.executable, "-m", "pipeline.local_run", str(plan_file), "--end-with-parent", "--until", until]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        encoding="utf-8",
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
    ) as child:
        try:
            yield child
            child.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the run's process was killed, most often for want of memory. Lower scoring.block_products, or add memory."
    if code < 0:
        return f"the run's process ended by {signal.Signals(-code).name}."
    return f"the run's process ended with code {code} and no result."


def _failure(event: dict[str, Any], log_file: Path) -> AisleError:
    failure = AisleError(event["message"] if event["ours"] else f"{event['message']}. The log says more: {log_file}")
    failure.exit_code = event["exit_code"]
    return failure


def _new_log(root: Path) -> Path:
    folder = root / "logs"
    moment = time.strftime("%Y%m%d-%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            path = folder / f"{moment}{f'-{number}' if number else ''}.log"
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:
                number += 1
    except OSError as error:
        raise AisleError(f"{folder}: can't be written: {error.strerror}. Set run.root to a folder you may write to.") from None


def _tail(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
