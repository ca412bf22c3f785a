"""Proves what goes into an image, and that its tag follows its content; building one is `make image`."""

import fnmatch
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COPIED = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()]
ALLOWED = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what images are made of."""
    folder = tmp_path_factory.mktemp("tree")
    for name in (*COPIED, "Dockerfile", ".dockerignore", "scripts/image.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def named(tree, *words, **environment):
    said = subprocess.run(
        ["bash", "scripts/image.sh", *(words or ("--name-only", "steps"))],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
    )
    return said.stdout.strip() if said.returncode == 0 else said.stderr


def test_the_same_content_has_the_same_tag_wherever_and_whenever(tree):
    first = named(tree)
    assert re.fullmatch(r"aisle/steps:[0-9a-f]{16}", first)
    for path in tree.rglob("*.py"):
        path.touch()
    (tree / "components" / "__pycache__").mkdir()
    (tree / "components" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (tree / "notes.md").write_text("not in any image")
    assert named(tree, LC_ALL="C.UTF-8") == first


@pytest.mark.parametrize("name", ["components/pair_pusher.py", "locks/pipeline.txt", "Dockerfile", "schemas/products.pbtxt"])
def test_a_changed_byte_is_another_tag(tree, name):
    first, before = named(tree), (tree / name).read_bytes()
    (tree / name).write_bytes(before + b"\n")
    assert named(tree) != first
    (tree / name).write_bytes(before)
    assert named(tree) == first


def test_base_and_registry_are_part_of_the_name(tree):
    plain = named(tree)
    assert named(tree, REGISTRY="registry.example.com/shop/") == f"registry.example.com/shop/{plain}"
    assert named(tree, BASE="localhost/base:1") != plain


def test_an_unknown_target_is_refused_with_those_there_are(tree):
    said = named(tree, "--name-only", "stepz")
    assert said == "error: Dockerfile has no target 'stepz'. Known: environment program steps.\n"


def test_everything_copied_is_there_is_let_through_and_is_in_the_tag():
    assert len(COPIED) > 5
    assert [name for name in COPIED if not (ROOT / name).exists()] == []
    assert [name for name in COPIED if not any(fnmatch.fnmatch(name, pattern) for pattern in ALLOWED)] == []
    sources = re.search(r"^sources=\((.*)\)$", (ROOT / "scripts" / "image.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(COPIED) <= set(sources[1].split())


def test_every_package_of_the_program_is_in_the_image():
    packages = re.search(r"^PACKAGES = \[(.*)\]$", (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', packages[1])) <= set(COPIED)


def test_nothing_reaches_a_build_unless_it_is_named():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")][0] == "*"
    assert set(ALLOWED) == set(COPIED)


def test_no_image_runs_as_root():
    targets = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    parts = re.findall(r"--from=(\w+)", DOCKERFILE)
    final = [text for text in targets if text.split()[2] not in parts]
    assert final
    for text in final:
        user = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
        assert user, text
        assert not user[-1].startswith(("0", "root"))
