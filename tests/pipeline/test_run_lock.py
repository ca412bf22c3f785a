"""Proves that one run at a time works on a root, that whoever finds it busy learns who is there, and that no lock stays behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.run_lock import LOCK, lock_holder, run_lock
from schemas.errors import StoreError

ROOT = Path(__file__).parents[2]
# Takes the lock as a run does, and hands it to a process of its own that outlives it by some seconds.
HOLD = """
import subprocess, sys, time
from pathlib import Path
from pipeline.run_lock import run_lock
with run_lock(Path(sys.argv[1]), ["aisle", "run", "--config", "shop.yaml"], print) as lock:
    if len(sys.argv) > 2:
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({sys.argv[2]})"], pass_fds=(lock,), stdout=subprocess.DEVNULL)
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def hold(tmp_path):
    """Returns a function that starts another process which holds the lock, and waits until it does."""
    started = []

    def call(*words):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(process)
        assert process.stdout is not None
        while process.stdout.readline() != "held\n":
            assert process.poll() is None
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def take(root, **options):
    said = []
    with run_lock(root, ["aisle", "run"], said.append, **options):
        pass
    return said


def test_a_second_run_is_refused_at_once_and_told_who_is_there(tmp_path, hold):
    holder = hold()
    started_s = time.monotonic()
    with pytest.raises(StoreError) as error:
        take(tmp_path)
    assert time.monotonic() - started_s < 1
    assert re.fullmatch(
        rf"{tmp_path}: another run is going on here: process {holder.pid} on {re.escape(socket.gethostname())}, "
        r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: aisle run --config shop.yaml. "
        r"Wait until it is done, or stop it, or set run.root to another folder.",
        str(error.value),
    )
    found = lock_holder(tmp_path)
    assert found is not None and found.pid == holder.pid


def test_the_lock_of_a_killed_run_is_taken_over_with_a_note(tmp_path, hold):
    holder = hold()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    said = take(tmp_path)
    assert len(said) == 1 and said[0].startswith(f"an earlier run ended before it was done (process {holder.pid} on ")
    assert take(tmp_path) == [] and lock_holder(tmp_path) is None


def test_what_a_killed_program_left_running_is_waited_for(tmp_path, hold):
    holder = hold("1.5")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    started_s = time.monotonic()
    said = take(tmp_path)
    assert 0.5 < time.monotonic() - started_s < 30
    assert said[0].startswith("waiting for what a killed run left behind to end (process ") and len(said) == 2


def test_what_does_not_end_is_not_waited_for_for_ever(tmp_path, hold):
    holder = hold("8")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with pytest.raises(StoreError, match="another run is going on here"):
        take(tmp_path, wait_s=0.3)


def test_a_run_that_ends_leaves_nothing_to_be_said(tmp_path):
    assert take(tmp_path / "new" / "root") == []
    with pytest.raises(KeyError), run_lock(tmp_path, ["aisle"], print):
        raise KeyError
    assert take(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "\0" * 50])
def test_a_half_written_lock_is_no_obstacle(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    assert take(tmp_path) == []


def test_a_dead_process_of_another_machine_is_not_taken_for_gone(tmp_path):
    with run_lock(tmp_path, ["aisle"], print):
        row = json.loads((tmp_path / LOCK).read_text())
        (tmp_path / LOCK).write_text(json.dumps({**row, "pid": 2**22 + 1, "host": "elsewhere"}))
        started_s = time.monotonic()
        with pytest.raises(StoreError, match="on elsewhere"):
            take(tmp_path)
        assert time.monotonic() - started_s < 1


def test_a_root_that_cannot_be_made_is_named():
    with pytest.raises(StoreError, match=r"^/proc/aisle: can't be written: .* Set run.root to a folder you may write to\.$"):
        take(Path("/proc/aisle"))


def test_the_lock_names_this_process_while_it_is_held(tmp_path):
    with run_lock(tmp_path, ["aisle", "run", "--set", "a b"], print):
        row = json.loads((tmp_path / LOCK).read_text())
    assert (row["pid"], row["host"], row["command"]) == (os.getpid(), socket.gethostname(), "aisle run --set 'a b'")
