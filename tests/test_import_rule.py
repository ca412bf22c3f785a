"""Code points down and never sideways, no import hides, and every file says its job; import-linter and what it can't see."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.code_rules import (
    dynamic_imports,
    hidden_imports,
    import_cycle,
    imported,
    module_name,
    sources,
    undocumented,
    wrong_first_line,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "encoders", "few_shot", "pipeline", "schemas", "serving", "similarity", "stores", "studies", "trainer_module")
SOURCES = sources(ROOT, PACKAGES)
# The only places that import by a name made at run time, and why nothing simpler does.
DYNAMIC = {
    "components/__init__.py": "artifact types are import paths (decision 0007); loading them at once would load TFX",
    "components/sampling/__init__.py": "finds strategies by itself, so that a new one is one file",
    "encoders/weights.py": "asks a model hub only where one is named, and its library is nobody's dependency",
    "pipeline/cli.py": "loads the asked verb alone, so that --help is quick",
    "pipeline/commands/compile.py": "loads TFX after all that can be refused without it",
    "pipeline/commands/evaluate.py": "loads TensorFlow after all that can be refused without it",
    "pipeline/commands/predict.py": "loads TensorFlow after all that can be refused without it",
    "pipeline/commands/serve.py": "loads TensorFlow after all that can be refused without it",
    "pipeline/commands/submit.py": "loads TFX to compile, which a compiled package needs none of",
    "pipeline/commands/study.py": "loads the study that is asked, which stands above the pipeline",
    "similarity/contract.py": "loads ScaNN, and with it TensorFlow, only where an index needs it",
}


@pytest.mark.parametrize("path", SOURCES)
def test_a_file_says_its_job_on_its_first_line(path):
    assert wrong_first_line(SOURCES[path]) == ""


@pytest.mark.parametrize("path", SOURCES)
def test_what_is_public_has_a_docstring(path):
    assert undocumented(SOURCES[path]) == []


@pytest.mark.parametrize("path", SOURCES)
def test_no_import_hides_in_a_function(path):
    assert hidden_imports(SOURCES[path]) == []


def test_only_listed_files_import_by_a_name_made_at_run_time():
    assert {path for path, source in SOURCES.items() if dynamic_imports(source)} == set(DYNAMIC)


def test_no_modules_import_each_other_in_a_ring():
    by_name = {module_name(path): source for path, source in SOURCES.items()}
    graph = {name: imported(source, frozenset(by_name)) for name, source in by_name.items()}
    assert sum(map(len, graph.values())) > len(graph)
    assert import_cycle(graph) == []


def test_the_program_needs_no_test_and_no_benchmark():
    others = sources(ROOT, ("tests", "benchmarks"))
    modules = frozenset({"tests", "benchmarks", *map(module_name, others)})
    assert {path: found for path, source in SOURCES.items() if (found := imported(source, modules))} == {}


def lint_imports(folder):
    """Runs import-linter with this repository's contracts on the packages in `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def made_up_packages(folder, **extra):
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("")
        (folder / package / "made_up.py").write_text(extra.get(package, ""))
    for server in ("model_server", "similarity_server"):
        (folder / "serving" / f"{server}.py").write_text(extra.get(server, ""))


def test_allowed_imports_pass(tmp_path):
    made_up_packages(
        tmp_path, pipeline="import trainer_module.made_up, components.made_up", components="import similarity, stores, schemas"
    )
    done = lint_imports(tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("package", "line", "contract"),
    [
        ("schemas", "import numpy", "schemas is plain Python"),
        ("schemas", "import stores.made_up", "Code points down, never sideways"),
        ("similarity", "import stores.made_up", "Code points down, never sideways"),
        ("similarity", "import tensorflow", "few_shot, similarity and stores run where TensorFlow isn't"),
        ("stores", "import apache_beam", "few_shot, similarity and stores run where TensorFlow isn't"),
        ("components", "import trainer_module.made_up", "The model crosses as a SavedModel: no stage imports what made it"),
        ("components", "import pipeline.made_up", "Code points down, never sideways"),
        ("trainer_module", "import components.made_up", "Code points down, never sideways"),
        ("pipeline", "import studies.made_up", "Code points down, never sideways"),
        ("serving", "import trainer_module.made_up", "The model crosses as a SavedModel: no stage imports what made it"),
        ("serving", "import components.made_up", "Code points down, never sideways"),
        ("similarity_server", "import tensorflow", "The similarity server knows no TensorFlow and no model server"),
        ("similarity_server", "import serving.model_server", "The similarity server knows no TensorFlow and no model server"),
    ],
)
def test_a_made_up_violation_is_caught(tmp_path, package, line, contract):
    made_up_packages(tmp_path, **{package: line})
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout
