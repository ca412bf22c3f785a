"""Inputs that are well formed and mean nonsense: whatever people could write becomes rows and refused rows, or one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from defusedxml import ElementTree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.label_event import KINDS
from schemas.product import FIELDS, RULE_FIELDS
from schemas.settings import Settings
from schemas.settings_loader import flat_settings
from tests.fuzz.targets import TARGETS, Target, outcome

EXAMPLES = min(10_000, int(os.environ.get("AISLE_FUZZ_INPUTS", "30")))
many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

any_text = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "\t",
            "\r",
            "\n",
            '"',
            "\0",
            "N/A",
            "=1+1",
            "../x",
            "/etc/passwd",
            "1e999",
            "9" * 5_000,
            "a" * 20_000,
            "\u202e",
            "\x1b[2J",
        ]
    ),
)
any_value = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(any_text, inner, max_size=3)),
    max_leaves=6,
)
node_ids = st.sampled_from(["s", "k", "b", "a", "", "zz"])
CONFIGS = [key for key, _ in flat_settings(Settings())] + ["networks.a.feeds", "networks.a.columns.id", "nonsense", "run.sead", "phases"]


def target(name: str) -> Target:
    return next(target for target in TARGETS if target.name == name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("odd")


def cell(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ").replace("\r", " ")


def table(columns: list[str], rows: list[list[str]]) -> bytes:
    return "".join("\t".join(map(cell, row)) + "\n" for row in [columns, *rows]).encode()


def is_well_formed(content: bytes) -> bool:
    try:
        return ElementTree.fromstring(content) is not None
    except ElementTree.ParseError:
        return False


@many
@given(rows=st.lists(st.dictionaries(st.sampled_from([*FIELDS, "vector"]), any_value, max_size=6), max_size=5))
def test_any_objects_are_products_or_refused(rows, folder):
    assert outcome(target("jsonl"), "\n".join(map(json.dumps, rows)).encode() or b"\n", folder) == "used"


@many
@given(rows=st.lists(st.lists(any_text, max_size=5), max_size=5), delimiter=st.sampled_from([",", "\t"]), quoted=st.booleans())
def test_any_cells_are_products_or_refused(rows, delimiter, quoted, folder):
    def shown(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted else text

    lines = [delimiter.join(["id", "title", "price"]), *(delimiter.join(map(shown, row)) for row in rows)]
    assert outcome(target("csv" if delimiter == "," else "tsv"), "\r\n".join(lines).encode(), folder) == "used"


@many
@given(items=st.lists(st.lists(st.tuples(st.sampled_from(["g:id", "title", "item", "a", "é", "1", ""]), any_text), max_size=4), max_size=4))
def test_any_elements_are_products_or_refused(items, folder):
    shown = "".join("<item>" + "".join(f"<{name}>{text}</{name}>" for name, text in item) + "</item>" for item in items)
    content = f"<rss><channel>{shown}</channel></rss>".encode()
    assert outcome(target("google_xml"), content, folder) == "used" or not is_well_formed(content)


@many
@given(rows=st.lists(st.tuples(node_ids, node_ids, any_text, st.sampled_from(["0", "1", "", "x"]), any_text, node_ids), max_size=6))
def test_any_graph_is_a_tree_or_refused(rows, folder):
    columns = ["id", "parent_id", "name", "exclusive", "synonyms", "replaced_by"]
    found = outcome(target("taxonomy"), table(columns, [list(row) for row in rows]), folder)
    ids = [row[0] for row in rows]
    is_tree = "" not in ids and len(set(ids)) == len(ids) and all(row[1] in ("", *ids) for row in rows)
    assert found == "refused" or is_tree


@many
@given(
    rows=st.lists(
        st.tuples(any_text, node_ids, st.sampled_from(RULE_FIELDS), any_text, any_text, st.sampled_from(["0", "1", "x"])), max_size=4
    )
)
def test_any_conditions_are_rules_or_refused(rows, folder):
    columns = ["rule_id", "node_id", "field", "phrase", "regex", "veto"]
    says_nothing = any(not phrase and not regex for _, _, _, phrase, regex, _ in rows)
    in_yaml = yaml.safe_dump([dict(zip(columns, row, strict=True)) for row in rows]).encode()
    for found in (
        outcome(target("rules"), table(columns, [list(row) for row in rows]), folder),
        outcome(target("rules in yaml"), in_yaml, folder),
    ):
        assert found == "refused" or not says_nothing


@many
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "event_id": st.sampled_from(["e1", "e2", "e3"]),
                "answered_at_ms": st.one_of(st.integers(0, 9), any_value),
                "labeller": st.one_of(st.just("ann"), any_value),
                "product_id": st.sampled_from(["p", "q"]),
                "kind": st.sampled_from([*KINDS, "maybe"]),
            },
            optional={"node_id": node_ids, "retracts": st.sampled_from(["e1", "e2", "e9"]), "shown": any_value, "more": any_value},
        ),
        max_size=4,
    )
)
def test_any_events_are_answers_or_refused(rows, folder):
    found = outcome(target("label events"), "\n".join(map(json.dumps, rows)).encode(), folder)
    assert found == "refused" or all(row["kind"] in KINDS for row in rows)


@many
@given(given_settings=st.dictionaries(st.sampled_from(CONFIGS), any_value, max_size=4))
def test_any_values_are_settings_or_refused(given_settings, folder):
    nested: dict = {}
    for key, value in given_settings.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            following = inner.setdefault(section, {})
            inner = following if isinstance(following, dict) else {}
        inner[name] = value
    found = outcome(target("configuration"), yaml.safe_dump(nested, allow_unicode=True).encode(), folder)
    assert found == "refused" or not {"nonsense", "run.sead"} & set(given_settings)
