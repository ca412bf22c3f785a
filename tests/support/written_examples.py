"""Runs examples of the docs as they are written, but for the ports: shell lines with curl or grpcurl, and Python."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# grpcurl isn't on every machine: what stands in for it asks the server what its methods take, as grpcurl does.
_STAND_IN = [sys.executable, "-W", "ignore", "-m", "tests.support.reflected_call"]


@dataclass(frozen=True)
class Examples:
    """The examples of one section of a page.

    Attributes:
        lines: the words of each shell line.
        code: blocks of Python.
    """

    lines: list[list[str]]
    code: list[str]

    def asked_with(self, program: str) -> list[list[str]]:
        """Returns the shell lines that begin with a program."""
        return [words for words in self.lines if words[0] == program]


def examples_of(page: str, heading: str, places: Mapping[str, str]) -> Examples:
    """Reads a section, with all below it.

    Args:
        page: relative to the repository.
        heading: of the section, marks included.
        places: what stands in the examples, to what it is here.
    """
    level = len(heading) - len(heading.lstrip("#"))
    text = (ROOT / page).read_text(encoding="utf-8").split(f"{heading}\n")[1]
    text = re.split(rf"^#{{1,{level}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]
    for written, real in places.items():
        text = text.replace(written, real)
    shell = "\n".join(_blocks(text, "bash"))
    return Examples([shlex.split(line) for line in shell.splitlines() if line], _blocks(text, "python"))


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def answer_to(words: list[str]) -> Any:
    """Runs a shell line of curl or grpcurl and returns the JSON it writes."""
    program, *rest = words
    starts = {"curl": ["curl", "--silent", "--show-error"], "grpcurl": ["grpcurl"] if shutil.which("grpcurl") else _STAND_IN}
    command = [*starts[program], *rest]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def said_by(code: str, folder: Path = ROOT) -> list[str]:
    """Runs a block of Python in a folder and returns the lines it prints."""
    command, environment = [sys.executable, "-W", "ignore", "-c", code], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
