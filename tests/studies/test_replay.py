"""A campaign asks as a shop would, learns with the shipped learner, and says the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest

from components.labelling import DROPPED, usable_answers
from components.sampling.contract import known_strategies
from few_shot.learner import FewShotParameters, learn
from few_shot.self_training import SELF_TRAINED, self_trained
from schemas.errors import LabelError, SamplingError
from schemas.group_answers import MIXED, GroupQuestion, member_events
from schemas.label_event import IS, NOT, UNDER, LabelEvent
from schemas.taxonomy import Node, Taxonomy
from studies.judging import judge
from studies.replay import ALL, AskedGroup, ReplayCatalogue, ReplaySettings, campaign, refuted, totals
from tests.studies.catalogues import OUTSIDE, UNKNOWN, frozen_catalogue, rule_of


@pytest.fixture(scope="module")
def frozen():
    return frozen_catalogue()


@pytest.fixture(scope="module")
def replayed(frozen):
    return ReplayCatalogue(frozen, ReplaySettings())


def points(replayed, strategy="default", seed=0, budgets=(0, 40)):
    return [
        {name: value for name, value in line.items() if not name.endswith("seconds")}
        for line in campaign(replayed, strategy, seed, budgets)
    ]


def test_batches_grow_and_stop_at_every_budget():
    found = totals([0, 100, 250, 1000], ReplaySettings())
    assert found[0] == 0
    assert {100, 250, 1000} <= set(found)
    assert found == sorted(set(found))
    assert max(b / a for a, b in zip(found[5:], found[6:], strict=False)) <= 1.26


def test_the_same_seed_gives_the_same_points_and_another_seed_others(replayed):
    assert points(replayed) == points(replayed)
    assert points(replayed)[-1]["by_depth"] != points(replayed, seed=1)[-1]["by_depth"]


def test_answers_help_and_are_counted(replayed):
    none, few, all_of_them = points(replayed, budgets=(0, 60, ALL))
    assert [line["answers"] for line in (none, few, all_of_them)] == [0, 60, 400]
    assert none["nodes_seen"] == 0 < few["nodes_seen"] <= all_of_them["nodes_seen"] == 20
    assert none["hierarchical_f1"] < few["hierarchical_f1"] < all_of_them["hierarchical_f1"]
    assert (few["case"], few["strategy"], few["budget"], few["seed"]) == ("made-up", "default", 60, 0)


def test_zero_and_all_answers_are_scored_by_the_very_learner(frozen, replayed):
    answers, rows = np.where(frozen.is_test, -1, frozen.true_classes), replayed.test

    def logits(features):
        return learn(features, answers, 0, unanswered=replayed.dev).logits(features.products, features.rules, rows)

    seen = logits(replayed.features)
    exact = np.exp(seen - seen.max(1, keepdims=True))
    wanted = judge(exact / exact.sum(1, keepdims=True), frozen.true_nodes[rows], frozen.taxonomy)
    (found,) = points(replayed, budgets=[ALL])
    assert {name: found[name] for name in wanted} == wanted
    # The replay adds rules up from a table, in another order, and nothing else is different.
    np.testing.assert_allclose(logits(frozen.features), seen, atol=1e-4)


def test_a_group_is_asked_once_and_its_twins_share_the_answer(frozen, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "studies.replay.learn",
        lambda features, answers, *rest, **named: asked.append(answers.copy()) or learn(features, answers, *rest, **named),
    )
    (last,) = points(ReplayCatalogue(frozen, ReplaySettings()), budgets=[5000])
    assert last["answers"] == 350  # 400 dev products, of which 100 are 50 pairs
    assert (asked[-1][:400] == frozen.true_classes[:400]).all()
    assert (asked[-1][400:] == -1).all()


def test_only_products_with_a_truth_are_judged_and_one_outside_the_tree_is_a_mistake(replayed):
    assert UNKNOWN not in replayed.test
    assert OUTSIDE in replayed.test
    (found,) = points(replayed, budgets=[ALL])
    assert found["judged"] == 199
    assert found["accuracy"] < 1


@pytest.mark.parametrize("strategy", sorted(known_strategies()))
def test_every_strategy_can_be_replayed(replayed, strategy):
    assert points(replayed, strategy, budgets=[30])[0]["answers"] == 30


def test_wrong_answers_are_as_many_as_asked_for_and_cost(frozen, replayed, taught):
    some, most = (ReplayCatalogue(frozen, ReplaySettings(wrong=share)) for share in (0.4, 0.7))
    (right,), (misled,), (lost,) = (points(each, budgets=[ALL]) for each in (replayed, some, most))
    told = [answers[replayed.pool] for answers, _ in taught]
    assert [len(answers) for answers in told] == [400] * 3 and min(answers.min() for answers in told) >= 0
    wrong = [(answers != frozen.true_classes[replayed.pool]).mean() for answers in told]
    assert wrong == [0, pytest.approx(0.4, abs=0.05), pytest.approx(0.7, abs=0.05)]  # Each is wrong by chance: two standard errors.
    assert misled["hierarchical_f1"] < right["hierarchical_f1"]
    assert lost["hierarchical_f1"] < right["hierarchical_f1"] - 0.05
    assert misled["variant"] == "40 % wrong"


def test_wrong_answers_need_another_node_to_name(frozen):
    one = replace(frozen, true_nodes=np.full_like(frozen.true_nodes, frozen.true_nodes[0]))
    with pytest.raises(LabelError, match="one node has no wrong answers"):
        next(campaign(ReplayCatalogue(one, ReplaySettings(wrong=0.1)), "random", 0, [0]))


def test_names_and_rules_can_be_hidden(frozen):
    known = replace(frozen, features=replace(frozen.features, rules=rule_of(frozen)))
    settings = [ReplaySettings(), ReplaySettings(with_rules=False), ReplaySettings(with_names=False, with_rules=False)]
    with_all, no_rules, nothing = (points(ReplayCatalogue(known, each), budgets=[0])[0] for each in settings)
    assert with_all["accuracy"] > no_rules["accuracy"] > nothing["accuracy"]
    assert nothing["variant"] == "without rules, without names"


@pytest.mark.parametrize("hidden", [{"with_rules": False}, {"with_names": False}, {"within_dev": True}])
def test_products_teach_anew_where_less_is_known_and_never_those_that_are_judged(frozen, hidden):
    known = replace(frozen, features=replace(frozen.features, rules=rule_of(frozen)))
    every = np.arange(len(frozen.titles))
    taught = self_trained(known.features, every, 0)
    seen = ReplayCatalogue(replace(known, features=taught), ReplaySettings(**hidden)).features
    alone = ReplayCatalogue(replace(known, features=self_trained(known.features, every[:1], 0)), ReplaySettings(**hidden)).features
    assert {evidence.name for evidence in seen.known} >= set(SELF_TRAINED)
    for one, two, first in zip(seen.known, alone.known, taught.known[-len(seen.known) :], strict=True):
        if one.name in SELF_TRAINED:
            assert abs(one.on_bag - two.on_bag).nnz == 0
            assert abs(one.on_bag - first.on_bag).max() > 0.01


def test_what_a_front_froze_is_kept_where_nothing_is_hidden(frozen):
    taught = self_trained(frozen.features, np.arange(50), 0)
    assert ReplayCatalogue(replace(frozen, features=taught), ReplaySettings()).features.known is taught.known


def test_a_small_sample_of_the_pool_is_enough_to_go_on(frozen):
    (found,) = points(ReplayCatalogue(frozen, ReplaySettings(scored_products=20)), budgets=[100])
    assert 60 < found["answers"] <= 100


def test_an_unknown_strategy_is_refused_with_the_known_ones(replayed):
    with pytest.raises(SamplingError, match=r"'margn' is unknown.*balanced_margin"):
        next(campaign(replayed, "margn", 0, [0]))


def test_a_learner_that_learns_otherwise_is_a_variant_of_its_own_and_never_sees_what_it_is_judged_by(frozen, monkeypatch):
    allowed = []
    monkeypatch.setattr(
        "studies.replay.learn",
        lambda *given, unanswered, **named: allowed.append(unanswered) or learn(*given, unanswered=unanswered, **named),
    )
    settings = ReplaySettings(learner=FewShotParameters(propagation=1.0))
    (found,) = points(ReplayCatalogue(frozen, settings), "random", budgets=[40])
    assert found["variant"] == "propagation=1.0"
    assert not frozen.is_test[np.concatenate(allowed)].any()


@pytest.fixture
def taught(monkeypatch):
    """The answers and partial answers of each refit."""
    seen = []

    def watched(features, answers, *rest, partial, **named):
        seen.append((answers.copy(), partial))
        return learn(features, answers, *rest, partial=partial, **named)

    monkeypatch.setattr("studies.replay.learn", watched)
    return seen


def test_unsure_answers_close_a_product_and_teach_without_naming_its_node(frozen, taught):
    settings = ReplaySettings(unsure=0.4)
    (found,) = points(ReplayCatalogue(frozen, settings), "random", budgets=[100])
    answers, partial = taught[-1]
    assert (found["answers"], found["variant"]) == (100, "40 % unsure")
    assert len(partial) > 30
    assert (answers[partial.rows] < 0).all()
    assert partial.allowed[np.arange(len(partial)), frozen.true_classes[partial.rows]].all()
    assert (partial.allowed.sum(axis=1) == 5).all()
    (ignored,) = points(ReplayCatalogue(frozen, replace(settings, learns_unsure=False)), "random", budgets=[100])
    assert ignored["variant"] == "40 % unsure, ignored"
    assert not len(taught[-1][1])


def test_denials_close_a_product_and_teach_what_it_is_not(frozen, taught):
    settings = ReplaySettings(yes_or_no=1.0)
    (found,) = points(ReplayCatalogue(frozen, settings), "random", budgets=[100])
    answers, partial = taught[-1]
    assert (found["answers"], found["variant"]) == (100, "100 % yes or no")
    assert (answers >= 0).any()
    assert len(partial) > 20
    assert (answers[partial.rows] < 0).all()
    assert partial.allowed[np.arange(len(partial)), frozen.true_classes[partial.rows]].all()
    assert (partial.allowed.sum(axis=1) == len(frozen.taxonomy.exclusive_ids) - 1).all()
    (ignored,) = points(ReplayCatalogue(frozen, replace(settings, learns_unsure=False)), "random", budgets=[100])
    assert ignored["variant"] == "100 % yes or no, ignored"
    assert not len(taught[-1][1])


def with_nouns(frozen):
    """Returns the catalogue with titles that end in a noun of their node, one in five in that of another."""
    letters = "abcdefghijklmnopqrst"
    nouns = [letters[leaf if row % 5 else row // 5 % 20] * 4 for row, leaf in enumerate(frozen.true_classes.tolist())]
    return replace(frozen, titles=[f"thing {row} {noun}" for row, noun in enumerate(nouns)])


def test_a_question_about_a_group_is_one_decision_and_its_members_are_learnt_from(frozen, taught):
    (found,) = campaign(ReplayCatalogue(with_nouns(frozen), ReplaySettings(question_share=0.5)), "default", 0, [60])
    answers, partial = taught[-1]
    assert (found["answers"], found["variant"]) == (60, "50 % group questions")
    assert 0 < found["questions_told"] <= found["questions"] <= 30
    assert found["person_seconds"] == 3 * (60 - found["questions"]) + 9 * found["questions"]
    assert 0.6 * found["members"] < found["members_right"] <= found["members"]
    assert len(np.unique(partial.questions)) <= found["questions_told"] - found["questions_dropped"]
    assert (answers[partial.rows] < 0).all()
    assert not frozen.is_test[partial.rows].any()


def asked_group(members, said, kind=IS):
    """Returns a question about products `p0` and on, and single answers, as a campaign keeps them."""
    asked = GroupQuestion("q", [f"p{number}" for number in range(members)], ["p0"])
    answer = {"event_id": "q", "answered_at_ms": 0, "labeller": "ann", "kind": kind, "node_id": "boots"}
    events = {event.product_id: event for event in member_events(answer, asked)}
    own = {f"p{k}": LabelEvent(f"e{k}", 1, "bob", f"p{k}", kind, node_id) for k, (kind, node_id) in enumerate(said)}
    return AskedGroup("q", "head_noun", np.arange(members), np.array([True, False]), events), own


@pytest.mark.parametrize(
    ("said", "dropped"),
    [
        ([(IS, "bags")], False),
        ([(IS, "bags")] * 2, True),
        ([(NOT, "boots")] * 2, True),
        ([(UNDER, "shoes"), (IS, "boots"), (IS, "boots"), (IS, "bags"), (IS, "bags")], False),
        ([(IS, "boots")] * 3 + [(NOT, "shoes")] * 4, True),
    ],
)
def test_a_campaign_drops_a_group_answer_where_the_pipeline_does(said, dropped):
    tree = Taxonomy(
        [Node("shoes", "", "S", False), Node("boots", "shoes", "B", True), Node("k", "shoes", "K", True), Node("bags", "", "", True)]
    )
    group, own = asked_group(9, said)
    pipeline = usable_answers([*group.events.values(), *own.values()], tree)
    assert refuted([group], own, tree) == ({"q"} if dropped else set())
    assert pipeline.left_out.get(DROPPED, 0) == (9 if dropped else 0)


def test_a_mixed_group_says_nothing():
    group, own = asked_group(4, [(IS, "bags")] * 4, MIXED)
    nothing = replace(group, allowed=np.array([False, False]))
    assert group.tells and not nothing.tells and not refuted([nothing], own, Taxonomy([Node("boots", "", "B", True)]))
