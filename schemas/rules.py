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
        RuleError: the file is missing or unreadable, a column is unknown or missing, an id is used twice, a node or
            field is unknown, or a rule has both or neither of phrase and regex. Names file and row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RuleError(f"{path}: there is no such rule file. Set rules.path.") from None
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}: byte {error.start} isn't UTF-8. Save the file as UTF-8.") from None
    except OSError as error:
        raise RuleError(f"{path}: the rules can't be read: {error.strerror}. Set rules.path to a file you may read.") from None
    rows = _yaml_rows(text, path) if path.suffix in (".yaml", ".yml") else _table_rows(split_lines(text), path)
    rules: list[Rule] = []
    seen: dict[str, str] = {}
    for place, row in rows:
        rule = _rule(row, place, taxonomy)
        if rule.rule_id in seen:
            raise RuleError(f"{place}: rule_id {rule.rule_id!r} is used at {seen[rule.rule_id]} already. Give each rule its own id.")
        seen[rule.rule_id] = place
        rules.append(rule)
    return rules


def _table_rows(lines: Sequence[str], path: Path) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = list(reader.fieldnames or ())
    missing = [name for name in _REQUIRED if name not in columns]
    if missing or not {"phrase", "regex"} & set(columns):
        raise RuleError(f"{path}:1: column {(missing or ['phrase'])[0]!r} is missing. Found {columns}; known: {', '.join(_KNOWN)}.")
    unknown = [name for name in columns if name not in _KNOWN]
    if unknown:
        raise RuleError(f"{path}:1: unknown column {unknown[0]!r}. Known: {', '.join(_KNOWN)}.")
    try:
        for row in reader:
            yield f"{path}:{reader.line_num}", row
    except csv.Error as error:
        raise RuleError(f"{path}:{reader.line_num}: this isn't a table: {error}. Expected tab-separated text.") from None


def _yaml_rows(text: str, path: Path) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    try:
        # The base loader leaves every value the text it is: no, 1.10 and 0501 are phrases, not a bool and two numbers.
        rows = yaml.load(text, Loader=yaml.BaseLoader) or []  # noqa: S506 (it makes nothing but texts, lists and mappings)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RuleError(f"{path}:{mark.line + 1 if mark else 1}: this isn't YAML: {getattr(error, 'problem', error)}.") from None
    if not isinstance(rows, list):
        raise RuleError(f"{path}: found a {type(rows).__name__}, expected a list of rules.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise RuleError(f"{path}: rule {number} is a {type(row).__name__}, expected a mapping of {', '.join(_KNOWN)}.")
        unknown = [name for name in row if name not in _KNOWN]
        if unknown:
            raise RuleError(f"{path}: rule {number} has the unknown key {unknown[0]!r}. Known: {', '.join(_KNOWN)}.")
        yield f"{path}: rule {number}", row


def _rule(row: Mapping[Any, Any], place: str, taxonomy: Taxonomy) -> Rule:
    for name in _KNOWN:
        if not isinstance(row.get(name, ""), (str, type(None))):
            raise RuleError(f"{place}: {name} is a {type(row[name]).__name__}, expected a text.")
    text = {name: (row.get(name) or "").strip() for name in _KNOWN}
    if row.get(None):
        raise RuleError(f"{place}: found {len(row[None])} more cells than columns. Remove the surplus tabs.")
    flag = text["veto"].lower()
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
