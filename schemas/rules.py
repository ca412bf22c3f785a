"""Holds analysts' rules as written: which condition puts a product at which node."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import RuleError
from schemas.product import RULE_FIELDS
from schemas.taxonomy import Taxonomy
from schemas.text import split_lines
from schemas.text_files import read_text_file

# Bounds on files nobody wrote by hand, or meant.
MAX_RULES = 500_000
MAX_CONDITION_LENGTH = 2_000
_MAX_BYTES = 256 << 20
_MAX_YAML_BYTES = 1_000_000  # Some ten seconds' reading.
_REQUIRED = ("rule_id", "node_id", "field")
_KNOWN = ("rule_id", "node_id", "field", "phrase", "regex", "veto", "note", "author")
_ONE_CELL = re.compile(r"[\t\r\n]+")
_TRUE = {"1", "true", "yes"}
_FALSE = {"0", "false", "no", ""}


@dataclass(frozen=True)
class Rule:
    """One condition: `field` holds the whole words of `phrase`, or matches `regex`; a veto takes matches away.

    Exactly one of `phrase` and `regex` is filled.
    """

    rule_id: str
    node_id: str
    field: str
    phrase: str = ""
    regex: str = ""
    veto: bool = False
    note: str = ""
    author: str = ""


def load_rules(path: Path, taxonomy: Taxonomy) -> list[Rule]:
    """Reads rules from TSV or YAML (a list of mappings), in the order of the file.

    Raises:
        RuleError: the file is missing, too large or unreadable, a column or key is unknown, missing or there twice, an id is used
            twice, a node or field is unknown, or a rule has both or neither of phrase and regex. Names file and row.
    """
    is_yaml = path.suffix in (".yaml", ".yml")
    text = read_text_file(path, "rule", "Set rules.path", RuleError, _MAX_YAML_BYTES if is_yaml else _MAX_BYTES)
    rules: list[Rule] = []
    seen: dict[str, str] = {}
    for place, row in _yaml_rows(text, path) if is_yaml else _table_rows(split_lines(text), path):
        rule = _rule(row, place, taxonomy)
        if rule.rule_id in seen:
            raise RuleError(f"{place}: rule_id {rule.rule_id!r} is used at {seen[rule.rule_id]} already. Give each rule its own id.")
        seen[rule.rule_id] = place
        rules.append(rule)
        if len(rules) > MAX_RULES:
            raise RuleError(
                f"{place}: more than {MAX_RULES:,} rules aren't read. Leave out rules that never fire; the rule report says which."
            )
    return rules


def _table_rows(lines: Sequence[str], path: Path) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        _check_columns(list(reader.fieldnames or ()), path)
        for row in reader:
            yield f"{path}:{reader.line_num}", row
    except csv.Error as error:
        raise RuleError(f"{path}:{reader.reader.line_num}: this isn't a table: {error}. Expected tab-separated text.") from None


def _check_columns(columns: Sequence[str], path: Path) -> None:
    missing = [name for name in _REQUIRED if name not in columns]
    if missing or not {"phrase", "regex"} & set(columns):
        raise RuleError(f"{path}:1: column {(missing or ['phrase'])[0]!r} is missing. Found {columns}; known: {', '.join(_KNOWN)}.")
    unknown = [name for name in columns if name not in _KNOWN]
    if unknown:
        raise RuleError(f"{path}:1: unknown column {unknown[0]!r}. Known: {', '.join(_KNOWN)}.")
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise RuleError(f"{path}:1: column {twice!r} is there twice. Keep one.")


def _yaml_rows(text: str, path: Path) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    try:
        # The base loader leaves every value the text it is: no, 1.10 and 0501 are phrases, not a bool and two numbers.
        rows = yaml.load(text, Loader=_RuleLoader) or []  # noqa: S506 (it makes nothing but texts, lists and mappings)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RuleError(f"{path}:{mark.line + 1 if mark else 1}: this isn't YAML: {getattr(error, 'problem', error)}.") from None
    except RecursionError:
        raise RuleError(f"{path}: this is nested too deeply. Expected a list of rules.") from None
    if not isinstance(rows, list):
        raise RuleError(f"{path}: found a {type(rows).__name__}, expected a list of rules.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise RuleError(f"{path}: rule {number} is a {type(row).__name__}, expected a mapping of {', '.join(_KNOWN)}.")
        unknown = [name for name in row if name not in _KNOWN]
        if unknown:
            raise RuleError(f"{path}: rule {number} has the unknown key {str(unknown[0])[:60]!r}. Known: {', '.join(_KNOWN)}.")
        yield f"{path}: rule {number}", row


class _RuleLoader(yaml.BaseLoader):
    """Makes texts, lists and mappings, and refuses a key that is there twice, of which YAML's own loaders keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping; raises a YAMLError at a repeated key."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [key.value for key, _ in node.value]
            twice = next(number for number, key in enumerate(keys) if key in keys[:number])
            raise yaml.constructor.ConstructorError(None, None, f"{keys[twice]!r} is there twice", node.value[twice][0].start_mark)
        return mapping


def _rule(row: Mapping[Any, Any], place: str, taxonomy: Taxonomy) -> Rule:
    for name in _KNOWN:
        if not isinstance(row.get(name, ""), (str, type(None))):
            raise RuleError(f"{place}: {name} is a {type(row[name]).__name__}, expected a text.")
    text = {name: (row.get(name) or "").strip() for name in _KNOWN}
    if row.get(None):
        raise RuleError(f"{place}: found {len(row[None])} more cells than columns. Remove the surplus tabs.")
    flag = text["veto"].lower()
    for name, value in text.items():
        if len(value) > MAX_CONDITION_LENGTH:
            raise RuleError(f"{place}: {name} {value[:60]!r}... has {len(value):,} characters, at most {MAX_CONDITION_LENGTH:,} are read.")
    if not text["rule_id"]:
        raise RuleError(f"{place}: rule_id is empty. Give each rule its own id.")
    if text["node_id"] not in taxonomy:
        raise RuleError(f"{place}: node {text['node_id']!r} isn't in the taxonomy. Use one of its {len(taxonomy)} ids.")
    if text["field"] not in RULE_FIELDS:
        raise RuleError(f"{place}: field {text['field']!r} isn't one a rule can look into. Known: {', '.join(RULE_FIELDS)}.")
    if bool(text["phrase"]) == bool(text["regex"]):
        raise RuleError(f"{place}: rule {text['rule_id']!r} must have a phrase or a regex, and not both.")
    if any(letter in text["regex"] for letter in "\t\n\r"):
        raise RuleError(f"{place}: the regex of rule {text['rule_id']!r} holds a tab or a line end. Write \\t or \\n.")
    if flag not in _TRUE | _FALSE:
        raise RuleError(f"{place}: veto {flag!r} isn't 0 or 1.")
    text.pop("veto")
    return Rule(**text, veto=flag in _TRUE)


def write_rules(path: Path, rules: Iterable[Rule]) -> None:
    """Writes the TSV that `load_rules` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(_KNOWN) + "\n")
        for rule in rules:
            row = [rule.rule_id, rule.node_id, rule.field, rule.phrase, rule.regex, str(int(rule.veto)), rule.note, rule.author]
            file.write("\t".join(_ONE_CELL.sub(" ", value) for value in row) + "\n")


def rules_sha256(rules: Iterable[Rule]) -> str:
    """Returns a digest of the rules' content, whatever their order."""
    return hashlib.sha256("\n".join(sorted(repr(rule) for rule in rules)).encode()).hexdigest()
