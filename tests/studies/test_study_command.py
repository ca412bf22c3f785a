"""`aisle study` on a real catalogue folder: the pipeline's front, campaigns over processes, resuming, and the report."""

import contextlib
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.scored_pool import read_scored_pool
from few_shot.learner import learn
from pipeline.cli import main
from pipeline.commands.run import run_in_child
from pipeline.plan import plan_run
from pipeline.progress import Progress
from studies.front import front_settings
from studies.frozen_catalogue import load_catalogue, save_catalogue
from studies.result_lines import read_lines
from tests.studies.catalogues import frozen_catalogue, write_case

REFERENCE = """
import json, sys
for seed in range(int(sys.argv[sys.argv.index("--seeds") + 1])):
    for budget in (20,):
        print(json.dumps(dict(case="c", strategy="random", seed=seed, answers=budget, nodes_seen=3, accuracy=0.3, hierarchical_f1=0.4,
                              macro_f1=0.2, seconds=0.1)), flush=True)
"""


def aisle(*words):
    """Runs the program and returns exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A catalogue folder that is never read, and what stands for its frozen catalogue."""
    folder = tmp_path_factory.mktemp("frozen")
    save_catalogue(frozen_catalogue(), folder)
    return ("--case", folder, "--frozen", folder)


def without_times(lines):
    return sorted(
        json.dumps({name: value for name, value in line.items() if not name.endswith("seconds")}, sort_keys=True) for line in lines
    )


def test_a_study_gives_points_tables_page_and_plot_and_costs_nothing_again(frozen, tmp_path):
    out, script = tmp_path / "a.jsonl", tmp_path / "reference.py"
    script.write_text(REFERENCE)
    words = ("study", "replay", *frozen, "--strategies", "default", "random", "--budgets", 0, 20, "--seeds", 2, "--out", out)
    code, tables, said = aisle(*words, "--reference", script, "--reference-seeds", 2)
    assert code == 0, said
    lines = read_lines(out)
    assert len(lines) == 2 * 2 * 2 + 2
    wanted = ("case", "strategy", "seed", "answers", "nodes_seen", "accuracy", "hierarchical_f1", "macro_f1", "seconds")
    assert all(set(wanted) <= line.keys() for line in lines)
    assert re.search(r"^reference random +0\.4000 ± 0\.0000$", tables, re.MULTILINE)
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "a.jsonl.html", "a.jsonl.png", "reference.py"}
    assert " left" in said

    before = out.read_bytes()
    code, again, said = aisle(*words, "--reference", script, "--reference-seeds", 2)
    assert (code, out.read_bytes(), again) == (0, before, tables)
    assert "seed" not in said
    code, from_lines, _ = aisle("study", "report", out)
    assert (code, from_lines) == (0, tables)


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_ends_with_the_same_points(frozen, tmp_path):
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    words = ("study", "replay", *frozen, "--budgets", 0, 20, 60, "--seeds", 2)
    assert aisle(*words, "--out", whole)[0] == 0
    lines = whole.read_bytes().splitlines(keepends=True)
    killed.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    code, _, said = aisle(*words, "--out", killed)
    assert code == 0, said
    assert killed.read_bytes().startswith(b"".join(lines[:3]))
    assert without_times(read_lines(killed)) == without_times(read_lines(whole))


