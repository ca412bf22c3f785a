"""Runs modules as `python -m` would, each in a process forked from one that has loaded TFX: saves the load, not the process."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "pipeline.quiet",
    "pipeline.create_pipeline",
    "trainer_module.trainer",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner",
    "tfx.orchestration.local.local_dag_runner",
)


class Zygote:
    """A process that waits, with everything loaded, for modules to run."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
        """Runs a module to its end and returns its exit code; what it writes goes to `log`."""
        row = {"module": module, "arguments": list(map(str, arguments)), "log": str(log), "environment": dict(environment or {})}
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(row) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process that loads TFX ended with code {self._process.wait()}; standard error says why"
        return int(answer)


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    """Starts one, and ends it with what it runs."""
    command = [sys.executable, "-m", "tests.support.zygote"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment, start_new_session=True
    ) as process:
        try:
            yield Zygote(process)
        finally:
            process.stdin.close()
            process.wait(30)


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        answers.write(f"{_forked(json.loads(line))}\n")
        answers.flush()


def _forked(row: dict) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        log = os.open(row["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(row["environment"])
        sys.argv = [row["module"], *row["arguments"]]
        runpy.run_module(row["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
