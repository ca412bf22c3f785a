"""What is promised is chosen on fair answers that no judging model has seen, for every family alike."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from few_shot.acceptance import answers_needed, decide, is_right
from few_shot.acceptance_file import OFF, PROMISED, TOO_FEW
from few_shot.partial_answers import partial_answers
from schemas.label_event import IS, NOT, RETRACT, LabelEvent
from schemas.settings import AcceptanceSettings
from tests.support.shop import shop_taxonomy
from tests.trainer_module.test_fitting import fitted
from tests.trainer_module.toy_data import NUM_CLASSES, TREE, separable
from trainer_module.acceptance import Promise, choose_acceptance, held_out_logits, picked_groups, promise_of, subtrees
from trainer_module.fitting import logits_of
from trainer_module.hyperparameters import Phase
from trainer_module.training_data import group_numbers
from trainer_module.zoo import few_shot

RANGES = subtrees(TREE, shop_taxonomy())
PHASES = [Phase(8, 0.25, 0.75)]
NOBODY = np.zeros(0, np.int64)
FAMILIES = ["feed_forward", "few_shot"]
PROMISE = Promise(0.75, 0.9, 2)


def noisy(count, seed, wrong=0.1):
    """Returns separable products of which a tenth has an answer at random, which nothing tells."""
    data, rng = separable(count, seed=seed), np.random.default_rng(seed + 100)
    drawn = rng.integers(0, NUM_CLASSES, count)
    return replace(data, answers=np.where(rng.random(count) < wrong, drawn, data.answers))


def chosen(data, name="few_shot", promise=PROMISE, picked=NOBODY, refit=None):
    refit = refit or (lambda taught: fitted(taught, name=name, phases=PHASES)[0])
    network = refit(data)
    return network, choose_acceptance(network, data, RANGES, promise, picked, 0, refit, lambda: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_its_promise_on_products_it_has_not_seen(name):
    network, found = chosen(noisy(500, 0), name)
    fresh = noisy(1500, 1)
    decisions = decide(logits_of(network, fresh, np.arange(1500)), RANGES, found.policy)
    right = is_right(decisions, RANGES, fresh.answers)
    assert (found.state, found.answers, found.picked) == (PROMISED, 500, 0)
    assert decisions.is_answer.mean() == pytest.approx(found.answer_coverage, abs=0.12) and found.answer_coverage > 0.5
    assert right[decisions.is_answer].mean() >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_denials_of_audited_products_keep_a_family_from_promising_too_much(name):
    data, fresh = noisy(600, 0, 0.4), noisy(1500, 1, 0.4)
    network, named = chosen(data, name, Promise(0.9, 0.9, 2))
    best = logits_of(network, data, np.arange(600)).argmax(1)
    denied = best != data.answers
    partial = partial_answers(np.flatnonzero(denied), np.arange(NUM_CLASSES) != best[denied][:, None])
    found = chosen(replace(data, answers=np.where(denied, -1, data.answers), partial=partial), name, Promise(0.9, 0.9, 2))[1]
    assert (found.answers, named.answers) == (600, 600)
    decisions = decide(logits_of(network, fresh, np.arange(1500)), RANGES, found.policy)
    right = is_right(decisions, RANGES, fresh.answers)
    assert not decisions.is_answer.any() or right[decisions.is_answer].mean() >= 0.9


def test_held_out_products_are_those_denied_too_and_no_model_has_heard_of_it():
    data = noisy(200, 0)
    allowed = np.arange(NUM_CLASSES) != data.answers[:50, None]
    denying = replace(data, answers=np.where(np.arange(200) < 50, -1, data.answers), partial=partial_answers(np.arange(50), allowed))
    seen = []

    def refit(taught):
        seen.append(taught)
        return fitted(taught, phases=PHASES)[0]

    network = fitted(denying, phases=PHASES)[0]
    asked, _ = held_out_logits(network, denying, np.arange(200), 2, 0, refit, lambda: None)
    assert asked.tolist() == list(range(200))
    first, second = (set(np.flatnonzero(taught.answers >= 0)) | set(taught.partial.rows) for taught in seen)
    assert not first & second and first | second == set(range(200))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_held_out_opinion_does_not_know_its_answer(name):
    data = separable(160, ruled=0.0)
    # Nothing tells products apart, so only a model that has seen an answer can give it.
    lone = replace(data, bag=sp.csr_matrix(data.bag.shape, dtype=np.float32), groups=np.arange(160))
    network = fitted(lone, name=name, phases=PHASES)[0]
    rows = np.arange(0, 160, 2)
    refit = lambda taught: fitted(taught, name=name, phases=PHASES)[0]  # noqa: E731
    asked, logits = held_out_logits(network, lone, rows, 2, 0, refit, lambda: None)
    assert asked.tolist() == rows.tolist() and logits.shape == (80, NUM_CLASSES)
    assert (logits.argmax(1) == lone.answers[rows]).mean() < 0.4


def test_with_thousands_of_answers_the_learner_keeps_the_opinions_it_has(monkeypatch):
    network, data = fitted(noisy(400, 0), name="few_shot", phases=PHASES)[0], noisy(400, 0)
    rows = np.arange(0, 400, 2)
    _, learnt_again = held_out_logits(network, data, rows, 3, 0, None, lambda: None)
    monkeypatch.setattr(few_shot, "_MANY_ANSWERS", 300)
    asked, logits = held_out_logits(network, data, rows, 3, 0, None, lambda: None)
    assert asked.tolist() == rows.tolist()
    right, right_again = ((found.argmax(1) == data.answers[rows]).mean() for found in (logits, learnt_again))
    assert not np.array_equal(logits, learnt_again) and right == pytest.approx(right_again, abs=0.1)
    monkeypatch.setattr(few_shot, "held_out_logits", None)  # Nothing is learnt again.
    assert np.array_equal(held_out_logits(network, data, rows, 3, 0, None, lambda: None)[1], logits)


def test_near_duplicates_are_one_answer_and_picked_ones_none():
    data = noisy(400, 0)
    doubled = replace(data, groups=np.repeat(np.arange(200), 2))
    assert chosen(doubled)[1].answers == 200
    found = chosen(doubled, picked=np.arange(150))[1]
    assert (found.answers, found.picked) == (50, 150)


def test_with_too_few_fair_answers_nothing_is_fitted_and_everything_is_asked():
    data, needed = noisy(400, 0), answers_needed(0.95, 0.95)
    refits = []
    refit = lambda taught: refits.append(taught) or fitted(taught, phases=PHASES)[0]  # noqa: E731
    found = chosen(data, promise=Promise(0.95, 0.95, 5), picked=data.groups[needed - 1 :], refit=refit)[1]
    assert (found.state, found.answers, found.needed, len(refits)) == (TOO_FEW, needed - 1, needed, 1)
    assert not decide(np.eye(NUM_CLASSES) * 99, RANGES, found.policy).is_answer.any()
    assert chosen(data, promise=Promise(0.0), refit=refit)[1].state == OFF


def test_a_trainer_without_a_word_about_it_promises_nothing():
    assert promise_of({}).precision == 0
    settings = AcceptanceSettings()
    assert promise_of({"acceptance": vars(settings)}) == Promise(settings.precision, settings.confidence, settings.folds)


def test_answers_are_picked_where_a_strategy_asked_and_no_audit_did():
    def event(number, group, kind=IS, node="boots", retracts="", **shown):
        return LabelEvent(f"e{number}", number, "ann", f"p{number}", kind, node, retracts, group, shown=shown)

    events = [
        event(0, "by strategy", stream="strategy"),
        event(1, "by audit", stream="audit"),
        event(2, "imported"),
        event(3, "by both", stream="strategy"),
        event(4, "by both", stream="audit"),
        event(5, "taken back", stream="strategy"),
        event(6, "taken back", RETRACT, "", "e5"),
        event(7, "", stream="strategy"),
        event(8, "denied", NOT, stream="strategy"),
    ]
    assert picked_groups(events).tolist() == group_numbers(sorted(["by strategy", "denied"])).tolist()