def is_gone(group):
    """Returns whether every process of a group ends within ten seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_ctrl_c_stops_a_study_and_all_it_started(frozen, tmp_path):
    out = tmp_path / "a.jsonl"
    words = ["study", "replay", *frozen, "--seeds", 200, "--budgets", 0, 100, "--out", out]
    command = [sys.executable, "-m", "pipeline.cli", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as study:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and not (out.exists() and out.read_bytes()):
            time.sleep(0.1)
        os.killpg(study.pid, signal.SIGINT)
        _, said = study.communicate(timeout=30)
        assert study.returncode == 130
        assert "Traceback" not in said
        assert "stopped by the user" in said
    assert is_gone(study.pid)
    assert read_lines(out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strategies", "margn"), "strategy 'margn' is unknown"),
        (("--reference", "/nowhere/reference.py"), "--reference: /nowhere/reference.py isn't a file"),
    ],
)
def test_what_can_not_be_is_said_in_one_line(frozen, tmp_path, words, message):
    code, _, said = aisle("study", "replay", *frozen, "--budgets", 0, "--seeds", 1, "--out", tmp_path / "a.jsonl", *words)
    assert code in (1, 2)
    assert message in said.splitlines()[-1]


@pytest.mark.parametrize("words", [("--wrong", "2"), ("--budgets", "-1"), ("--batch", "0"), ("--budgets", "some")])
def test_options_out_of_range_are_refused(frozen, tmp_path, words):
    with pytest.raises(SystemExit) as refused:
        aisle("study", "replay", *frozen, "--out", tmp_path / "a.jsonl", *words)
    assert refused.value.code == 2


def test_a_folder_without_gold_is_refused_before_anything_runs(tmp_path):
    case = write_case(tmp_path / "case")
    (case / "gold.tsv").unlink()
    code, _, said = aisle("study", "replay", "--case", case, "--out", tmp_path / "a.jsonl", "--work", tmp_path / "work")
    assert code != 0
    assert "there is no gold.tsv" in said
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_replay_without_answers_scores_to_the_bit_what_the_pipeline_scores(tmp_path):
    case, work = write_case(tmp_path / "case"), tmp_path / "work"
    words = (
        "study",
        "replay",
        "--case",
        case,
        "--work",
        work,
        "--set",
        "statistics.enabled=false",
        "--seeds",
        1,
        "--out",
        tmp_path / "a.jsonl",
    )
    code, _, said = aisle(*words, "--budgets", 0)
    assert code == 0, said
    (replayed,) = read_lines(tmp_path / "a.jsonl")
    plan = plan_run(front_settings(case, work, None, ["statistics.enabled=false"]))
    paths = run_in_child(plan, Progress(io.StringIO(), live=False), until="PoolScorer")["paths"]
    served = json.loads((Path(paths["CategoryEvaluator.evaluation"]) / "metrics.json").read_text())["exclusive"]
    for name in ("judged", "accuracy", "hierarchical_f1", "macro_f1", "weighted_f1_over_depths"):
        assert replayed[name] == pytest.approx(served[name], abs=6e-5), name
    (folder,) = work.glob("*/frozen-*")
    offline, pool = load_catalogue(folder), read_scored_pool(Path(paths["PoolScorer.scored_pool"]))
    features, rows = offline.features, [offline.product_ids.index(product_id) for product_id in pool.product_ids.tolist()]
    model = learn(features, np.full(len(features.products.groups), -1), 0, unanswered=np.flatnonzero(~offline.is_test))
    shares = -np.sort(-model.probabilities(features.products, features.rules, np.array(rows)), axis=1)
    np.testing.assert_array_equal(pool.exclusive_probabilities, shares[:, : pool.exclusive_probabilities.shape[1]])

    code, _, said = aisle(*words, "--budgets", 0, 20)
    assert code == 0, said
    assert "TensorFlow" not in said  # The catalogue is frozen already.
    assert len(read_lines(tmp_path / "a.jsonl")) == 2


@pytest.mark.slow
def test_noise_is_written_studied_compared_and_tidied_up(tmp_path, monkeypatch):
    seen = {}

    def frozen_folder(settings, progress):
        """Stands for a minute of the front: notes what it would read, and gives the made-up catalogue, worse where it is spoilt."""
        feed = Path(settings.catalogue.folder) / "feed.jsonl.gz"
        seen[feed.parent.name] = gzip.decompress(feed.read_bytes()).splitlines()
        made = frozen_catalogue()
        known = made.features.known if feed.parent == case else []
        save_catalogue(replace(made, features=replace(made.features, known=known)), tmp_path / "work" / feed.parent.name)
        return tmp_path / "work" / feed.parent.name

    monkeypatch.setattr("studies.noise_study.frozen_folder", frozen_folder)
    case = write_case(tmp_path / "case")
    words = ("study", "noise", "--case", case, "--work", tmp_path / "work", "--budgets", 0, "--out", tmp_path / "a.jsonl")
    code, tables, said = aisle(*words, "--kinds", "all together", "no brand")
    assert code == 0, said
    lost = dict(re.findall(r"^(all together|no brand) +(-?\d+\.\d+)$", tables, re.MULTILINE))
    assert lost.keys() == {"all together", "no brand"}
    assert min(map(float, lost.values())) > 1
    clean, together, no_brand = seen.values()
    assert len(clean) == len(together) == len(no_brand) == 240
    assert [b"brand" in line for line in no_brand] == [False] * 240
    assert 0.3 < sum(json.loads(a)["title"] != json.loads(b)["title"] for a, b in zip(clean, together, strict=True)) / 240 < 0.6
    assert list((tmp_path / "work" / "noise" / "case").iterdir()) == []

    seen.clear()
    assert aisle(*words, "--kinds", "all together", "no brand")[:2] == (0, tables)
    assert seen == {}
    code, _, said = aisle(*words, "--kinds", "nonsense")
    assert code != 0
    assert "--kinds: 'nonsense' isn't a kind of noise" in said
