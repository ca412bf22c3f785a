"""Verbs, make targets, settings, files and links named in the docs are those of the program, and configurations load."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.cli import VERBS, build_parser
from schemas.settings import Settings
from schemas.settings_loader import flat_settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
}
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
FOLDERS = (
    "benchmarks",
    "components",
    "configs",
    "docs",
    "k8s",
    "locks",
    "pipeline",
    "schemas",
    "scripts",
    "similarity",
    "stores",
    "studies",
    "tests",
    "trainer_module",
)
# Keys of sections that a user names or numbers, which have no default to be found by.
NAMED_SECTIONS = ("networks.", "phases.", "encoders.", "model.parameters.")


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def slug(heading):
    """Returns the anchor that GitHub and most renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_inside_the_repository_resolves(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_folder_named_in_code_type_exists(page):
    names = re.findall(r"`((?:\w+/)[\w./-]*)`", PAGES[page])
    gone = [name for name in names if name.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and not (ROOT / name).exists()]
    assert gone == []


@pytest.mark.parametrize("page", PAGES)
def test_every_verb_and_make_target_named_exists(page):
    text = PAGES[page]
    marked = re.findall(r"`([^`\n]+)`", text)
    code = "\n".join([*marked, *re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)])
    assert set(re.findall(r"\baisle ([a-z][a-z-]+)", code)) <= set(VERBS)
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)", code)) <= TARGETS


def test_the_readme_says_what_every_verb_does():
    assert re.findall(r"^\| `aisle ([a-z-]+)` \|", PAGES["README.md"], re.MULTILINE) == list(VERBS)


def test_every_make_target_is_said_somewhere():
    pages = PAGES["README.md"] + PAGES["CONTRIBUTING.md"] + PAGES["docs/operations.md"]
    assert {target for target in TARGETS - {"help"} if f"make {target}" not in pages} == set()


def test_every_setting_named_in_code_type_exists():
    known = {key for key, _ in flat_settings(Settings())}
    sections = {key.partition(".")[0] for key in known}
    for page, text in PAGES.items():
        named = re.findall(r"(?:--set |`)([a-z_]+\.[a-z_.]+)(?:=[^`\s]*)?(?=[`\s])", text)
        wrong = {key for key in named if key.partition(".")[0] in sections and key not in known}
        files = {key for key in wrong if re.search(r"\.(py|tsv|yaml|json|jsonl|sqlite|md)$", key)}
        assert wrong - files - {key for key in wrong if key.startswith(NAMED_SECTIONS)} <= {"sampling.batch_sise"}, page


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_every_command_of_the_docs_is_understood(page):
    commands = [line.split("#")[0] for block in code_blocks(page, "bash") for line in block.splitlines()]
    commands = [shlex.split(command) for command in commands if command.startswith(".venv/bin/aisle ")]
    assert commands
    for _, verb, *words in commands:
        build_parser(verb).parse_args([verb, *words])


def test_the_configuration_of_the_readme_loads(tmp_path):
    (block,) = code_blocks("README.md", "yaml")
    (tmp_path / "shop.yaml").write_text(block, encoding="utf-8")
    settings = load_settings(tmp_path / "shop.yaml", prefix=str(tmp_path))
    assert settings.networks["first-network"].columns["title"] == "Name"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_loads(path, tmp_path):
    overrides = [f"catalogue.folder={tmp_path / 'shoes'}"] if path.name == "case.yaml" else []
    assert load_settings(path, overrides, prefix=str(tmp_path)).run.root.startswith(str(tmp_path))


def test_benchmarks_are_started_as_modules_that_exist():
    # `python benchmarks/NAME.py` puts benchmarks/ first on the path, where encoders.py hides the package of that name.
    told = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.md"), *(ROOT / "scripts").glob("*.sh"), ROOT / "Makefile"]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in told} | PAGES
    assert [name for name, text in texts.items() if re.search(r"python3?\S* (?:-\w+ \w+ )*benchmarks/", text)] == []
    named = {name for text in texts.values() for name in re.findall(r"-m benchmarks\.(\w+)", text)}
    assert named and {name for name in named if not (ROOT / "benchmarks" / f"{name}.py").exists()} == set()


def test_locks_hold_names_and_versions_only():
    for path in (ROOT / "locks").glob("*.txt"):
        wrong = [
            line for line in path.read_text(encoding="utf-8").splitlines() if not re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.+!]+", line)
        ]
        assert wrong == [], path.name


def test_both_locks_agree():
    runtime, development = (
        set((ROOT / "locks" / name).read_text(encoding="utf-8").split()) for name in ("pipeline.txt", "pipeline-dev.txt")
    )
    assert runtime <= development


def test_the_decisions_are_numbered_and_have_madrs_headings():
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    wanted = ["Context and Problem Statement", "Considered Options", "Decision Outcome", "Consequences"]
    for path in records:
        assert re.findall(r"^##+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE) == wanted, path.name
