"""What the few-answers learner promises: a use for every answer, none needed, and no collapse."""

from dataclasses import replace

import numpy as np
import pytest

from few_shot.evidence import LinearEvidence, NodeTexts, Products
from few_shot.frozen import FrozenFeatures
from few_shot.learner import ANSWERS, EXPERT, LEARNT, SEEN, FewShotParameters, _Learner, _quick, learn
from few_shot.rule_evidence import NoRules
from tests.few_shot.catalogue import NUM_CLASSES, Catalogue, OneRule, catalogue

NOBODY = np.full(600, -1)


@pytest.fixture(scope="module")
def shop():
    """600 products, half of which say their node's name; all tests share them, so that none may change them."""
    made = catalogue()
    for array in (made.truth, made.products.latent, made.products.groups):
        array.setflags(write=False)
    return made


@pytest.fixture(scope="module")
def by_names(shop):
    """Accuracy without any answer."""
    return shop.accuracy(shop.learn(NOBODY))


@pytest.fixture(scope="module", params=[lambda made: made, Catalogue.self_trained], ids=["names", "self_trained"])
def known_by(request):
    """What the learner makes of a catalogue: names alone, or what products taught each other too, as in a shop."""
    return request.param


@pytest.fixture(scope="module")
def known(shop, known_by):
    """The shop as the learner knows it."""
    return known_by(shop)


@pytest.fixture(scope="module")
def before_answers(known):
    """The node that each product of it gets without any answer."""
    return placed(known, NOBODY)


def placed(made, answers):
    """Returns the class that each product gets from these answers."""
    return made.learn(answers).logits(made.products, NoRules(NUM_CLASSES), np.arange(len(made.truth))).argmax(axis=1)


def test_names_alone_place_products_that_say_them(by_names):
    assert by_names > 0.4  # one in two says its node's name; chance is one in twenty


def test_more_answers_are_better(shop, by_names):
    found = [np.mean([shop.accuracy(shop.learn(shop.some_answers(count, seed))) for seed in range(3)]) for count in (40, 120, 400)]
    assert by_names < found[0] < found[1] < found[2]
    assert found[2] > 0.97


def test_rules_are_evidence_before_anybody_answers(shop, by_names):
    said = np.where(np.random.default_rng(0).random(600) < 0.5, shop.truth, -1)
    rules = OneRule(said)
    assert shop.accuracy(shop.learn(np.full(600, -1), rules), rules) > by_names + 0.1


def test_answers_teach_how_far_to_trust_a_rule(shop):
    wrong = OneRule(np.full(600, 3))
    before, after = (shop.learn(shop.some_answers(count), wrong).trusts["rules: node"] for count in (0, 200))
    assert after < 0.6 * before


def test_answers_overrule_a_wrong_rule(shop):
    wrong = OneRule((shop.truth + 7) % NUM_CLASSES)
    misled, corrected = (shop.accuracy(shop.learn(shop.some_answers(count), wrong), wrong) for count in (0, 200))
    without = shop.accuracy(shop.learn(shop.some_answers(200)))
    assert corrected > misled
    assert corrected > without - 0.02


@pytest.mark.parametrize("node", [0, 7, 15])
@pytest.mark.parametrize("count", [1, 3, 30])
def test_answers_of_one_node_alone_do_not_make_it_the_answer_to_everything(known, before_answers, node, count):
    answers, right = NOBODY.copy(), before_answers == known.truth
    answers[np.flatnonzero(known.truth == node)[:count]] = node
    found = placed(known, answers) == known.truth
    assert found.mean() > right.mean() - 0.05
    assert found[known.truth != node].mean() > right[known.truth != node].mean() - 0.02


def test_one_answer_a_node_does_not_collapse(known, before_answers):
    answers = NOBODY.copy()
    for node in range(NUM_CLASSES):
        answers[np.flatnonzero(known.truth == node)[0]] = node
    assert (placed(known, answers) == known.truth).mean() > (before_answers == known.truth).mean() - 0.02


