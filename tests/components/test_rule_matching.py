"""Proves the one-pass matcher equal to a check of each rule."""

import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.rule_matching import RuleMatcher, _RegexSet
from schemas.errors import RuleError
from schemas.rules import Rule
from schemas.taxonomy import Node, Taxonomy
from schemas.text import fold

TREE = Taxonomy(
    [
        Node("fashion", "", "Fashion", False), Node("shoes", "fashion", "Shoes", True), Node("sneakers", "shoes", "Sneakers", True),
        Node("boots", "shoes", "Boots", True), Node("toys", "", "Toys", False), Node("dolls", "toys", "Dolls", True),
        Node("old", "", "Trainers", False, replaced_by="sneakers"),
    ]
)  # fmt: skip
FIELDS = ("title", "brand")
WORDS = ("a", "b", "ab", "É", "ss", "ß", "1", "doll")

phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).flatmap(
    lambda words: st.sampled_from([" ", "-", "  ", " _"]).map(lambda gap: gap.join(words))
)
texts = st.lists(st.sampled_from([*WORDS, *"-_., É", "  ", "A", "B"]), max_size=12).map("".join) | phrases
conditions = st.tuples(st.sampled_from(TREE.ids), st.sampled_from(FIELDS), phrases, st.booleans(), st.booleans())
products = st.dictionaries(st.sampled_from(FIELDS), texts)


def rules_of(rows):
    return [
        Rule(f"r{i}", node, field, "" if regex else phrase, phrase.lower() if regex else "", veto)
        for i, (node, field, phrase, regex, veto) in enumerate(rows)
    ]


def naive_fires(rule, product):
    text = product.get(rule.field, "")
    if rule.regex:
        return bool(text) and rule.regex.lower() in text.lower()
    return f" {fold(rule.phrase)} " in f" {fold(text)} "


def naive_match(rules, product):
    fired = [rule for rule in rules if naive_fires(rule, product)]
    node = {rule.rule_id: TREE.resolve(rule.node_id) for rule in rules}
    shut = {i for rule in fired if rule.veto for i in TREE.subtree(node[rule.rule_id])}
    standing = [rule for rule in fired if not rule.veto and TREE.index(node[rule.rule_id]) not in shut]
    vetoed = [rule for rule in fired if not rule.veto and rule not in standing]
    return [r.rule_id for r in fired], TREE.closure(node[r.rule_id] for r in standing), [r.rule_id for r in vetoed]


@given(st.lists(conditions, max_size=12), products)
@example([("shoes", "title", "a b", False, False), ("boots", "title", "b a", False, False)], {"title": "a b a b"})
def test_one_pass_over_all_rules_equals_a_check_of_each(rows, product):
    rules = rules_of(rows)
    matches = RuleMatcher(rules, TREE).match(product)
    assert (list(matches.rule_ids), list(matches.nodes), list(matches.vetoed)) == naive_match(rules, product)


@given(st.lists(conditions, max_size=8), products)
def test_nodes_are_closed_over_ancestors_and_in_tree_order(rows, product):
    nodes = RuleMatcher(rules_of(rows), TREE).match(product).nodes
    assert list(nodes) == sorted(set(nodes))
    assert all(TREE.parents[node] in nodes or TREE.parents[node] == -1 for node in nodes)


@given(st.lists(conditions, max_size=6), products)
def test_a_pickled_matcher_matches_alike(rows, product):
    matcher = RuleMatcher(rules_of(rows), TREE)
    assert pickle.loads(pickle.dumps(matcher)).match(product) == matcher.match(product)


def match(rules, **product):
    return RuleMatcher(rules, TREE).match(product)


@pytest.mark.parametrize(
    ("text", "fires"),
    [
        ("Red SNEAKER", True), ("snéaker", True), ("sneaker-shoe", True), ("(sneaker)", True),
        ("sneakers", False), ("resneaker", False), ("", False),
    ],
)  # fmt: skip
def test_a_phrase_matches_whole_words_whatever_case_and_accents(text, fires):
    assert bool(match([Rule("r", "sneakers", "title", "Sneaker")], title=text).rule_ids) is fires


def test_a_rule_looks_into_its_own_field_only():
    assert match([Rule("r", "dolls", "title", "doll")], brand="doll", title="car").rule_ids == ()


def test_a_veto_takes_away_its_node_and_subtree_and_nothing_above():
    rules = [
        Rule("top", "fashion", "title", "wear"), Rule("shoe", "shoes", "title", "shoe"), Rule("boot", "boots", "title", "boot"),
        Rule("no", "shoes", "title", "doll", veto=True),
    ]  # fmt: skip
    matches = match(rules, title="doll wear shoe boot")
    assert matches.rule_ids == ("top", "shoe", "boot", "no")
    assert matches.nodes == (TREE.index("fashion"),)
    assert matches.vetoed == ("shoe", "boot")


def test_rules_at_a_replaced_node_speak_for_the_new_one():
    assert match([Rule("r", "old", "title", "trainer")], title="trainer").nodes == tuple(TREE.chain("sneakers"))


def test_a_regex_searches_the_text_as_it_stands_in_any_case():
    rules = [Rule("r", "boots", "title", regex=r"\bsize \d+-\d+"), Rule("s", "boots", "title", regex="^boot")]
    assert match(rules, title="Boot, SIZE 40-42").rule_ids == ("r", "s")
    assert match(rules, title="boot size 40 42").rule_ids == ("s",)


def test_a_regex_that_explodes_elsewhere_stays_linear():
    assert match([Rule("r", "boots", "title", regex="(a+)+$")], title="a" * 50_000 + "b").rule_ids == ()


REGEXES = [(i, Rule(f"r{i}", "boots", "title", regex=f"x[ab]{{{i}}}.*y")) for i in range(1, 40)]


def test_a_regex_set_too_large_to_compile_still_finds_everything(monkeypatch):
    monkeypatch.setattr("components.rule_matching._REGEX_SET_BYTES", 1 << 14)
    starved = _RegexSet(REGEXES)
    assert not starved._compiled
    assert sorted(starved.search("xab xabab y")) == [1, 2, 3, 4]


def test_a_regex_set_that_runs_out_of_memory_while_searching_still_finds_everything():
    class Silent:
        def Match(self, text):
            return None

    starved = _RegexSet(REGEXES)
    assert sorted(starved.search("xab xabab y")) == [1, 2, 3, 4]
    starved._set = Silent()
    assert sorted(starved.search("xab xabab y")) == [1, 2, 3, 4]


@pytest.mark.parametrize("regex", ["a(b", r"(a)\1", "(?=a)", "a{5000}"])
def test_a_regex_re2_cannot_read_is_refused_with_its_rule(regex):
    with pytest.raises(RuleError) as refused:
        RuleMatcher([Rule("r7", "boots", "title", regex=regex)], TREE)
    assert str(refused.value).startswith(f"rule 'r7': regex {regex!r} can't be read: ")
    assert str(refused.value).endswith("Use RE2's syntax (github.com/google/re2/wiki/Syntax), or a phrase.")


def test_a_phrase_without_letters_is_refused_with_its_rule():
    with pytest.raises(RuleError, match="rule 'r7': phrase '&&' has no letter or digit, so it can't match. Use a regex."):
        RuleMatcher([Rule("r7", "boots", "title", "&&")], TREE)


def test_no_rules_match_nothing():
    assert match([], title="boot").rule_ids == ()
