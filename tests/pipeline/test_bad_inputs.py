"""Every bad input a user can hand in, one by one, through `aisle check`: one line with file, row and the way out, or a refused row."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pipeline.cli import main
from schemas.errors import LabelError, TaxonomyError
from schemas.label_event import MAX_LINE_LENGTH, parse_label_event
from schemas.taxonomy import MAX_DEPTH, load_taxonomy
from tests.pipeline.shop import write_shop

TREE = "id\tparent_id\tname\texclusive\n"
RULES = "rule_id\tnode_id\tfield\tphrase\tregex\n"
EVENT = {"event_id": "e1", "answered_at_ms": 1, "labeller": "ann", "product_id": "a1", "kind": "is", "node_id": "k"}


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Returns a function that writes a shop with other contents and returns exit code, findings and error lines of `aisle check`."""
    monkeypatch.setenv("AISLE_PREFIX", str(tmp_path / "var"))

    def call(*words: str, **changed: str | bytes):
        config = write_shop(tmp_path / "shop", **{name: text for name, text in changed.items() if isinstance(text, str)})
        for name, content in changed.items():
            if isinstance(content, bytes):
                next(path for path in (tmp_path / "shop").rglob("*") if path.stem == name).write_bytes(content)
        code = main(["check", "--config", str(config), "--json", *words])
        said = capsys.readouterr()
        lines = said.err.splitlines()
        assert all(line.startswith("error: ") and line.isprintable() for line in lines), said.err
        return code, json.loads(said.out)["inputs"] if said.out else [], [line.replace(f"{tmp_path}/shop/", "") for line in lines]

    return call


def lines_of(*events: dict) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


# --- Errors, one a case: what is changed, and what the one line starts with -----------------------------------------------------