def test_wrong_answers_cost_no_more_than_their_share(known):
    answers = known.some_answers(200)
    wrong = np.flatnonzero(answers >= 0)[:20]
    noisy = answers.copy()
    noisy[wrong] = (answers[wrong] + 1) % NUM_CLASSES
    assert known.accuracy(known.learn(noisy)) > known.accuracy(known.learn(answers)) - 0.1


def test_answers_of_which_half_are_wrong_are_better_than_none(known, before_answers):
    answers, rng = known.some_answers(200), np.random.default_rng(1)
    wrong = rng.permutation(np.flatnonzero(answers >= 0))[:100]
    noisy, fewer = answers.copy(), answers.copy()
    noisy[wrong], fewer[wrong] = (answers[wrong] + rng.integers(1, NUM_CLASSES, 100)) % NUM_CLASSES, -1
    found = known.accuracy(known.learn(noisy))
    assert found > (before_answers == known.truth).mean() + 0.03
    assert found > known.accuracy(known.learn(fewer)) - 0.12


def test_contradicting_answers_about_equal_products_are_survived(known_by):
    # Of the first 60 of 200 answered products there is a twin; one of each two got a wrong answer, now the one, now the other.
    made, pairs, rng = catalogue(), np.arange(60), np.random.default_rng(0)
    offers = np.r_[np.arange(600), pairs]
    products = Products(made.products.bag[offers], made.products.latent[offers], made.products.groups[offers])
    twinned = known_by(replace(made, products=products, truth=made.truth[offers]))
    right = made.truth[pairs]
    wrong, swapped = (right + rng.integers(1, NUM_CLASSES, 60)) % NUM_CLASSES, rng.random(60) < 0.5
    fewer = np.r_[np.full(60, -1), made.truth[60:200], np.full(400 + 60, -1)]
    answers = fewer.copy()
    answers[pairs], answers[600:] = np.where(swapped, wrong, right), np.where(swapped, right, wrong)
    without, found = placed(twinned, fewer), placed(twinned, answers)
    assert (found == twinned.truth).mean() > 0.85
    assert (found == twinned.truth)[200:600].mean() > (without == twinned.truth)[200:600].mean() - 0.03
    assert ((found[pairs] == right) | (found[pairs] == wrong)).mean() > 0.9


def test_a_taxonomy_without_useful_names_still_learns_from_answers(known_by):
    plain = known_by(catalogue(useful_names=False))
    none, some, many = (plain.accuracy(plain.learn(plain.some_answers(count))) for count in (0, 60, 300))
    assert none < 0.2
    assert some > 0.6
    assert many > 0.95


def test_names_that_mislead_are_overruled_by_answers(known_by):
    # As in another language, in which the word for one thing happens to be the name of another.
    shop, others = catalogue(), np.roll(np.arange(NUM_CLASSES), 7)
    of_name, of_latent = shop.known
    known = [replace(of_name, on_bag=of_name.on_bag[:, others]), replace(of_latent, on_latent=of_latent.on_latent[:, others])]
    texts = NodeTexts(shop.node_texts.paths[others], shop.node_texts.names[others])
    misled = known_by(replace(shop, known=known, node_texts=texts))
    none, some, many = (misled.accuracy(misled.learn(misled.some_answers(count))) for count in (0, 60, 300))
    assert none < 0.1
    assert some > 0.6
    assert many > 0.97


