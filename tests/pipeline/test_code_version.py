"""Proves that the digest of a stage's code follows its code."""

from __future__ import annotations

import pytest

from pipeline import code_version as module
from pipeline.code_version import code_version


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "a.py").write_text("a = 1")
    (tmp_path / "one.py").write_text("b = 1")
    return tmp_path


def test_any_changed_added_or_renamed_file_changes_it(root):
    seen = {code_version(["stage", "one.py"])}
    (root / "stage" / "a.py").write_text("a = 2")
    seen.add(code_version(["stage", "one.py"]))
    (root / "stage" / "b.py").write_text("")
    seen.add(code_version(["stage", "one.py"]))
    (root / "stage" / "b.py").rename(root / "stage" / "c.py")
    seen.add(code_version(["stage", "one.py"]))
    (root / "one.py").write_text("b = 2")
    seen.add(code_version(["stage", "one.py"]))
    assert len(seen) == 5


def test_neither_the_order_nor_other_files_matter(root):
    before = code_version(["stage", "one.py"])
    (root / "stage" / "notes.txt").write_text("x")
    assert code_version(["one.py", "stage"]) == before


def test_a_part_that_is_gone_is_noticed(root):
    with pytest.raises(FileNotFoundError):
        code_version(["renamed.py"])
    (root / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no code"):
        code_version(["empty"])
