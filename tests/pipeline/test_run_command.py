"""Proves how `aisle run` deals with its child process: what it says, how it fails, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.commands import run
from tests.pipeline.shop import write_shop

ROOT = Path(__file__).parents[2]
DONE = '{"event": "result", "results": {"paths": {}}}'


@pytest.fixture
def child(tmp_path, monkeypatch, capsys):
    """Returns a function that runs `aisle run --json` with a script in place of the run's process."""
    monkeypatch.setenv("AISLE_PREFIX", str(tmp_path / "var"))

    def call(script, *words):
        program = tmp_path / "child.sh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(run.sys, "executable", str(program))
        code = main(["run", "--config", str(write_shop(tmp_path / "shop")), "--json", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def errors_in(text):
    return [line for line in text.splitlines() if line.startswith("error: ")]


def test_results_are_one_json_object_with_time_memory_and_log(child):
    code, said, _ = child(f"echo 'a library chats'; echo '{DONE}'")
    assert code == 0
    found = json.loads(said)
    assert found["seconds"] >= 0 and found["peak_rss_mb"] > 0
    assert Path(found["paths"]["log"]).is_file()


def test_an_error_of_the_child_is_the_only_error_line_with_its_exit_code(child):
    event = json.dumps({"event": "error", "message": "worst shops: A", "ours": True, "exit_code": 2})
    code, said, errors = child(f"echo '{event}'; exit 1")
    assert (code, said, errors_in(errors)) == (2, "", ["error: worst shops: A"])


def test_a_bug_in_the_child_names_the_log(child):
    event = json.dumps({"event": "error", "message": "KeyError: x", "ours": False, "exit_code": 1})
    code, _, errors = child(f"echo '{event}'; exit 1")
    assert code == 1
    assert errors_in(errors)[0].startswith("error: KeyError: x. The log says more: ")


def test_a_child_that_dies_shows_the_end_of_its_log(child, tmp_path):
    code, _, errors = child("echo 'about to die' >&2; kill -ABRT $$")
    assert code == 1
    log = next((tmp_path / "var" / "tiny" / "logs").glob("*.log"))
    assert errors_in(errors) == [f"error: the run's process ended by SIGABRT. The end of its log is above, all of it in {log}"]
    assert "about to die" in errors.splitlines()
    assert "most often for want of memory" in child("kill -KILL $$")[2]
    assert "ended with code 3 and no result" in child("exit 3")[2]


def test_what_the_child_started_ends_with_it(child, tmp_path):
    pid_file = tmp_path / "pid"
    child(f"sleep 600 & echo $! > {pid_file}; echo '{DONE}'")
    assert is_gone(int(pid_file.read_text()))


def test_a_root_that_cannot_be_written_is_named(child):
    code, _, errors = child(
        "exit 0", "--set", "run.root=/proc/aisle", "--set", "push.folder=/tmp/x", "--set", "labels.store=/tmp/none.sqlite"
    )
    assert code == 1
    assert errors_in(errors) == [
        "error: /proc/aisle: can't be written: No such file or directory. Set run.root to a folder you may write to."
    ]


def test_wrong_settings_start_nothing(child, tmp_path):
    code, _, errors = child("exit 0", "--set", "sampling.strategy=marign")
    assert code == 2
    assert errors_in(errors)[0].startswith(
        "error: --set sampling.strategy=marign: sampling.strategy 'marign' is unknown. Did you mean 'margin'?"
    )
    assert not (tmp_path / "var").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopping_the_program_stops_the_run(tmp_path, number, code):
    config = write_shop(tmp_path / "shop")
    command = [sys.executable, "-m", "pipeline.cli", "run", "--config", str(config)]
    environment = os.environ | {"AISLE_PREFIX": str(tmp_path / "var")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as program:
        assert program.stderr is not None
        while "loading TensorFlow" not in program.stderr.readline():
            pass
        child = next_child(program.pid)
        program.send_signal(number)
        said = program.stderr.read()
    assert program.returncode == code
    assert is_gone(child)
    if number != signal.SIGKILL:
        assert errors_in(said) == ["error: stopped by the user. Start the same command again to go on."]


def next_child(parent):
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.05)
    raise AssertionError("the run started no process")


def is_gone(pid, limit_s=60):
    """Returns whether a process ends in time; one nobody has waited for yet counts as ended."""
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_too_many_refused_rows_are_one_error_line_that_names_the_worst_shops(tmp_path):
    config = write_shop(tmp_path / "shop")
    command = [sys.executable, "-m", "pipeline.cli", "run", "--config", str(config), "--set", "ingest.max_refused_share=0.01"]
    environment = os.environ | {"AISLE_PREFIX": str(tmp_path / "var")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    found = errors_in(done.stderr)
    assert len(found) == 1 and "1 of 5 rows (20.0%) were refused" in found[0] and "Worst: " in found[0]
    assert done.stderr.splitlines()[-1] == found[0]
    assert "ProductExampleGen" in done.stderr.splitlines()[-2] and done.stderr.splitlines()[-2].endswith("failed")
    quarantine = found[0].partition("Every refused row is in ")[2].partition(".jsonl")[0] + ".jsonl"
    assert len(Path(quarantine).read_text().splitlines()) == 1