CASES = {
    "an empty feed": ({"a": ""}, "feeds/a.csv: the file is empty. Expected a first line with the columns sku, name, maker, price."),
    "a feed of blank lines": ({"a": "\n\n\n"}, "feeds/a.csv: the file is empty."),
    "a feed with a missing column": (
        {"a": "sku,nam,maker,price\n1,a,,\n"},
        "feeds/a.csv:1: column 'name' isn't there. Found: sku, nam, maker, price. Did you mean 'nam'?",
    ),
    "a feed with a column twice": (
        {"a": "sku,name,name,maker,price\n"},
        "feeds/a.csv:1: column 'name' is there 2 times. Rename all but one of them.",
    ),
    "a feed with another delimiter": (
        {"a": "sku;name;maker;price\n"},
        "feeds/a.csv:1: column 'sku' isn't there. Found: sku;name;maker;price. The whole line is one column: is ',' the delimiter?",
    ),
    "a feed in UTF-16": (
        {"a": "sku,name,maker,price\n".encode("utf-16")},
        "feeds/a.csv:1: this looks like UTF-16, not utf-8. Set the network's encoding to utf-16.",
    ),
    "a taxonomy with a cycle": (
        {"taxonomy": TREE + "s\t\tShoes\t1\na\tb\tA\t1\nb\ta\tB\t1\n"},
        "taxonomy.tsv:3: node 'a' is its own ancestor: a -> b -> a. Break the cycle by naming another parent.",
    ),
    "a node that is its own parent": ({"taxonomy": TREE + "a\ta\tA\t1\n"}, "taxonomy.tsv:2: node 'a' is its own ancestor: a -> a."),
    "a taxonomy with an orphan": (
        {"taxonomy": TREE + "s\t\tShoes\t1\na\tx\tA\t1\n"},
        "taxonomy.tsv:3: node 'a' names parent 'x', which isn't there. Add it or leave parent_id empty.",
    ),
    "a taxonomy with an id twice": (
        {"taxonomy": TREE + "s\t\tShoes\t1\ns\t\tBags\t1\n"},
        "taxonomy.tsv:3: id 's' is used by 'Shoes' and by 'Bags'. Give each node its own id.",
    ),
    "a taxonomy with a column twice": (
        {"taxonomy": "id\tid\tparent_id\tname\texclusive\n"},
        "taxonomy.tsv:1: column 'id' is there twice. Rename one of them.",
    ),
    "a taxonomy with too many cells": (
        {"taxonomy": TREE + "s\t\tShoes\t1\tx\n"},
        "taxonomy.tsv:2: found 1 more cells than columns. Remove the surplus tabs.",
    ),
    "a taxonomy with a NUL": ({"taxonomy": TREE + "s\t\tSh\0oes\t1\n"}, "taxonomy.tsv:2: this isn't a table: line contains NUL."),
    "a taxonomy in UTF-16": ({"taxonomy": TREE.encode("utf-16")}, "taxonomy.tsv: byte 0 isn't UTF-8. Save the file as UTF-8."),
    "an empty taxonomy": (
        {"taxonomy": ""},
        "taxonomy.tsv: the file is empty. Expected the columns id, parent_id, name, exclusive, or one path a line.",
    ),
    "a taxonomy of endless levels": (
        {"taxonomy": "a > " * 100_000 + "b\n"},
        f"taxonomy.tsv:1: the path 'a > a > a > a > a > a > a > a > a > a > a > a > a > a > a > '... has more than {MAX_DEPTH} levels.",
    ),
    "a node name without end": (
        {"taxonomy": TREE + f"s\t\t{'x' * 5_000}\t1\n"},
        f"taxonomy.tsv:2: name '{'x' * 60}'... has 5,000 characters, at most 1,000 are read.",
    ),
    "a rule for an unknown node": (
        {"rules": RULES + "r1\tzz\ttitle\tx\t\n"},
        "rules.tsv:2: node 'zz' isn't in the taxonomy. Use one of its 3 ids.",
    ),
    "a rule for an unknown field": (
        {"rules": RULES + "r1\tk\tprice\tx\t\n"},
        "rules.tsv:2: field 'price' isn't one a rule can look into. Known: title,",
    ),
    "a rule id twice": (
        {"rules": RULES + "r1\tk\ttitle\tx\t\nr1\tb\ttitle\ty\t\n"},
        "rules.tsv:3: rule_id 'r1' is used at rules.tsv:2 already.",
    ),
    "rules with a column twice": (
        {"rules": "rule_id\tnode_id\tfield\tphrase\tphrase\n"},
        "rules.tsv:1: column 'phrase' is there twice. Keep one.",
    ),
    "rules with a NUL in the header": ({"rules": "rule\0_id\tnode_id\n"}, "rules.tsv:1: this isn't a table: line contains NUL."),
    "a regex that looks around": (
        {"rules": RULES + "r1\tk\ttitle\t\t(?=x)y\n"},
        "rules.tsv: rule 'r1': regex '(?=x)y' can't be read: invalid perl operator: (?=. Use RE2's syntax",
    ),
    "a regex that refers back": (
        {"rules": RULES + "r1\tk\ttitle\t\t(a)\\1\n"},
        "rules.tsv: rule 'r1': regex '(a)\\\\1' can't be read: invalid escape sequence: \\1.",
    ),
    "a regex that repeats without end": (
        {"rules": RULES + "r1\tk\ttitle\t\t((a{100}){100}){100}\n"},
        "rules.tsv: rule 'r1': regex '((a{100}){100}){100}' can't be read: invalid repetition size: {100}.",
    ),
    "a regex of half a megabyte": (
        {"rules": RULES + f"r1\tk\ttitle\t\t{'a|' * 30_000}b\n"},
        f"rules.tsv:2: regex '{'a|' * 30}'... has 60,001 characters, at most 2,000 are read.",
    ),
    "regexes too large together": (
        {"rules": RULES + "".join(f"r{n}\tk\ttitle\t\t{n}\\pL{{900}}\n" for n in range(400))},
        "rules.tsv: rule 'r",
    ),
    "a label event that isn't JSON": ({"answers": "{}}\n"}, "answers.jsonl:1: this isn't a JSON object:"),
    "a label event with NaN": ({"answers": '{"duration_ms": NaN}\n'}, "answers.jsonl:1: this isn't a JSON object:"),
    "events that contradict each other": (
        {"answers": lines_of(EVENT, {**EVENT, "node_id": "b"})},
        "answers.jsonl:2: event 'e1' says something else than at line 1. Events are never changed: give a new answer its own event_id.",
    ),
    "a retraction of nothing": (
        {"answers": lines_of({**EVENT, "kind": "retract", "retracts": "e9"})},
        "event 'e1' retracts 'e9', which isn't in the store.",
    ),
    "a time in another unit": (
        {"answers": lines_of({**EVENT, "answered_at_ms": 10**18})},
        "answers.jsonl:1: answered_at_ms 1000000000000000000 must be a whole number of milliseconds.",
    ),
    "a label event without end": (
        {"answers": '{"event_id": "' + "x" * MAX_LINE_LENGTH},
        f"answers.jsonl:1: the line has {MAX_LINE_LENGTH:,} characters or more. Write one event a line.",
    ),
    "an id of a megabyte": (
        {"answers": lines_of({**EVENT, "product_id": "x" * 5_000})},
        f"answers.jsonl:1: product_id '{'x' * 60}'... has 5,000 characters, at most 1,000 are read.",
    ),
    "what was shown without bottom": (
        {"answers": lines_of({**EVENT, "shown": json.loads('{"a":' * 90 + "1" + "}" * 90)})},
        "answers.jsonl:1: shown is nested more than 32 deep.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_input_is_named_in_one_line(case, check):
    changed, message = CASES[case]
    code, _, errors = check(**changed)
    assert code == 1
    assert len(errors) == 1 and errors[0].replace("/shop/", "").startswith(f"error: {message}"), errors


WRONG_SETTINGS = {
    "a typo": ("sampling: {batch_sise: 3}", "aisle.yaml:8: unknown setting 'sampling.batch_sise'. Did you mean 'sampling.batch_size'?"),
    "a unit": ("sampling: {batch_size: 5 products}", "aisle.yaml:8: sampling.batch_size '5 products' must be a whole number."),
    "a percentage": ("ingest: {test_share: 20%}", "aisle.yaml:8: ingest.test_share '20%' must be a number."),
    "a key twice": ("sampling: {seed: 1}\nsampling: {}", "aisle.yaml:9: 'sampling' is set twice. Keep one."),
    "a list for a section": ("sampling: [1]", "aisle.yaml:8: sampling [1] must be a section with keys."),
    "a list as a key": ("? [a, b]\n: 1", "aisle.yaml:8: a list or section can't be a key. Write the key's name."),
    "a date for a number": (
        "model: {parameters: {dropout: 2020-01-01}}",
        "aisle.yaml:8: model.parameters.dropout holds datetime.date(2020, 1, 1), a date.",
    ),
    "a number of thousands of digits": (
        f"scoring: {{top_k: 0x{'F' * 5_000}}}",
        "aisle.yaml:8: a value has 5,002 characters, at most 3,000 are read. Shorten it.",
    ),
    "code": (
        "run: !!python/object/apply:os.system [id]",
        "aisle.yaml:8: this value can't be read: could not determine a constructor for the tag",
    ),
    "aliases that unfold": (
        "a: &a [x, x]\n"
        + "".join(f"b{n}: &b{n} [*{'a' if not n else f'b{n - 1}'}, *{'a' if not n else f'b{n - 1}'}]\n" for n in range(40)),
        "aisle.yaml:",
    ),
    "lists without bottom": ("a: " + "[" * 5_000, "aisle.yaml:1: this isn't YAML: it is nested too deeply."),
    "a path without end": (f"ingest: {{split: {'x' * 300}}}", "aisle.yaml:8: ingest.split 'xxx"),
    "half a character": ('ingest: {split: "\\ud800"}', "aisle.yaml:8: '\\ud800' holds half a character"),
    "a NUL in a path": ('ingest: {split: "a\\0b"}', "aisle.yaml:8: ingest.split 'a\\x00b' holds a NUL character."),
    "colours in a key": ('"\\e[31mred\\n": 1', "aisle.yaml:8: unknown setting '\\x1b[31mred\\n'."),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_a_wrong_setting_is_named_by_its_line(case, check, tmp_path):
    text, message = WRONG_SETTINGS[case]
    config = (write_shop(tmp_path / "shop")).read_text().replace("run: {name: tiny}\n", "") + text
    started = time.monotonic()
    code, _, errors = check(aisle=config.replace("networks:", "\nnetworks:", 1))
    assert (code, len(errors)) == (2, 1)
    assert errors[0].startswith(f"error: {message}"), errors
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ("[feeds/none.csv]", "'{folder}/feeds/none.csv' names no file"),
        ("['feeds/**x.csv']", "can't be looked for: Invalid pattern: '**' can only be an entire path component."),
        ("[nonsense://x/*.csv]", "can't be looked for: Unrecognized filesystem type in URI"),
        (f"[{'x' * 300}.csv]", "can't be looked for: File name too long."),
    ],
)
def test_a_feed_that_is_not_there_is_named_with_its_setting(feeds, message, check, tmp_path):
    config = write_shop(tmp_path / "shop").read_text().replace("[feeds/*.csv]", feeds)
    code, _, errors = check(aisle=config)
    assert code == 1 and errors[0].startswith("error: networks.awin.feeds: ")
    assert message.format(folder=tmp_path / "shop").replace(f"{tmp_path}/shop/", "") in errors[0]


# --- Rows and hints -------------------------------------------------------------------------------------------------------------


def test_a_header_alone_is_hinted_at(check):
    code, inputs, _ = check(a="sku,name,maker,price\n")
    assert code == 0
    assert [found["hint"] for found in inputs if found["name"] == "feed" and not found["rows"]] == ["this feed is empty"]


def test_labels_of_unknown_nodes_and_answers_that_differ_are_hinted_at(check):
    events = [{**EVENT, "event_id": f"e{n}", "node_id": node} for n, node in enumerate(["k", "b", "zz"])]
    code, inputs, _ = check(answers=lines_of(*events))
    found = next(found for found in inputs if found["name"] == "labels")
    assert (code, found["contradicted"], found["unknown_nodes"]) == (0, 1, 1)
    assert found["hint"].endswith("1 products have answers that differ; the latest counts")


def test_a_gold_file_that_contradicts_itself_is_named_by_both_lines(check, tmp_path):
    case = tmp_path / "case"
    case.mkdir()
    (case / "feed.csv").write_text("id,title\np1,Shoe\n")
    (case / "taxonomy.tsv").write_text(TREE + "n0\t\tShoes\t1\nn1\t\tBags\t1\n")
    (case / "gold.tsv").write_text("product_id\tnode_id\tsplit\np1\tn0\tdev\np1\tn1\ttest\n")
    _, _, errors = check("--set", f"catalogue.folder={case}")
    assert any(line.endswith("gold.tsv:3: product 'p1' is 'n1' here and 'n0' at line 2. Keep one.") for line in errors), errors


# --- Size and depth -------------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_nodes_load_in_seconds(tmp_path):
    path = tmp_path / "taxonomy.tsv"
    path.write_text(TREE + "".join(f"n{n}\t{f'n{(n - 1) // 10}' if n else ''}\tNode {n}\t1\n" for n in range(100_000)))
    started = time.monotonic()
    tree = load_taxonomy(path)
    assert (len(tree), max(tree.depths)) == (100_000, 6)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(("root", "message"), [("", "is at depth 100,000; at most 64 are read"), ("n99999", "is its own ancestor: n")])
def test_a_chain_or_a_circle_of_a_hundred_thousand_nodes_is_refused_in_seconds(root, message, tmp_path):
    path = tmp_path / "taxonomy.tsv"
    path.write_text(TREE + "".join(f"n{n}\t{f'n{n - 1}' if n else root}\tNode\t1\n" for n in range(100_000)))
    started = time.monotonic()
    with pytest.raises(TaxonomyError, match=message):
        load_taxonomy(path)
    assert time.monotonic() - started < 10


def test_a_catastrophic_regex_is_linear_in_a_long_text(tmp_path, check):
    code, inputs, _ = check(rules=RULES + "r1\tk\ttitle\t\t^(a+)+$\nr2\tk\ttitle\t\t(x+x+)+y\n", a="sku,name,maker,price\n1,aaa,,\n")
    assert (code, next(found["rules"] for found in inputs if found["name"] == "rules")) == (0, 2)


def test_an_event_nested_as_deep_as_is_allowed_can_be_written_again():
    line = json.dumps({**EVENT, "shown": json.loads('{"a":' * 31 + "1" + "}" * 31)})
    assert parse_label_event(parse_label_event(line, "x").to_json(), "x").shown
    with pytest.raises(LabelError, match="Write what was shown flat"):
        parse_label_event(json.dumps({**EVENT, "shown": json.loads('{"a":' * 33 + "1" + "}" * 33)}), "x")


def test_labels_imported_against_the_store_name_their_file(tmp_path, capsys):
    path, store = tmp_path / "answers.jsonl", str(tmp_path / "labels.sqlite")
    path.write_text(lines_of(EVENT))
    assert main(["labels", "import", str(path), "--store", store]) == 0
    path.write_text(lines_of({**EVENT, "node_id": "b"}))
    assert main(["labels", "import", str(path), "--store", store]) == 1
    assert f"error: {path}: event 'e1' is there already and says something else" in capsys.readouterr().err
    assert Path(store).exists()
