"""A study's file survives interruptions, and never mixes points that don't compare."""

import json

import pytest

from schemas.errors import StoreError
from studies.result_lines import ResultFile, read_lines


def line(budget=0, **changed):
    return {"case": "c", "strategy": "s", "variant": "", "seed": 0, "budget": budget, "answers": budget, "made_by": "m"} | changed


def test_lines_are_kept_once(tmp_path):
    with ResultFile(tmp_path / "deep" / "a.jsonl") as file:
        file.append(line(0))
        file.append(line(0, answers=7))
        file.append(line(100))
    assert read_lines(tmp_path / "deep" / "a.jsonl") == [line(0), line(100)]


@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_a_line_cut_off_at_any_place_is_removed_and_computed_again(tmp_path, kept):
    path = tmp_path / "a.jsonl"
    whole, torn = json.dumps(line(0)) + "\n", json.dumps(line(100))
    path.write_text(whole + torn[:kept])
    with ResultFile(path) as file:
        assert file.lines == [line(0)]
        file.append(line(100))
    assert read_lines(path) == [line(0), line(100)]


@pytest.mark.parametrize("text", ["{", "[]", '{"case": "c"}', "[" * 100_000, "\x00"])
def test_what_is_no_line_is_refused_with_its_number(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(line(0)) + "\n" + text + "\n")
    with pytest.raises(StoreError, match=r"a\.jsonl:2: .*Remove the line"):
        read_lines(path)


def test_points_of_other_code_are_not_mixed(tmp_path):
    with ResultFile(tmp_path / "a.jsonl") as file:
        file.append(line(0))
        file.check_made_by("m", ["s"])
        file.check_made_by("other", ["t"])
        with pytest.raises(StoreError, match=r"a\.jsonl:1: other code, settings or content made this: m, now other\. Name another --out"):
            file.check_made_by("other", ["s"])


def test_two_studies_never_write_one_file(tmp_path):
    with ResultFile(tmp_path / "a.jsonl"), pytest.raises(StoreError, match="another study is writing here"):
        ResultFile(tmp_path / "a.jsonl")
    with ResultFile(tmp_path / "a.jsonl") as file:
        assert file.lines == []


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(StoreError, match="can't be written"):
        ResultFile(tmp_path)
