"""Proves that the peak covers what child processes hold."""

from __future__ import annotations

import subprocess
import sys

from pipeline.peak_memory import PeakMemory


def test_two_children_at_once_are_added_up():
    # In a fresh process: what this one held before, and its earlier children, would count too.
    measured = """
import subprocess, sys
from pipeline.peak_memory import PeakMemory
hold = "import time; held = bytearray(200 << 20); print(len(held), flush=True); time.sleep(1.5)"
with PeakMemory() as peak:
    children = [subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) for _ in range(2)]
    for child in children:
        child.communicate()
print(peak.megabytes)
"""
    done = subprocess.run([sys.executable, "-c", measured], capture_output=True, text=True, check=True)
    assert 400 < int(done.stdout) < 1000


def test_a_childs_child_counts_too():
    inner = "held = bytearray(300 << 20)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with PeakMemory() as peak:
        subprocess.run([sys.executable, "-c", outer], check=True)
    assert peak.megabytes > 300
