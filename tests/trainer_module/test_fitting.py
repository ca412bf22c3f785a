"""Fits toy problems: learning, early stopping, held-out groups and class weights."""

from dataclasses import replace

import numpy as np
import pytest

from few_shot.partial_answers import partial_answers
from tests.trainer_module.toy_data import NUM_CLASSES, NUM_NODES, TREE, layout, separable
from trainer_module import fitting
from trainer_module.fitting import fit, held_out, validation_scores
from trainer_module.gradient_steps import class_weights
from trainer_module.hyperparameters import Phase, hyperparameters
from trainer_module.zoo.registry import family

PHASES = [Phase(3, 1.0, 0.0), Phase(12, 0.25, 0.75)]
SMALL = {"embedding_size": 16, "batch_size": 32, "learning_rate": 0.02}


def fitted(data, seed=0, name="feed_forward", phases=PHASES, **given):
    hyper, lines = hyperparameters({**SMALL, **given}), []
    build = lambda: family(name)(layout(), TREE, hyper, np.random.default_rng(seed))  # noqa: E731
    network, report = fit(build, data, hyper, phases, seed, NUM_NODES, lines.append)
    return network, report, lines


def weights_of(network):
    return {name: variable.numpy() for name, variable in network.weights.items()}


def test_a_separable_problem_is_learnt_from_answers():
    network, report, _ = fitted(separable(300))
    scores = validation_scores(network, separable(200, seed=1), np.arange(200))
    assert scores["accuracy"] > 0.95
    assert report.num_answers == 300
    assert report.validation is None


def roots_alone(data, known):
    """Returns the data with the node of the other products known by its root alone."""
    roots = np.array([np.flatnonzero(TREE.ancestry[:, k])[0] for k in range(NUM_CLASSES)])
    rows = np.flatnonzero(~known)
    partial = partial_answers(rows, roots[None] == roots[data.answers[rows]][:, None])
    return replace(data, answers=np.where(known, data.answers, -1), partial=partial), roots


@pytest.mark.parametrize("name", ["linear", "feed_forward", "wide_and_deep"])
def test_every_family_that_takes_steps_learns_from_answers_that_name_a_root(name):
    data, fresh = separable(400, ruled=0.0), separable(300, seed=1)
    taught, roots = roots_alone(data, np.zeros(400, bool))
    network, report, _ = fitted(taught, name=name, phases=[Phase(25, 0.0, 1.0)])
    found = fitting.logits_of(network, fresh, np.arange(300)).argmax(1)
    assert (roots[found] == roots[fresh.answers]).mean() > 0.95
    assert report.num_answers == 0


def test_answers_that_name_a_root_do_not_undo_those_that_name_a_node():
    data, fresh = separable(500, ruled=0.0), separable(300, seed=1)
    taught, _ = roots_alone(data, np.arange(500) < 250)
    network, _, _ = fitted(taught, phases=[Phase(20, 0.0, 1.0)])
    assert validation_scores(network, fresh, np.arange(300))["accuracy"] > 0.9


def test_products_of_an_answered_group_are_learnt_from_unless_they_weigh_nothing():
    data, fresh = separable(400, ruled=0.0), separable(300, seed=1)
    partial = partial_answers(np.arange(400), np.eye(NUM_CLASSES, dtype=bool)[data.answers], data.answers + 1)
    taught = replace(data, answers=np.full(400, -1), partial=partial)
    scores = [
        validation_scores(fitted(taught, phases=[Phase(15, 0.0, 1.0)], question_weight=weight)[0], fresh, np.arange(300))["accuracy"]
        for weight in (5.0, 0.0)
    ]
    assert scores[0] > 0.9
    assert scores[1] < 0.5


def test_rules_alone_teach_the_exclusive_head_through_the_prior():
    network, report, _ = fitted(separable(400, answered=0.0, ruled=1.0), phases=[Phase(25, 1.0, 0.0)])
    scores = validation_scores(network, separable(200, seed=1), np.arange(200))
    assert scores["accuracy"] > 0.8
    assert (report.num_answers, report.num_rule_products) == (0, 400)


@pytest.mark.parametrize("name", ["feed_forward", "linear"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name):
    data = separable(120)
    first, again, other = (weights_of(fitted(data, seed, name)[0]) for seed in (3, 3, 4))
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key], err_msg=key)
    assert any((value != other[key]).any() for key, value in first.items())


