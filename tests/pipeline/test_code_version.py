"""Proves that the digest of a stage's code follows the code it really uses, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import code_version as module
from pipeline.code_version import PACKAGES, ROOT, STAGES, code_files, code_version, stage_code

FILES = {
    "components/__init__.py": "",
    "components/stage.py": "from schemas.words import word\nfrom components import pages\nPAGE = 'pages/page.html'\n",
    "components/other.py": "import components.stage\n",
    "components/pages/__init__.py": "",
    "components/pages/page.html": "<p>",
    "components/pages/unused.html": "<b>",
    "components/found/__init__.py": "import importlib\nimport pkgutil\n",
    "components/found/one.py": "",
    "components/lazy.py": "WHERE = ('schemas.far:Far', 'components.found.one.function')\n",
    "schemas/__init__.py": "",
    "schemas/words.py": "import json\nword = 1\n",
    "schemas/far.py": "",
    "schemas/unused.py": "",
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module._data_files.cache_clear()
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    module._data_files.cache_clear()


def names(root, *modules):
    return {path.relative_to(root).as_posix() for path in code_files(*modules)}


def test_what_a_module_reaches_counts_with_its_packages_and_the_data_it_names(root):
    assert names(root, "components.stage") == {
        "components/__init__.py", "components/stage.py", "components/pages/__init__.py", "components/pages/page.html",
        "schemas/__init__.py", "schemas/words.py",
    }  # fmt: skip


def test_imports_at_run_time_count_by_their_name_and_by_their_package(root):
    assert {"schemas/far.py", "components/found/one.py"} <= names(root, "components.lazy")
    assert "components/found/one.py" in names(root, "components.found")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("components/stage.py", True),
        ("schemas/words.py", True),
        ("schemas/__init__.py", True),
        ("components/pages/page.html", True),
        ("components/pages/unused.html", False),
        ("components/other.py", False),
        ("schemas/unused.py", False),
    ],
)
def test_a_changed_file_changes_the_digest_where_the_stage_uses_it(root, file, changes):
    before = code_version("components.stage")
    (root / file).write_text(FILES[file] + "# changed\n")
    assert (code_version("components.stage") != before) is changes


def test_a_new_import_is_followed_at_once(root):
    before = names(root, "components.stage")
    (root / "schemas" / "words.py").write_text("from schemas import unused\n")
    assert names(root, "components.stage") - before == {"schemas/unused.py"}


def test_a_module_that_is_gone_is_noticed(root):
    with pytest.raises(FileNotFoundError, match="there is no module components.renamed"):
        code_version("components.renamed")


def test_every_stage_has_code():
    assert len({stage_code(stage) for stage in STAGES}) == len(set(STAGES.values()))


@pytest.mark.parametrize(
    ("file", "runs", "stays"),
    [
        ("components/rule_matching.py", {"LabelJoin", "RuleSnapshotGen"}, {"ProductExampleGen", "Trainer", "Transform", "Sampler"}),
        ("components/feeds/google_xml.py", {"ProductExampleGen"}, {"LabelJoin", "Trainer", "Sampler"}),
        ("components/sampling/uncertainty.py", {"Sampler"}, {"PoolScorer", "Trainer"}),
        ("trainer_module/zoo/layers.py", {"Trainer", "Tuner"}, {"Transform", "LabelJoin", "PoolScorer"}),
        ("similarity/scann_index.py", {"IndexBuilder"}, {"PoolScorer", "Trainer"}),
        ("components/evaluation/pages/report.html", {"CategoryEvaluator"}, {"Evaluator", "PoolScorer"}),
        ("schemas/text.py", {"ProductExampleGen", "LabelJoin"}, {"AnomalyGate"}),
    ],
)
def test_each_stage_depends_on_its_own_code(file, runs, stays):
    depends = {stage for stage in STAGES if ROOT / file in code_files(*STAGES[stage])}
    assert runs <= depends and not stays & depends


# What a process loads when it imports a stage's module, beside what the digest holds: nothing.
LOADED = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted(name for name in sys.modules if name.partition(".")[0] in {packages!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", ["components.label_join", "components.sampler", "components.category_evaluator", "trainer_module.trainer"]
)
def test_nothing_a_stage_loads_is_missing_from_its_digest(start):
    script = LOADED.replace("{packages!r}", repr(PACKAGES))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, start], capture_output=True, text=True, cwd=ROOT, check=True)
    files = {Path(inspect.getsourcefile(importlib.import_module(name)) or "").resolve() for name in done.stdout.split()}
    assert len(files) > 5 and files <= set(code_files(start))
