"""A process is killed at random moments while it changes an index: nothing acknowledged is lost, nothing is half there."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from similarity.live_index import LiveIndex
from tests.similarity.catalogue import write_built

ROOT = Path(__file__).resolve().parents[2]
KILLS = 6


def acknowledged_until_killed(folder, first, moment_s, after_compaction):
    """Runs the writer, kills it so long after its first acknowledgement or compaction, and returns the groups it acknowledged."""
    pointer, until = (folder / "current.json").read_bytes(), time.monotonic() + 60
    command = [sys.executable, "-W", "ignore", "-m", "tests.similarity.killed_writer", str(folder), str(first), "4"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as process:
        said = process.stdout.read(1)
        while after_compaction and (folder / "current.json").read_bytes() == pointer and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(moment_s)
        os.killpg(process.pid, signal.SIGKILL)  # With it what it started, as a power cut would.
        said += process.stdout.read()
    return [line for line in said.decode().split("\n")[:-1] if line]


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path):
    folder, rng = tmp_path / "live", random.Random(7)
    LiveIndex.create(folder, write_built(tmp_path / "built")).close()
    kept, compactions = [], set()
    for kill in range(KILLS):
        kept += acknowledged_until_killed(folder, 1_000_000 * kill, rng.uniform(0.0, 0.5), after_compaction=kill % 3 == 2)
        with LiveIndex.open(folder, compact_above=0) as live:
            compactions.add(live.status().base)
            for group in kept:
                nodes = [found and found.node_id for found in (live.find(f"{group}/{letter}") for letter in "abc")]
                assert nodes == ["n1", None, "n5"], f"kill {kill}: group {group} of {len(kept)}"
            others = {name.rpartition("/")[0] for name in _new_products(live)} - set(kept)
            assert all(live.find(f"{group}/a") and live.find(f"{group}/c") and not live.find(f"{group}/b") for group in others)
    assert len(kept) > KILLS
    assert len(compactions) > 1, "no compaction was ever finished, so none was tested"


def _new_products(live):
    """Returns the ids of all products the writer added."""
    everything = live.search([[1.0] * 16], live.status().num_products)
    return [name for name in everything.ids[0].tolist() if "/" in name]
