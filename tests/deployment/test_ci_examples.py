"""Proves that the CI examples use commands and options there are, and keep secrets off command lines."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from pipeline.cli import VERBS, build_parser
from tests.support.manifests import documents

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
(WORKFLOW,) = documents(ROOT / "docs" / "ci" / "github-actions.yaml")
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
SCRIPTS = {
    "github-actions.yaml": "\n".join(step["run"] for step in STEPS if "run" in step),
    "submit.sh": (ROOT / "docs" / "ci" / "submit.sh").read_text(encoding="utf-8"),
}


def commands(name, program):
    """Yields the words of each call of a program, also inside $( )."""
    for line in re.sub(r"\\\n\s*", " ", SCRIPTS[name]).splitlines():
        found = re.search(rf"(?:^|\$\()\s*{program} ([^)|]*)", line.strip())
        if found and not line.lstrip().startswith("#"):
            yield shlex.split(found[1])


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_call_of_the_program_is_understood(name):
    calls = list(commands(name, r"\.venv/bin/aisle"))
    assert {words[0] for words in calls} == {"compile", "submit"}
    for words in calls:
        assert words[0] in VERBS
        build_parser(words[0]).parse_args(words)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_make_target_and_script_is_there(name):
    targets = {words[0] for words in commands(name, "make")}
    assert {"check", "test", "image", "manifests-check"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    for script in re.findall(r"scripts/[\w.]+", SCRIPTS[name]):
        assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_a_shell_script_that_parses(name):
    said = subprocess.run(["bash", "-n"], input=SCRIPTS[name], text=True, capture_output=True, check=False)
    assert said.returncode == 0, said.stderr


def test_secrets_come_by_the_environment_only():
    for name, script in SCRIPTS.items():
        assert "${{" not in script, name  # Text that GitHub pastes into a script can be somebody else's.
        assert not re.search(r"--(token|cookie|password)[ =]", script), name


def test_the_environment_of_the_workflow_is_what_the_program_reads():
    read = (ROOT / "pipeline" / "commands" / "submit.py").read_text() + (ROOT / "scripts" / "image.sh").read_text()
    for job in WORKFLOW["jobs"].values():
        for name in job.get("env", {}):
            assert name in read


def test_the_workflow_has_least_rights_and_fixed_actions():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in STEPS if "uses" in step)
    assert WORKFLOW["jobs"]["submit"]["needs"] == "check"


def test_what_is_compiled_is_what_is_submitted():
    for name in SCRIPTS:
        (made,) = {
            build_parser("compile").parse_args(words).output for words in commands(name, r"\.venv/bin/aisle") if words[0] == "compile"
        }
        sent = {
            str(build_parser("submit").parse_args(words).package) for words in commands(name, r"\.venv/bin/aisle") if words[0] == "submit"
        }
        assert sent == {str(made)}