def test_early_stopping_keeps_the_best_epoch_and_refits_for_as_long(monkeypatch):
    monkeypatch.setattr(fitting, "MIN_VALIDATION", 10)
    data, rng = separable(300), np.random.default_rng(0)
    wrong = rng.random(300) < 0.3  # noise to learn by heart, so that the last epoch isn't the best
    data = replace(data, answers=np.where(wrong, rng.integers(0, NUM_CLASSES, 300), data.answers))
    _, report, lines = fitted(data, phases=[Phase(60, 0.0, 1.0)], patience=2, validation_share=0.2)
    judged = [line for line in lines if line.startswith("epoch ")]
    assert report.epochs[0] + 2 == len(judged) < 60
    assert report.validation["accuracy"] > 0.5
    assert lines[-1].startswith("refit ")
    assert report.num_answers == 300


def test_without_a_refit_held_out_answers_are_not_learnt_from(monkeypatch):
    monkeypatch.setattr(fitting, "MIN_VALIDATION", 10)
    data = separable(300)
    network, report, _ = fitted(data, refit=False, validation_share=0.2)
    kept = held_out(data, 0.2)
    assert report.num_answers == 300 - kept.sum()
    assert validation_scores(network, data, np.flatnonzero(kept)) == pytest.approx(report.validation, abs=1e-5)


def test_few_answers_are_all_learnt_from():
    assert not held_out(separable(200), 0.5).any()


def test_held_out_groups_never_cross_and_are_about_their_share():
    data = separable(8000)
    data = replace(data, groups=data.groups // 2**50)  # about 4,000 groups
    mask = held_out(data, 0.25)
    assert not set(data.groups[mask]) & set(data.groups[~mask])
    assert 0.22 < mask.mean() < 0.28


def test_unanswered_products_are_never_held_out():
    data = separable(4000, answered=0.5)
    mask = held_out(data, 0.3)
    assert mask.any()
    assert (data.answers[mask] >= 0).all()


def test_no_products_at_all_fit_nothing():
    _, report, _ = fitted(separable(1).part(np.zeros(0, np.int64)))
    assert report.epochs == [0.0, 0.0]


def test_a_phase_nobody_can_play_is_passed_over():
    _, report, _ = fitted(separable(100, ruled=0.0))
    assert report.epochs[0] == 0
    assert report.epochs[1] > 0


@pytest.mark.parametrize("rule_loss", ["weighted", "non_negative"])
def test_either_rule_loss_learns_what_rules_say(rule_loss):
    data = separable(300, answered=0.0, ruled=0.7)
    network, report, _ = fitted(data, phases=[Phase(20, 1.0, 0.0)], rule_loss=rule_loss, class_prior=1.5)
    probabilities = 1 / (1 + np.exp(-network(data.inputs(data.covered)).rule_based.numpy()))
    truth = data.rule_targets(data.covered)
    assert probabilities[truth == 1].mean() > probabilities[truth == 0].mean() + 0.4
    assert report.num_rule_products == (300 if rule_loss == "non_negative" else len(data.covered))


def test_the_rule_head_learns_from_no_more_products_than_told():
    assert fitted(separable(300, ruled=1.0), max_rule_products=40)[1].num_rule_products == 40


def test_class_weights_are_of_mean_one_over_the_answers():
    classes = np.array([0] * 60 + [1] * 30 + [2] * 10)
    for how in ("none", "balanced", "square_root"):
        assert class_weights(classes, 4, how)[classes].mean() == pytest.approx(1, abs=1e-5)
    assert (class_weights(classes, 4, "none") == 1).all()
    balanced, root = class_weights(classes, 4, "balanced"), class_weights(classes, 4, "square_root")
    assert balanced[2] / balanced[0] == pytest.approx(6)
    assert root[2] / root[0] == pytest.approx(6**0.5)


def test_class_weights_stay_in_their_bounds():
    skewed = class_weights(np.array([0] * 100_000 + [1]), 3, "balanced")
    assert skewed.min() >= 0.1
    assert skewed.max() <= 10
    assert (class_weights(np.zeros(0, np.int64), NUM_CLASSES, "balanced") == 1).all()
