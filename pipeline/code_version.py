"""Digests the code behind a stage, found by following its imports, because TFX's cache doesn't look at code behind a name."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("components", "encoders", "few_shot", "schemas", "similarity", "stores", "trainer_module")
# The modules each stage starts from; all that they reach is in the stage's digest.
STAGES: Mapping[str, tuple[str, ...]] = {
    "ProductExampleGen": ("components.product_example_gen",),
    "TaxonomySnapshotGen": ("components.snapshots",),
    "RuleSnapshotGen": ("components.snapshots",),
    "LabelSnapshotGen": ("components.snapshots",),
    "ProductSchemaGen": ("components.product_schema_gen",),
    "AnomalyGate": ("components.anomaly_gate",),
    "Encoder": ("components.encoder",),
    "LabelJoin": ("components.label_join",),
    "Transform": ("trainer_module.preprocessing",),
    "Tuner": ("trainer_module.tuner", "components.training"),
    "Trainer": ("trainer_module.trainer", "components.training"),
    "BaselineModel": ("components.baseline",),
    "BaselineLookup": ("components.baseline_lookup",),
    "Evaluator": ("components.evaluation.gate", "components.model_gate"),
    "CategoryEvaluator": ("components.category_evaluator",),
    "SmokeTester": ("components.smoke_tester",),
    "PoolScorer": ("components.pool_scorer",),
    "IndexBuilder": ("components.index_builder",),
    "NeighbourLister": ("components.neighbour_lister",),
    "PairPusher": ("components.pair_pusher",),
    "Sampler": ("components.sampler",),
}
_DIGITS = 16
# A module, a function in it, or `module:Name`.
_DOTTED = re.compile(r"\w+(\.\w+)+(:\w+)?")


def stage_code(*stages: str) -> str:
    """Returns a digest of the code that stages depend on; `STAGES` has their names."""
    return code_version(*(module for stage in stages for module in STAGES[stage]))


def code_version(*modules: str) -> str:
    """Returns a digest of modules and of all they import from this program, other imports left out.

    A file that is no code counts, too, where a module names it: a page's template belongs to the code that fills it.

    Raises:
        FileNotFoundError: a module doesn't exist, so that a renamed one can't go unnoticed.
    """
    digest = hashlib.sha256()
    for file in code_files(*modules):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(ROOT).as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:_DIGITS]


def code_files(*modules: str) -> list[Path]:
    """Returns the files `code_version` digests, in the order of their paths.

    Raises:
        FileNotFoundError: a module doesn't exist.
    """
    known = _modules(ROOT)
    missing = [module for module in modules if module not in known]
    if missing:
        raise FileNotFoundError(f"{ROOT}: there is no module {', '.join(missing)}")
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += _imported(known[module], module, known)
    files = {known[module] for module in reached}
    return sorted(files.union(*(_named_data(file) for file in files)))


def _modules(root: Path) -> dict[str, Path]:
    """Returns the file of every module of the program."""
    files = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    names = [path.relative_to(root).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for path in files]
    return dict(zip(names, files, strict=True))


def _imported(file: Path, module: str, known: Mapping[str, Path]) -> set[str]:
    """Returns the modules a file imports by statement or names in a string, for imports at run time, and all their packages."""
    names, strings = _parsed(file)
    dotted = (text.partition(":")[0] for text in strings if _DOTTED.fullmatch(text))
    found = {part for name in (module, *names, *dotted) for part in _with_parents(name)}
    if "pkgutil" in names:
        found |= {other for other in known if other.startswith(f"{module}.")}
    return found & set(known)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: end + 1]) for end in range(len(parts)))


def _named_data(file: Path) -> set[Path]:
    """Returns the files beside or below a module that it names and that are no Python."""
    names = {Path(text).name for text in _parsed(file)[1] if "." in text and "\n" not in text and len(text) < 256}
    beside = [path for path in _data_files(file.parent) if path.name in names]
    return set(beside)


@functools.cache
def _data_files(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))


def _parsed(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    return _parsed_source(file, file.stat().st_mtime_ns)


@functools.cache
def _parsed_source(file: Path, changed_ns: int) -> tuple[frozenset[str], frozenset[str]]:
    """Returns what a file imports, `from a import b` as both `a` and `a.b`, and the strings in it."""
    del changed_ns  # In the cache key only: tests change files.
    names: set[str] = set()
    strings: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    return frozenset(names), frozenset(strings)