@pytest.mark.parametrize("count", [0, 1, 600])
def test_a_tree_of_one_node_is_learnt(known, count):
    of_one = [
        LinearEvidence(
            evidence.name,
            evidence.start,
            on_bag=None if evidence.on_bag is None else evidence.on_bag[:, :1],
            on_latent=None if evidence.on_latent is None else evidence.on_latent[:, :1],
        )
        for evidence in known.known
    ]
    texts = NodeTexts(known.node_texts.paths[:1], known.node_texts.names[:1])
    features = FrozenFeatures(known.products, np.ones((1, 1), np.float32), of_one, texts, NoRules(1))
    model = learn(features, np.where(np.arange(600) < count, 0, -1), 0)
    assert (model.probabilities(features.products, features.rules, np.arange(600)) == 1).all()
    assert np.isfinite(list(model.trusts.values())).all()


def test_the_same_seed_gives_the_same_model(shop):
    first, second = (shop.learn(shop.some_answers(100)) for _ in range(2))
    for name in ("on_bag", "on_latent", "on_rules", "bias"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.trusts == second.trusts


@pytest.mark.parametrize("count", [0, 1, 100])
def test_the_tables_say_what_the_evidence_says(shop, count):
    answers = shop.some_answers(count)
    rules = OneRule(np.where(np.arange(600) % 3 == 0, shop.truth, -1))
    learner = _Learner(shop.frozen(rules), FewShotParameters(), 0)
    rows = np.flatnonzero(answers >= 0)
    learnt = learner.learnt(rows, answers[rows])
    trusts = np.random.default_rng(0).normal(size=len(learner.names))
    asked = np.arange(50)
    evidence = learner.evidence(asked, learnt) @ trusts.astype(np.float32)
    tables = learner.compiled(learnt, trusts, learner.no_opinions()).logits(shop.products, rules, asked)
    # The regression's evidence has its highest score taken off, which no softmax sees.
    np.testing.assert_allclose(evidence - evidence.mean(1, keepdims=True), tables - tables.mean(1, keepdims=True), atol=2e-4)


def test_every_trust_has_a_name(shop):
    trusts = shop.learn(shop.some_answers(50)).trusts
    assert set(trusts) == {"title ~ name", "latent ~ name", *LEARNT}
    assert trusts[EXPERT] > 0


def test_a_catalogue_without_rules_has_no_rule_evidence(shop):
    assert NoRules(NUM_CLASSES).of(np.arange(3)).shape == (3, NUM_CLASSES, 0)
    assert shop.learn(shop.some_answers(10)).on_rules.shape == (NUM_CLASSES, 0)


def test_a_few_more_answers_with_the_trusts_there_are_give_nearly_the_same_model(shop):
    before, answers = shop.learn(shop.some_answers(100)), shop.some_answers(110)
    anew, kept = shop.learn(answers), learn(shop.frozen(), answers, 0, trusts=before.trusts)
    assert kept.trusts == before.trusts
    assert abs(shop.accuracy(kept) - shop.accuracy(anew)) < 0.03


@pytest.mark.parametrize(("groups", "num_kept"), [(50, 1_000), (700, 1_000), (1_200, 1_200)])
def test_a_quick_fit_learns_from_near_duplicates_while_there_is_time(groups, num_kept):
    rows, of_group = np.arange(2_400) + 7, np.arange(2_400) % groups
    found = _quick(rows, of_group, of_group % 5, 0)
    assert len(found) == num_kept and set(of_group[found - 7]) == set(range(groups))
    assert (np.diff(found) > 0).all()


def test_a_quick_fit_keeps_both_answers_of_a_group_that_has_two():
    groups, classes = np.zeros(3_000, np.int64), np.zeros(3_000, np.int64)
    classes[1_234] = 1
    assert 1_234 in _quick(np.arange(3_000), groups, classes, 0)


def test_only_a_quick_fit_leaves_near_duplicates_out():
    shop = catalogue(num_products=2_400)
    shop.products.groups[:] = np.arange(2_400) // 4
    answers = np.where(np.arange(2_400) < 2_000, shop.truth[np.arange(2_400) // 4 * 4], -1)
    trusts = learn(shop.frozen(), answers, 0).trusts
    whole, quick = (learn(shop.frozen(), answers, 0, trusts=trusts, quick=quick) for quick in (False, True))
    one_each = np.where(np.isin(np.arange(2_400), _quick(np.arange(2_000), shop.products.groups[:2_000], answers[:2_000], 0)), answers, -1)
    np.testing.assert_array_equal(quick.on_bag, learn(shop.frozen(), one_each, 0, trusts=trusts).on_bag)
    assert np.abs(whole.on_bag - quick.on_bag).max() > 0.01


def test_opinions_of_folds_have_not_seen_the_answers():
    made = catalogue(num_products=400, named=0.0, useful_names=False)
    answers = np.where(made.some_answers(300) >= 0, np.random.default_rng(2).integers(0, NUM_CLASSES, 400), -1)
    found = learn(made.frozen(), answers, 0).opinions
    assert np.sort(found.rows).tolist() == np.flatnonzero(answers >= 0).tolist()
    assert found.logits.shape == (300, NUM_CLASSES)
    assert (found.logits.argmax(axis=1) == answers[found.rows]).mean() < 0.15  # A model that saw them knows most of them by heart.


def test_near_duplicates_are_one_answer_to_judge_trusts_by():
    made = catalogue(num_products=200)
    offers = np.repeat(np.arange(200), np.where(np.arange(200) % 10, 1, 30))  # One product in ten has thirty offers.
    products = Products(made.products.bag[offers], made.products.latent[offers], made.products.groups[offers])
    answers = made.some_answers(100)
    features, apart = replace(made.frozen(), products=products), learn(made.frozen(), answers, 0)
    found = learn(features, answers[offers], 0)
    assert (answers[offers] >= 0).sum() > 300
    assert np.sort(products.groups[found.opinions.rows]).tolist() == np.sort(made.products.groups[answers >= 0]).tolist()
    assert all(abs(found.trusts[name] - apart.trusts[name]) < 0.5 for name in LEARNT), (found.trusts, apart.trusts)


@pytest.mark.parametrize("count", [0, 5, 60, 299])
def test_whether_a_node_has_answers_is_not_judged_by_a_few(shop, count):
    trusts = shop.learn(shop.some_answers(count)).trusts
    assert trusts[SEEN] == shop.learn(shop.some_answers(0)).trusts[SEEN] and trusts[ANSWERS] == 0


def test_whether_a_node_has_answers_is_judged_by_many(shop):
    assert shop.learn(shop.some_answers(400)).trusts[ANSWERS] != 0


def test_five_answers_move_no_trust_far(shop):
    start, moved = shop.learn(shop.some_answers(0)).trusts, shop.learn(shop.some_answers(5, seed=3)).trusts
    for name in ("title ~ name", "latent ~ name"):
        assert abs(moved[name] - start[name]) < 0.25 * start[name]


def test_kept_trusts_bring_no_opinions():
    made = catalogue(num_products=100)
    answers = made.some_answers(60)
    assert len(learn(made.frozen(), answers, 0, trusts=learn(made.frozen(), answers, 0).trusts).opinions.rows) == 0


def test_a_few_answers_about_the_hardest_products_do_not_count_against_the_nodes_that_have_answers():
    made = catalogue()
    features, nobody = made.frozen(), np.full(600, -1)
    guessed = learn(features, nobody, 0).logits(made.products, features.rules, np.arange(600)).argmax(axis=1)
    hardest = np.flatnonzero(guessed != made.truth)[:60]
    easy = np.flatnonzero(made.truth == guessed[hardest[0]])[:5]
    asked = np.r_[hardest, easy]
    answers = nobody.copy()
    answers[asked] = made.truth[asked]
    model = learn(features, answers, 0)
    assert model.trusts[ANSWERS] >= 0
    right = model.logits(made.products, features.rules, np.arange(600)).argmax(axis=1) == made.truth
    assert right.mean() > (guessed == made.truth).mean() + 0.1
