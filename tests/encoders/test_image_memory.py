"""The most memory that decoding takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hostile_images import BAD, JPEG, LARGEST_PNG, encoded, picture

ROOT = Path(__file__).parents[2]
REFUSED = "a whole png of 40 megapixels", "a whole progressive jpeg of 26 megapixels", "a scan for each colour of 26 megapixels"


@pytest.mark.slow
def test_tiny_files_of_many_pixels_take_little_memory(tmp_path):
    small, largest = [JPEG, *[encoded(picture(80, 60), "PNG")] * 3], [LARGEST_PNG] * 3
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.decoding_memory"]
    for number, contents in enumerate((small, [BAD[name][0] for name in REFUSED], largest[:1], largest)):
        files = [tmp_path / f"{number}-{place}" for place in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        command.append(",".join(map(str, files)))
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout
    _, of_refused, of_one, of_two_more = map(int, said.split())
    # MB above what small pictures take. The largest PNG is 100 in bytes, and was 900 in floats.
    assert of_refused < 50
    assert of_one < 200
    assert of_one + of_two_more < 600
