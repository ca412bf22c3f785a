"""Workers hand over what they find, and none is left behind, however a study ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.errors import AisleError, SamplingError
from studies.workers import in_workers


def prepare(shared):
    def run_task(task):
        if task == "refuse":
            raise SamplingError("this can't be sampled")
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        for part in range(2):
            yield shared, task, part, os.environ["OPENBLAS_NUM_THREADS"], os.getpid()

    return run_task


def test_every_task_is_run_once_and_its_parts_come_in_order():
    found = list(in_workers(prepare, "shared", list(range(5)), 2))
    assert sorted(number for number, part in found if part is None) == list(range(5))
    parts = [(number, *part[:4]) for number, part in found if part is not None]
    assert sorted(parts) == [(task, "shared", task, part, "1") for task in range(5) for part in range(2)]
    assert {part[4] for _, part in found if part is not None}.isdisjoint({os.getpid()})
    assert multiprocessing.active_children() == []


def test_no_task_needs_no_worker():
    assert list(in_workers(prepare, None, [], 2)) == []


def test_an_error_of_a_task_reaches_the_person_and_ends_all_workers():
    with pytest.raises(SamplingError, match="this can't be sampled"):
        list(in_workers(prepare, None, ["refuse", 1, 2, 3], 2))
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_said_with_a_way_out():
    with pytest.raises(AisleError, match="a worker ended with code -9.*Lower --workers"):
        list(in_workers(prepare, None, ["die"], 1))
    assert multiprocessing.active_children() == []


def test_stopping_in_the_middle_ends_all_workers():
    running = in_workers(prepare, None, list(range(50)), 2)
    next(running)
    running.close()
    assert multiprocessing.active_children() == []


PROGRAM = """
import signal
import sys
from studies.workers import in_workers
from tests.studies.test_workers import prepare
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs don't hear it.
try:
    sys.stdout.write("starting\\n")
    sys.stdout.flush()
    list(in_workers(prepare, None, list(range(100_000)), 2))
except KeyboardInterrupt:
    sys.exit(130)
"""


def children_of(process):
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("delay_s", [0.02, 0.1, 0.2])
def test_a_worker_that_is_starting_says_nothing_of_ctrl_c(delay_s):
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as program:
        assert program.stdout.readline() == "starting\n"
        deadline_s = time.monotonic() + 20
        while len(children_of(program.pid)) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.001)
        time.sleep(delay_s)
        for child in children_of(program.pid):  # They hear it first: the program would end them before they said anything.
            os.kill(child, signal.SIGINT)
        time.sleep(0.5)
        os.killpg(program.pid, signal.SIGINT)
        _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (130, "")
