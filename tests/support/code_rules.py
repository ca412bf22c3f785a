"""Checks the rules for code that linters don't know, on source text, so that the checks can be tried on made-up files."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_GENERATED = ("_pb2", "_pb2_grpc")
_DYNAMIC = ("import_module", "__import__")


def sources(root: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Returns the source of every Python file in the packages that people write, by its path relative to `root`."""
    files = sorted(path for package in packages for path in (root / package).rglob("*.py") if not path.stem.endswith(_GENERATED))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in files}


def hidden_imports(source: str) -> list[int]:
    r"""Returns the lines of imports inside functions.

    >>> hidden_imports("import a\ndef f():\n    if a:\n        from b import c\n")
    [4]
    """
    lines = {
        inner.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, _FUNCTIONS)
        for inner in ast.walk(node)
        if isinstance(inner, (ast.Import, ast.ImportFrom))
    }
    return sorted(lines)


def dynamic_imports(source: str) -> list[int]:
    r"""Returns the lines that import by a name made at run time.

    >>> dynamic_imports("import importlib\nx = importlib.import_module('a')\ny = __import__('b')\n")
    [2, 3]
    """
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {id(call): getattr(call.func, "attr", None) or getattr(call.func, "id", None) for call in calls}
    return sorted(call.lineno for call in calls if names[id(call)] in _DYNAMIC)


def imported(source: str, modules: frozenset[str]) -> set[str]:
    r"""Returns which of `modules` a source imports by name.

    >>> sorted(imported("import a.b\nfrom a import c, x\n", frozenset({"a", "a.b", "a.c"})))
    ['a', 'a.b', 'a.c']
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & modules) | ({node.module} if members - modules else set())
    return found & modules


def import_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Returns modules that import each other in a ring, the first one again at the end; empty where there is none.

    >>> import_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}})
    ['b', 'c', 'b']
    """
    done: set[str] = set()
    for start in sorted(graph):
        waiting: list[tuple[str, Iterator[str]]] = [(start, iter(sorted(graph[start])))]
        while waiting:
            name, rest = waiting[-1]
            path = [module for module, _ in waiting]
            following = next((module for module in rest if module not in done and module != name), None)
            if following is None:
                done.add(name)
                waiting.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            else:
                waiting.append((following, iter(sorted(graph.get(following, ())))))
    return []


def module_name(path: str) -> str:
    """Returns the dotted name of a file.

    >>> module_name("a/b.py"), module_name("a/__init__.py")
    ('a.b', 'a')
    """
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def wrong_first_line(source: str) -> str:
    r"""Returns what is wrong with a file's first line, which says its single job; empty where nothing is.

    >>> wrong_first_line("import os\n")
    'no docstring'
    """
    text = ast.get_docstring(ast.parse(source), clean=False)
    if text is None:
        return "no docstring"
    if not source.startswith('"""'):
        return "the docstring doesn't start on the first line"
    return "" if text.splitlines()[0].strip() else "the first line is empty"


def undocumented(source: str) -> list[str]:
    r"""Returns the public functions, classes and methods of public classes without a docstring.

    >>> undocumented("def f(): ...\ndef _g(): ...\nclass A:\n    'a'\n    def h(self): ...\n")
    ['f', 'A.h']
    """
    return list(_undocumented(ast.parse(source), ""))


def _undocumented(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in parent.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node, f"{prefix}{node.name}.")
