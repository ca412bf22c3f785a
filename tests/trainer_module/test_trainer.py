"""Runs `run_fn` twice: the second round starts from the first, with other words and another tree."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from few_shot.acceptance import ASK, decide
from few_shot.acceptance_file import PROMISED, read_acceptance
from schemas.errors import SettingsError
from schemas.features import CATEGORICAL, TEXT, Feature, FeatureConfig
from tests.support.examples import example
from tests.trainer_module.catalogue import changed_taxonomy, products, taxonomy
from tests.trainer_module.rounds import analysed, files_of, training_config, transform
from trainer_module.acceptance import subtrees
from trainer_module.trainer import run_fn
from trainer_module.tree import tree_of

pytestmark = pytest.mark.slow

CONFIG = FeatureConfig((Feature("title", TEXT, ("title",)), Feature("brand", CATEGORICAL, ("brand",), dimensions=3)))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("old"), products(80), taxonomy())


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    tree = changed_taxonomy()
    rows = [{**row, "title": row["title"].replace("Nice", "Lovely")} for row in products(60, seed=1, tree=tree)]
    return prepare(tmp_path_factory.mktemp("new"), rows, tree)


@pytest.fixture(scope="module")
def first(old, tmp_path_factory):
    return run(old, tmp_path_factory.mktemp("first") / "model")


def prepare(root, rows, tree):
    analysed(root, CONFIG, rows)
    transform(root, CONFIG, [example(row).SerializeToString() for row in rows], root / "transformed")
    return root, training_config(root, CONFIG, tree)


def run(given, out: Path, hyperparameters=None, **changes) -> Path:
    root, config = given
    run_fn(
        FnArgs(
            train_files=files_of(root / "transformed"),
            transform_graph_path=str(root),
            serving_model_dir=str(out),
            hyperparameters=hyperparameters,
            custom_config={**config, **changes},
        )
    )
    return out


def weights(model: Path):
    extra = model / "assets.extra"
    content = json.loads((extra / "warm_start.json").read_text(encoding="utf-8"))
    return {name: (value, content["axes"][name]) for name, value in np.load(extra / "warm_start.npz").items()}, content["names"]


NO_STEP = {"parameters": {"embedding_size": 8, "learning_rate": 1e-6}, "phases": [{"epochs": 0.01, "rule_based": 0.5, "exclusive": 0.5}]}


def test_a_second_round_starts_where_the_first_ended_by_name(first, new, tmp_path, caplog):
    caplog.set_level(logging.INFO, "trainer_module")
    second = run(new, tmp_path / "second", baseline=str(first), **NO_STEP)
    assert "warm_start carried=0." in caplog.text
    before, old_names = weights(first)
    after, new_names = weights(second)
    compared = 0
    for name, (value, axes) in after.items():
        shared = [np.arange(size) for size in value.shape]
        theirs = list(shared)
        for k, axis in enumerate(axes):
            if axis:
                both = [token for token in new_names[axis] if token in old_names[axis]]
                shared[k] = np.array([new_names[axis].index(token) for token in both])
                theirs[k] = np.array([old_names[axis].index(token) for token in both])
        np.testing.assert_allclose(value[np.ix_(*shared)], before[name][0][np.ix_(*theirs)], atol=1e-4, err_msg=name)
        compared += value[np.ix_(*shared)].size
    assert compared > 300
    assert "title:wellies" in old_names["column"]
    assert {"title:lovely", "title:hats"} <= set(new_names["column"]) - set(old_names["column"])
    assert tf.saved_model.load(str(second)).signatures["serving_default"](examples=tf.constant([b""]))


def test_the_same_seed_writes_the_same_weights_and_predictions(old, first, tmp_path):
    second = run(old, tmp_path / "second")
    for name, (value, _) in weights(first)[0].items():
        np.testing.assert_array_equal(value, weights(second)[0][name][0], err_msg=name)
    assert (first / "assets.extra" / "hyperparameters.json").read_bytes() == (second / "assets.extra" / "hyperparameters.json").read_bytes()


def test_an_exported_model_decides_by_the_policy_beside_it(old, tmp_path):
    phases = [{"epochs": 1, "rule_based": 1.0, "exclusive": 0.0}]
    out = run(old, tmp_path / "out", family="few_shot", phases=phases, acceptance={"precision": 0.5, "confidence": 0.5, "folds": 2})
    acceptance = read_acceptance(out / "assets.extra" / "acceptance.json")
    assert acceptance.state == PROMISED and acceptance.policy.promised == 0.5 and acceptance.answers > 40
    signatures = tf.saved_model.load(str(out)).signatures
    records = tf.constant([example(row).SerializeToString() for row in products(200, seed=3)])
    found = {name: value.numpy() for name, value in signatures["serving_default"](examples=records).items()}
    tree = taxonomy()
    logits = np.log(signatures["score_all"](examples=records)["exclusive"].numpy())
    expected = decide(logits, subtrees(tree_of(tree), tree), acceptance.policy)
    nodes = np.where(expected.nodes == ASK, "", np.array(tree.ids)[np.maximum(expected.nodes, 0)])
    assert (found["accepted_node"].astype(str) == nodes).mean() > 0.99  # One at a threshold may go either way.
    assert {b"accept"} <= set(found["decision"]) and ((found["decision"] == b"ask") == (found["accepted_node"] == b"")).all()


@pytest.mark.parametrize(("too_few", "winner", "compared"), [(0, "few_shot", {"linear", "few_shot"}), (1, "linear", set())])
def test_families_are_compared_from_the_number_of_answers_on(old, tmp_path, monkeypatch, too_few, winner, compared):
    monkeypatch.setattr("trainer_module.fitting.MIN_VALIDATION", 5)  # Else nothing is held out of so few answers.
    answers = sum("answer_node" in row for row in products(80))
    about, used = {}, {}

    def noted(served, folder, manifest, chosen, acceptance):
        """Stands for the export, which takes longer than all the rest and hears what was decided."""
        about.update(manifest)
        used.update(chosen)

    monkeypatch.setattr("trainer_module.trainer.export", noted)
    monkeypatch.setattr("trainer_module.trainer.save_weights", lambda folder, family, network, names: about.update(weights=family))
    # Untaught, the linear family is as good as chance; few_shot learns answers all the same.
    run(old, tmp_path / "out", family="linear", compare_with=["few_shot"], compare_above=answers + too_few, **NO_STEP)
    assert used["fit"]["num_answers"] == answers
    assert (used["family"], used["comparison"]["winner"], set(used["comparison"]["scores"])) == (winner, winner, compared)
    assert used["comparison"]["num_judged"] == 0 if too_few else used["comparison"]["num_judged"] >= 5
    assert about["family"] == about["weights"] == winner


def test_tuned_values_lie_over_the_settings(old, tmp_path):
    out = run(old, tmp_path / "out", hyperparameters={"space": [], "values": {"embedding_size": 5, "refit": False}})
    used = json.loads((out / "assets.extra" / "hyperparameters.json").read_text())
    assert (used["parameters"]["embedding_size"], used["parameters"]["refit"], used["parameters"]["batch_size"]) == (5, False, 32)
    assert used["seed"] == 0
    assert [phase["epochs"] for phase in used["phases"]] == [2, 6]
    assert used["fit"]["num_answers"] > 40


def test_settings_that_cannot_be_used_are_refused_before_anything_is_written(old, tmp_path):
    with pytest.raises(SettingsError, match="model.family: 'forest' is unknown"):
        run(old, tmp_path / "out", family="forest")
    with pytest.raises(SettingsError, match="unknown hyper-parameter 'embed'"):
        run(old, tmp_path / "out", parameters={"embed": 3})
    assert not (tmp_path / "out").exists()
