"""Whatever happens to the bytes of an input, it becomes rows and refused rows, or one line that says what is wrong."""

from __future__ import annotations

import os

import pytest

from tests.fuzz.campaign import campaign
from tests.fuzz.targets import TARGETS, outcome

# `make test-fuzz` reads 10,000 inputs of each kind.
INPUTS = int(os.environ.get("AISLE_FUZZ_INPUTS", "60"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_files_that_are_damaged_are_sound_before(target, tmp_path):
    assert [outcome(target, seed, tmp_path) for seed in target.seeds] == ["used"] * len(target.seeds)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_bytes_never_crash_or_hang_a_reader(target, tmp_path):
    found = campaign(target, INPUTS, seed=1, folder=tmp_path)
    assert (found.crashes, found.hangs) == ([], [])
    assert found.inputs == INPUTS
    assert found.grown_mb < 500
