"""Searches toy spaces; the last test reads what the real TFX Tuner chose."""

import json

import numpy as np
import pytest

from schemas.errors import ModelError, SettingsError
from tests.trainer_module.conftest import SPACE
from tests.trainer_module.toy_data import TREE, layout, separable
from trainer_module.fitting import fit
from trainer_module.hyperparameters import hyperparameters
from trainer_module.preparation import Prepared
from trainer_module.tuner import AnswerTuner, _oracle, judged_rows, search_space, typed

CONFIG = {"family": "linear", "baseline": "", "seed": 0, "phases": [{"epochs": 2, "rule_based": 0.25, "exclusive": 0.75}]}


def prepared_on(data, **parameters):
    return Prepared(CONFIG, None, TREE, None, layout(), data, parameters)


def searched(folder, space, trials, seed=0, data=None):
    tuner = AnswerTuner(
        prepared_on(data or separable(150), batch_size=32), _oracle(search_space(space, {}), trials, seed), folder / "search"
    )
    tuner.search(verbose=0)
    return tuner


def tried(tuner):
    return [trial.hyperparameters.values for _, trial in sorted(tuner.oracle.trials.items())]


def test_a_space_that_fits_in_the_trials_is_tried_whole(tmp_path):
    tuner = searched(tmp_path, {"learning_rate": [0.001, 0.05], "refit": [True, False]}, 10)
    assert sorted((t["learning_rate"], t["refit"]) for t in tried(tuner)) == [(0.001, 0), (0.001, 1), (0.05, 0), (0.05, 1)]


def test_a_larger_space_is_drawn_from_and_the_same_for_the_same_seed(tmp_path):
    space = {"learning_rate": [0.001, 0.003, 0.01, 0.03], "tree_sharing": [0, 0.5, 1]}
    first, again, other = (searched(tmp_path / name, space, 3, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert len(tried(first)) == 3
    assert tried(first) == tried(again)
    assert tried(first) != tried(other)
    assert [t.score for t in first.oracle.get_best_trials(3)] == [t.score for t in again.oracle.get_best_trials(3)]


def test_what_learns_better_wins(tmp_path):
    best = searched(tmp_path, {"learning_rate": [1e-6, 0.05]}, 2).get_best_hyperparameters()[0]
    assert best.get_config()["values"] == {"learning_rate": 0.05}


def test_a_trial_scores_answers_no_trial_learns_from(tmp_path, monkeypatch):
    learnt = []
    monkeypatch.setattr(
        "trainer_module.tuner.fit", lambda build, data, *rest, **names: learnt.append(data) or fit(build, data, *rest, **names)
    )
    data = separable(150)
    judged, rest = judged_rows(data, 0.2, np.random.default_rng(0))
    searched(tmp_path, {"learning_rate": [0.01]}, 1, data=data)
    assert [len(part.answers) for part in learnt] == [len(rest)]
    assert not set(learnt[0].groups) & set(data.groups[judged])


def test_a_trial_that_breaks_stops_the_search_with_its_reason(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise MemoryError("out of memory")

    monkeypatch.setattr("trainer_module.tuner.fit", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        searched(tmp_path, {"learning_rate": [0.01, 0.1]}, 2)


def test_judged_groups_never_cross():
    data = separable(400, answered=0.5)
    data = data.part(np.arange(400))
    data.groups[:] = data.groups % 60
    judged, rest = judged_rows(data, 0.25, np.random.default_rng(0))
    assert not set(data.groups[judged]) & set(data.groups[rest])
    assert (data.answers[judged] >= 0).all()
    assert len(set(data.groups[judged])) == 15


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_answers_are_refused_with_the_way_out(count):
    data = separable(10, answered=0.0)
    data.answers[:count] = 1
    with pytest.raises(ModelError, match=rf"tuner: {count} answers of {count} groups are too few .* set tuner.enabled to false"):
        judged_rows(data, 0.2, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, r"tuner.space: the tuner is on, but its space is empty. Name hyper-parameters .* or set tuner.enabled to false"),
        ({"embeding_size": [1]}, r"tuner.space: unknown hyper-parameter 'embeding_size'. Did you mean 'embedding_size'\?"),
        ({"embeding_size": 1}, r"tuner.space: unknown hyper-parameter 'embeding_size'"),
        ({"dropout": 0.1}, r"tuner.space.dropout: 0.1 must be a list of values to choose from, such as \[0.0\]"),
        ({"dropout": []}, r"tuner.space.dropout: \[\] must be a list of values"),
        ({"dropout": [0.1, 2]}, r"tuner.space.dropout: 2 must be a number in \[0, 0.95\]"),
        ({"rule_loss": ["hinge"]}, r"tuner.space.rule_loss: 'hinge' is unknown"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space, message):
    with pytest.raises(SettingsError, match=message):
        search_space(space, {})


def test_values_come_back_as_the_settings_would_hold_them(tmp_path):
    space = {"refit": [False], "class_weights": ["balanced"], "dropout": [0], "embedding_size": [4]}
    values = searched(tmp_path, space, 1).get_best_hyperparameters()[0].get_config()["values"]
    assert values == {"refit": False, "class_weights": "balanced", "dropout": 0.0, "embedding_size": 4}
    assert values["refit"] is False
    assert hyperparameters(json.loads(json.dumps(values))).class_weights == "balanced"
    assert typed({"refit": 1}) == {"refit": True}


@pytest.mark.slow
def test_tfx_tuner_hands_its_choice_to_the_trainer(trained):
    best = json.loads((trained.tuned["HyperParameters"] / "best_hyperparameters.txt").read_text())["values"]
    results = json.loads((trained.tuned["TunerResults"] / "tuner_results.json").read_text())
    used = json.loads((trained.model / "assets.extra" / "hyperparameters.json").read_text())["parameters"]
    assert set(best) == set(SPACE)
    assert best["embedding_size"] == 6 != 8  # 8 is what the settings said
    assert {name: used[name] for name in best} == best
    assert used["batch_size"] == 32  # not in the space: the settings stand
    assert len(results) == 2
    assert all(0 <= row["score"] <= 1 for row in results)
    assert best["refit"] == bool(max(results, key=lambda row: row["score"])["refit"])
