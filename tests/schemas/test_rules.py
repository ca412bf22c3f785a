"""Proves that rule files load as written and bad ones are refused by row."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RuleError
from schemas.product import RULE_FIELDS
from schemas.rules import Rule, load_rules, rules_sha256, write_rules
from schemas.taxonomy import Node, Taxonomy, load_taxonomy

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
TREE = Taxonomy([Node("s", "", "Shoes", True), Node("b", "", "Bags", True)])
HEADER = "rule_id\tnode_id\tfield\tphrase\n"


def case_folders():
    """Returns the real case folders; says loudly that nothing was tested where there are none."""
    folders = sorted(path.parent for path in CASES.glob("*/rules.tsv"))
    return folders or [pytest.param(None, marks=pytest.mark.skip(reason=f"no case folder under {CASES}: real files were NOT tested"))]


def load(tmp_path, text, name="rules.tsv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_rules(path, TREE)


cells = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00")).map(lambda text: " ".join(text.split()))
filled = cells.filter(bool)
rule_lists = st.lists(
    st.tuples(filled, st.sampled_from(TREE.ids), st.sampled_from(RULE_FIELDS), filled, st.booleans(), st.booleans(), cells, cells),
    unique_by=lambda row: row[0],
    max_size=6,
)


@given(rule_lists)
def test_rules_survive_their_file(tmp_path_factory, rows):
    rules = [
        Rule(rule_id, node, field, "" if is_regex else text, text if is_regex else "", veto, note, author)
        for rule_id, node, field, text, is_regex, veto, note, author in rows
    ]
    path = tmp_path_factory.mktemp("rules") / "rules.tsv"
    write_rules(path, rules)
    again = load_rules(path, TREE)
    assert again == rules
    assert rules_sha256(again) == rules_sha256(rules)


def test_yaml_and_tsv_say_the_same(tmp_path):
    yaml = "- {rule_id: r1, node_id: s, field: title, phrase: sneaker, note: all}\n"
    yaml += "- {rule_id: r2, node_id: s, field: brand, regex: 'x+', veto: true}\n"
    tsv = "rule_id\tnode_id\tfield\tphrase\tregex\tveto\tnote\nr1\ts\ttitle\tsneaker\t\t0\tall\nr2\ts\tbrand\t\tx+\t1\t\n"
    assert load(tmp_path, yaml, "rules.yaml") == load(tmp_path, tsv)


@pytest.mark.parametrize("phrase", ["no", "1.10", "0501", "1_000", "null", "2021-01-01"])
def test_a_yaml_phrase_is_the_text_that_was_written(tmp_path, phrase):
    assert load(tmp_path, f"- rule_id: r\n  node_id: s\n  field: title\n  phrase: {phrase}\n", "r.yml")[0].phrase == phrase


def test_an_empty_file_of_yaml_has_no_rules(tmp_path):
    assert load(tmp_path, "", "r.yaml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule_id\tfield\tphrase\n", "rules.tsv:1: column 'node_id' is missing. Found ['rule_id', 'field', 'phrase']; known: rule_id,"),
        ("rule_id\tnode_id\tfield\n", "column 'phrase' is missing"),
        (HEADER.strip() + "\tpoints\n", "rules.tsv:1: unknown column 'points'. Known: rule_id,"),
        (HEADER + "\ts\ttitle\tx\n", "rules.tsv:2: rule_id is empty. Give each rule its own id."),
        (HEADER + "r\tz\ttitle\tx\n", "rules.tsv:2: node 'z' isn't in the taxonomy. Use one of its 2 ids."),
        (HEADER + "r\ts\tprice\tx\n", "field 'price' isn't one a rule can look into. Known: title,"),
        (HEADER + "r\ts\ttitle\t\n", "rule 'r' must have a phrase or a regex, and not both."),
        (HEADER + "r\ts\ttitle\tx\nr\tb\ttitle\ty\n", "rules.tsv:3: rule_id 'r' is used at"),
        (HEADER + "r\ts\ttitle\tx\textra\n", "rules.tsv:2: found 1 more cells than columns. Remove the surplus tabs."),
        (HEADER.strip() + "\tveto\nr\ts\ttitle\tx\tperhaps\n", "veto 'perhaps' isn't 0 or 1."),
        (HEADER + "r\ts\ttitle\tx\x00\n", "this isn't a table: line contains NUL"),
        (b"\xff", "byte 0 isn't UTF-8. Save the file as UTF-8."),
    ],
)
def test_a_table_that_holds_no_rules_is_refused_by_row(tmp_path, text, message):
    with pytest.raises(RuleError) as refused:
        load(tmp_path, text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule_id: r\n", "found a dict, expected a list of rules."),
        ("- r\n", "rule 1 is a str, expected a mapping of rule_id,"),
        ("- {rule_id: r, points: 3}\n", "rule 1 has the unknown key 'points'."),
        ("- rule_id: [\n", "rules.yaml:2: this isn't YAML:"),
        ("- {rule_id: r, node_id: s, field: title, phrase: [a, b]}\n", "rule 1: phrase is a list, expected a text."),
        (
            '- {rule_id: r, node_id: s, field: title, regex: "a\\nb"}\n',
            "the regex of rule 'r' holds a tab or a line end. Write \\t or \\n.",
        ),
    ],
)
def test_yaml_that_holds_no_rules_is_refused_by_rule(tmp_path, text, message):
    with pytest.raises(RuleError) as refused:
        load(tmp_path, text, "rules.yaml")
    assert message in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(RuleError, match="there is no such rule file. Set rules.path."):
        load_rules(tmp_path / "none.tsv", TREE)
    with pytest.raises(RuleError, match="can't be read"):
        load_rules(tmp_path, TREE)


@pytest.mark.parametrize("folder", case_folders())
def test_the_real_rules_load_as_they_are(folder):
    rules = load_rules(folder / "rules.tsv", load_taxonomy(folder / "taxonomy.tsv"))
    assert len(rules) == len((folder / "rules.tsv").read_text().splitlines()) - 1
