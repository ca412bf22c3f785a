"""Accept, climb or ask: promises kept over re-draws, what counts as right, and when nothing can be promised."""

import numpy as np
import pytest

from few_shot.acceptance import ASK, NEVER, AcceptancePolicy, choose_policy, decide, is_right
from few_shot.calibration import softmax
from few_shot.held_out import held_out_logits
from few_shot.subtrees import subtrees_of
from schemas.errors import ModelError
from tests.few_shot.catalogue import LEAVES, NUM_CLASSES, NUM_NODES, TOPS, ancestry, catalogue


def tree():
    """Returns the made-up tree in tree order: each top before its leaves."""
    order = np.array([node for top in range(TOPS) for node in (top, *range(TOPS + top * LEAVES, TOPS + (top + 1) * LEAVES))])
    depths = np.where(order < TOPS, 1, 2)
    return subtrees_of(ancestry()[order], depths, np.flatnonzero(depths == 2))


def drawn(num_products, rng, sharpness=4.0):
    """Returns logits that tell tops better than leaves, and classes drawn from what they say."""
    tops = np.repeat(sharpness * rng.standard_normal((num_products, TOPS)), LEAVES, axis=1)
    logits = tops + sharpness * rng.standard_normal((num_products, NUM_CLASSES))
    classes = (rng.random((num_products, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)
    return logits, classes.clip(max=NUM_CLASSES - 1)


def test_promises_are_kept_in_nearly_all_redraws_and_most_is_accepted():
    rng, kept, coverage, climbed = np.random.default_rng(0), [], [], []
    judged, truth = drawn(8000, rng)
    for _ in range(40):
        logits, classes = drawn(1500, rng)
        policy = choose_policy(logits, classes, np.arange(1500), tree(), promised=0.9)
        decisions = decide(judged, tree(), policy)
        right, accepted = is_right(decisions, tree(), truth), decisions.nodes != ASK
        kept.append(right[decisions.is_answer].mean() >= 0.9)
        coverage.append(decisions.is_answer.mean())
        climbed.append((accepted & ~decisions.is_answer).mean())
        assert right[accepted].mean() >= 0.88
    assert sum(kept) >= 0.875 * 40  # 95 in 100 are promised; 40 re-draws say so only about.
    sure, right = softmax(judged).max(axis=1), judged.argmax(axis=1) == truth
    order = np.argsort(-sure)
    best = np.flatnonzero(right[order].cumsum() / np.arange(1, len(right) + 1) >= 0.9).max() / len(right)
    assert np.mean(coverage) > 0.75 * best
    assert np.mean(climbed) > 0.05


def kept_by(policy, judged, truth):
    """Returns which products are accepted at the answer, which above it, and which of all are right."""
    decisions = decide(judged, tree(), policy)
    return decisions.is_answer, (decisions.nodes != ASK) & ~decisions.is_answer, is_right(decisions, tree(), truth)


def test_a_promise_holds_where_people_only_deny_what_is_wrong():
    rng = np.random.default_rng(5)
    (logits, classes), (judged, truth) = drawn(1500, rng), drawn(8000, rng)
    best = logits.argmax(axis=1)
    denied = best != classes
    allowed = np.where(denied[:, None], np.arange(NUM_CLASSES) != best[:, None], False)
    policy = choose_policy(logits, np.where(denied, -1, classes), np.arange(1500), tree(), promised=0.9, allowed=allowed)
    accepted, _, right = kept_by(policy, judged, truth)
    assert right[accepted].mean() >= 0.9 and accepted.mean() > 0.2
    named = np.flatnonzero(~denied)
    hopeful = choose_policy(logits[named], classes[named], named, tree(), promised=0.9)
    accepted, _, right = kept_by(hopeful, judged, truth)
    assert right[accepted].mean() < 0.8  # What leaving denials out would promise.


def test_an_answer_that_names_only_a_top_lets_the_model_climb_and_not_accept():
    rng = np.random.default_rng(6)
    (logits, classes), (judged, truth) = drawn(3000, rng), drawn(8000, rng)
    unsure = rng.random(3000) < 0.3
    allowed = np.where(unsure[:, None], np.arange(NUM_CLASSES)[None] // LEAVES == classes[:, None] // LEAVES, False)
    policy = choose_policy(logits, np.where(unsure, -1, classes), np.arange(3000), tree(), promised=0.9, allowed=allowed)
    assert policy.answer_threshold == NEVER  # Three in ten accepted answers might be wrong.
    _, above, right = kept_by(policy, judged, truth)
    assert above.mean() > 0.2 and right[above].mean() >= 0.9
    blind = choose_policy(logits, np.where(unsure, -1, classes), np.arange(3000), tree(), promised=0.9)
    assert blind.ancestor_threshold == NEVER


def test_near_duplicates_make_the_search_as_careful_as_fewer_answers():
    rng = np.random.default_rng(1)
    logits, classes = drawn(800, rng)
    alone = choose_policy(logits, classes, np.arange(800), tree(), promised=0.9)
    copies = choose_policy(np.repeat(logits, 5, axis=0), np.repeat(classes, 5), np.repeat(np.arange(800), 5), tree(), promised=0.9)
    blind = choose_policy(np.repeat(logits, 5, axis=0), np.repeat(classes, 5), np.arange(4000), tree(), promised=0.9)
    assert copies.answer_threshold == pytest.approx(alone.answer_threshold, abs=0.02)
    assert blind.answer_threshold < alone.answer_threshold - 0.02


def test_a_tolerance_accepts_more():
    logits, classes = drawn(800, np.random.default_rng(2))
    strict, lenient = (choose_policy(logits, classes, np.arange(800), tree(), promised=0.9, tolerance=each) for each in (0.0, 0.03))
    assert lenient.answer_threshold < strict.answer_threshold


@pytest.mark.parametrize("num_answers", [0, 1, 20])
def test_too_few_answers_promise_nothing_and_people_are_asked(num_answers):
    logits, classes = drawn(num_answers, np.random.default_rng(0))
    policy = choose_policy(logits, classes, np.arange(num_answers), tree())
    assert (policy.answer_threshold, policy.ancestor_threshold) == (NEVER, NEVER)
    assert (decide(drawn(50, np.random.default_rng(1))[0], tree(), policy).nodes == ASK).all()


def test_a_model_that_is_surely_wrong_is_never_accepted():
    logits, classes = drawn(2000, np.random.default_rng(0))
    policy = choose_policy(3 * logits, (classes + LEAVES) % NUM_CLASSES, np.arange(2000), tree())
    assert (decide(3 * logits, tree(), policy).nodes == ASK).all()


def test_an_answer_must_be_exact_an_ancestor_need_only_hold_the_truth():
    logits = np.full((4, NUM_CLASSES), -9.0)
    logits[0, 0] = logits[1, 1] = 9.0
    logits[2, [0, 1]] = logits[3, [0, 1]] = 5.0
    decisions = decide(logits, tree(), AcceptancePolicy(0.9, 0.95, 1.0, 0.9, 0.9))
    assert decisions.nodes.tolist() == [1, 2, 0, 0]
    assert decisions.is_answer.tolist() == [True, True, False, False]
    assert is_right(decisions, tree(), np.array([0, 0, LEAVES - 1, LEAVES])).tolist() == [True, False, True, False]
    assert not is_right(decisions, tree(), np.full(4, -1)).any()


def test_an_unsure_product_goes_to_a_person():
    decisions = decide(np.zeros((1, NUM_CLASSES)), tree(), AcceptancePolicy(0.9, 0.95, 1.0, 0.9, 0.9))
    assert decisions.nodes.tolist() == [ASK]


def test_the_probability_of_a_node_is_the_sum_over_its_subtree():
    probabilities = softmax(np.random.default_rng(0).standard_normal((7, NUM_CLASSES)))
    found = tree().sums(probabilities, np.arange(NUM_NODES))
    assert found[:, tree().inner].sum(axis=1) == pytest.approx(np.ones(7))
    assert found[:, tree().node_of] == pytest.approx(probabilities, abs=1e-6)


def test_classes_out_of_tree_order_are_refused():
    with pytest.raises(ModelError, match="node number 0 aren't next to one another"):
        subtrees_of(np.array([[1, 0, 1]]), np.array([1]), np.array([0, 0, 0]))


@pytest.mark.parametrize("asked", [{"promised": 1.0}, {"promised": 0.0}, {"confidence": 1.0}, {"tolerance": -0.1}, {"tolerance": 0.95}])
def test_a_promise_that_cannot_be_is_refused(asked):
    logits, classes = drawn(10, np.random.default_rng(0))
    with pytest.raises(ModelError, match="expected shares"):
        choose_policy(logits, classes, np.arange(10), tree(), **asked)


def test_arrays_of_different_products_are_refused():
    logits, classes = drawn(10, np.random.default_rng(0))
    with pytest.raises(ModelError, match="don't match"):
        choose_policy(logits, classes[:9], np.arange(10), tree())


def test_held_out_opinions_have_not_seen_the_answer():
    made = catalogue(num_products=400, named=0.0, useful_names=False)
    made.products.groups[1::2] = made.products.groups[::2]
    answers = made.some_answers(300)
    shuffled = np.where(answers >= 0, np.random.default_rng(1).permutation(NUM_CLASSES)[made.truth], -1)
    for said in (answers, shuffled):
        rows, logits = held_out_logits(made.frozen(), said, seed=0)
        assert rows.tolist() == np.flatnonzero(said >= 0).tolist()
        assert logits.shape == (300, NUM_CLASSES)
    noise = np.where(answers >= 0, np.random.default_rng(2).integers(0, NUM_CLASSES, 400), -1)
    rows, logits = held_out_logits(made.frozen(), noise, seed=0)
    assert (logits.argmax(axis=1) == noise[rows]).mean() < 0.15  # A model that saw them knows most of them by heart.


def test_one_answer_cannot_be_held_out():
    made = catalogue(num_products=50)
    with pytest.raises(ModelError, match="Answer more products"):
        held_out_logits(made.frozen(), made.some_answers(1), seed=0)
