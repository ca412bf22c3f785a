"""Proves what the program does before and around its verbs: help, exit codes, one-line errors, and how fast it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import cli
from schemas.errors import AisleError, SettingsError

ROOT = Path(__file__).parents[2]
# Tests share the machine; help takes 0.1 s on a free core.
HELP_LIMIT_S = 0.5
HEAVY = ("tensorflow", "tfx", "apache_beam", "numpy", "pyarrow", "pandas", "yaml", "ml_metadata")


def aisle(*words, **environment):
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, check=False)


def test_help_is_quick():
    def seconds():
        started = time.monotonic()
        assert aisle("--help").returncode == 0
        return time.monotonic() - started

    assert min(seconds() for _ in range(3)) < HELP_LIMIT_S


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom pipeline.cli import build_parser\nbuild_parser(None).format_help()\n"
        f"sys.exit(str({set(HEAVY)} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr.strip() == "set()"


def test_help_names_every_verb_and_the_exit_codes():
    text = aisle("--help").stdout
    assert all(f"\n    {verb}" in text for verb in cli.VERBS)
    assert "Exit codes: 0 done, 1 failed, 2 wrong settings." in text


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_with_examples_and_loads_no_tensorflow(verb):
    script = (
        "import sys\nfrom pipeline.cli import build_parser\n"
        f"parser = build_parser({verb!r})\nchoices = parser._subparsers._group_actions[0].choices\n"
        f"sys.stdout.write(choices[{verb!r}].format_help())\nassert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert f"aisle {verb}" in done.stdout.partition("examples:")[2]


@pytest.mark.parametrize("words", [[], ["trian"], ["run", "--confg", "x"], ["predict"], ["labels"], ["batch", "shw"]])
def test_a_wrong_command_line_is_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: aisle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AisleError("it broke. Mend it."), 1, "error: it broke. Mend it.\n"),
        (SettingsError("x: wrong."), 2, "error: x: wrong.\n"),
        (KeyboardInterrupt(), 130, "error: stopped by the user. Start the same command again to go on.\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(error, code, said, monkeypatch, capsys):
    def fail(name):
        raise error

    monkeypatch.setattr(cli.importlib, "import_module", fail)
    assert cli.main(["check"]) == code
    assert capsys.readouterr().err == said


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(name):
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli.importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["check"])


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    store = tmp_path / "labels.sqlite"
    lines = "".join(
        f'{{"event_id": "e{n}", "answered_at_ms": 1, "labeller": "ann", "product_id": "p{n}", "kind": "skip"}}\n' for n in range(5000)
    )
    (tmp_path / "a.jsonl").write_text(lines)
    assert aisle("labels", "import", str(tmp_path / "a.jsonl"), "--store", str(store)).returncode == 0
    command = f"{sys.executable} -m pipeline.cli labels export --store {store} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert '"e0"' in done.stdout and done.stderr == ""
