"""`aisle study acceptance` and `aisle study advice`: lines that add up, resuming, tables, and refusals."""

import contextlib
import io
import json

import numpy as np
import pytest

from pipeline.cli import main
from schemas.errors import CatalogueError
from studies.acceptance import AcceptanceCatalogue, AcceptanceSettings, calibration_error
from studies.advice_study import back_test
from studies.frozen_catalogue import save_catalogue
from studies.result_lines import read_lines
from tests.studies.catalogues import frozen_catalogue


def aisle(*words):
    """Runs the program and returns exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


@pytest.mark.slow
def test_redraws_give_lines_that_add_up_a_table_and_are_not_computed_twice(tmp_path):
    save_catalogue(frozen_catalogue(), tmp_path / "frozen")
    words = ("study", "acceptance", "--case", tmp_path, "--frozen", tmp_path / "frozen", "--promised", "0.8", "--out", tmp_path / "a.jsonl")
    code, table, said = aisle(*words, "--budgets", 200, "all", "--seeds", 2)
    assert code == 0, said
    lines = read_lines(tmp_path / "a.jsonl")
    assert {(line["budget"], line["seed"], line["variant"]) for line in lines} == {
        (budget, seed, variant) for budget in (200, "all") for seed in (0, 1) for variant in ("80 %", "80 % less 0.5 points")
    }
    for line in lines:
        assert line["accepted_coverage"] == pytest.approx(line["answer_coverage"] + line["ancestor_coverage"], abs=2e-4)
        assert set(line["by_depth"]) == {"2"}
        assert line["by_depth"]["2"]["accepted_coverage"] == line["accepted_coverage"]
    assert max(line["accepted_coverage"] for line in lines) > 0.2
    # 598 products have a truth; 50 of them repeat another, so 200 answers leave 348 different ones to judge on.
    assert {line["judged"] for line in lines if line["budget"] == 200} == {348}

    before = (tmp_path / "a.jsonl").read_bytes()
    code, again, said = aisle(*words, "--budgets", 200, "all", "--seeds", 2)
    assert (code, again, said, (tmp_path / "a.jsonl").read_bytes()) == (0, table, "", before)
    code, _, said = aisle(*words[:-1], tmp_path / "a.jsonl", "--confidence", "0.8")
    assert code == 1
    assert "a.jsonl" in said


def test_a_catalogue_with_next_to_no_truth_is_refused():
    made = frozen_catalogue()
    made.true_nodes[5:] = -2
    with pytest.raises(CatalogueError, match="have a true node. Expected 10"):
        AcceptanceCatalogue(made, AcceptanceSettings())


def test_the_calibration_error_is_none_where_sureness_is_truth():
    logits = np.log(np.tile([0.7, 0.3], (1000, 1)))
    classes = (np.arange(1000) % 10 >= 7).astype(int)
    assert calibration_error(logits, classes, 1.0) == pytest.approx(0.0, abs=1e-6)
    assert calibration_error(logits, classes, 0.1) == pytest.approx(0.3, abs=0.01)


def campaign(seed, *scores):
    """Returns lines of a campaign at doubling budgets."""
    return [
        {"case": "c", "strategy": "default", "variant": "", "seed": seed, "answers": 50 * 2**n, "budget": 50 * 2**n, "accuracy": score}
        for n, score in enumerate(scores)
    ]


def test_advice_is_tested_on_what_came_after_it(tmp_path):
    lines = [*campaign(0, 0.5, 0.6, 0.68, 0.74), *campaign(1, 0.5, 0.6)]
    (tested,) = back_test(lines, "accuracy")
    assert (tested.seed, tested.answers, tested.more, round(tested.came, 4)) == (0, 200, 200, 0.06)
    assert tested.low < tested.gain < tested.high
    assert 0.02 < tested.gain < 0.1

    (tmp_path / "replay.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, table, _ = aisle("study", "advice", tmp_path / "replay.jsonl")
    assert code == 0
    assert table.splitlines()[1].split()[:5] == ["c", "200", "200", "1", "0.0600"]
    code, text, _ = aisle("study", "advice", tmp_path / "replay.jsonl", "--json")
    assert json.loads(text)["answers"] == 200


def test_advice_without_long_campaigns_is_refused(tmp_path):
    (tmp_path / "replay.jsonl").write_text("".join(json.dumps(line) + "\n" for line in campaign(0, 0.5, 0.6)))
    code, _, said = aisle("study", "advice", tmp_path / "replay.jsonl")
    assert code == 2
    assert "no campaign has accuracy at four budgets" in said
