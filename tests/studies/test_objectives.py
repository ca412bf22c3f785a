"""`aisle study objectives` on a small catalogue through the pipeline's own front, and how its answers are drawn."""

import contextlib
import io

import numpy as np
import pytest

from pipeline.cli import main
from studies.objectives import drawn_answers, with_names
from studies.result_lines import read_lines
from tests.studies.catalogues import write_case
from tests.trainer_module.toy_data import NUM_CLASSES, separable
from trainer_module.node_texts import NodeBags
from trainer_module.rule_phrases import no_phrases


def aisle(*words):
    """Runs the program and returns exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def test_answers_are_about_different_products_and_near_duplicates_share_them():
    data = separable(200, answered=0.5)
    data.groups[:] = np.repeat(np.arange(100), 2)
    data.answers[1::2] = data.answers[::2]
    found = drawn_answers(data, 20, seed=1)
    assert len(np.unique(data.groups[found >= 0])) == 20 and (found[1::2] == found[::2]).all()
    assert (found[found >= 0] == data.answers[found >= 0]).all()
    assert (drawn_answers(data, 20, seed=1) == found).all() and (drawn_answers(data, 20, seed=2) != found).any()
    assert (drawn_answers(data, 10_000, seed=1) >= 0).sum() == (data.answers >= 0).sum()


def test_names_join_as_answered_products_without_rules():
    data = separable(50)
    bags = data.bag[:NUM_CLASSES], data.bag[NUM_CLASSES : 2 * NUM_CLASSES]
    numbers = np.zeros((NUM_CLASSES, 2), np.float32)
    taught = with_names(data, NodeBags(*bags, numbers, numbers, no_phrases(bags[0].shape[1])))
    assert taught.answers[50:].tolist() == [*range(NUM_CLASSES)] * 2
    assert taught.bag.shape[0] == len(taught.groups) == len(taught.categories) == 50 + 2 * NUM_CLASSES
    assert taught.rules[50:].nnz == 0 and not set(taught.groups[50:]) & set(data.groups)


def test_a_way_that_there_is_not_is_refused(tmp_path):
    code, _, said = aisle("study", "objectives", "--case", tmp_path, "--out", tmp_path / "a.jsonl", "--ways", "osmosis")
    assert code == 2 and "--ways: 'osmosis' is unknown. Known: feed_forward, off;" in said


@pytest.mark.parametrize("text", ["mean_teacher=1", "mean_teacher_weight=a", "mean_teacher_weight"])
def test_a_hyper_parameter_that_can_not_be_is_refused(tmp_path, text):
    code, _, said = aisle("study", "objectives", "--case", tmp_path, "--out", tmp_path / "a.jsonl", "--parameters", text)
    assert code == 2 and "--parameters" in said and "mean_teacher" in said


@pytest.mark.slow
def test_ways_are_judged_with_and_without_names(tmp_path):
    case, out = tmp_path / "shop", tmp_path / "a.jsonl"
    write_case(case)
    words = ("study", "objectives", "--case", case, "--work", tmp_path / "work", "--out", out, "--budgets", 20, "--seeds", 1)
    ways = ["feed_forward, pre-training", "few_shot, prior"]
    code, table, said = aisle(*words, "--ways", *ways, "--workers", 1, "--rule-products", 100, "--set", "statistics.enabled=false")
    assert code == 0, said
    lines = read_lines(out)
    assert {(line["strategy"], line["variant"]) for line in lines} == {(way, names) for way in ways for names in ("", "with names")}
    assert all(0 <= line["hierarchical_f1"] <= 1 and line["answers"] == 20 for line in lines)
    assert "few_shot, prior" in table
    more = (
        "--ways",
        ways[0],
        "--workers",
        1,
        "--rule-products",
        100,
        "--set",
        "statistics.enabled=false",
        "--parameters",
        "mean_teacher_weight=1",
    )
    code, table, said = aisle(*words, *more)
    assert code == 0, said
    assert {line["variant"] for line in read_lines(out)[4:]} == {"mean_teacher_weight=1", "with names, mean_teacher_weight=1"}
