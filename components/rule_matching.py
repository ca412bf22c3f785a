"""Finds the rules that fire on a product, and the nodes they put it at, in one pass over its text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ahocorasick
import re2

from schemas.errors import RuleError
from schemas.rules import Rule
from schemas.taxonomy import Taxonomy
from schemas.text import fold

# Bytes RE2 may spend on one field's regexes; a set that outgrows it is searched one regex at a time.
_REGEX_SET_BYTES = 64 << 20
# Instructions of all regexes together, some 50 bytes each: (a{500}){2} alone has 1,000.
_MAX_INSTRUCTIONS = 5_000_000


@dataclass(frozen=True)
class RuleMatches:
    """What the rules say about one product.

    `rule_ids` are all that fired, vetoes and vetoed ones included, in rule order; `nodes` are the numbers of the nodes
    that the rules left standing put it at, closed over ancestors, in tree order; `vetoed` are the ids of rules that
    fired and were taken away.
    """

    rule_ids: tuple[str, ...] = ()
    nodes: tuple[int, ...] = ()
    vetoed: tuple[str, ...] = ()


class RuleMatcher:
    r"""Matches every rule at once.

    A phrase matches whole words, whatever their case, accents and punctuation: one Aho-Corasick pass over a field,
    however many phrases there are. A regex searches the text as it stands, in any case, by RE2 in time linear in the
    text (so no look-around and no back-references; `\b` knows ASCII words only). A veto at a node takes away this
    product's matches at the node and in its subtree. A rule at a node that was `replaced_by` another speaks for that other node.

    Unpickling builds the automata again, which is cheaper than moving them.

    >>> from schemas.taxonomy import Node
    >>> tree = Taxonomy([Node("s", "", "Shoes", True), Node("k", "s", "Sneakers", True)])
    >>> matcher = RuleMatcher([Rule("r1", "k", "title", "sneaker"), Rule("r2", "s", "title", "doll", veto=True)], tree)
    >>> matcher.match({"title": "Café-Sneaker, white"})
    RuleMatches(rule_ids=('r1',), nodes=(0, 1), vetoed=())
    >>> matcher.match({"title": "Doll with sneaker"})
    RuleMatches(rule_ids=('r1', 'r2'), nodes=(), vetoed=('r1',))

    Raises:
        RuleError: a regex RE2 can't read, regexes that repeat too much to be kept, or a phrase without a letter or digit.
            Names the rule.
        TaxonomyError: a rule's node isn't in the taxonomy.
    """

    def __init__(self, rules: Sequence[Rule], taxonomy: Taxonomy) -> None:
        self.rules = tuple(rules)
        self.taxonomy = taxonomy
        self.rule_ids = [rule.rule_id for rule in self.rules]
        self.is_veto = [rule.veto for rule in self.rules]
        self.rule_nodes = [taxonomy.index(taxonomy.resolve(rule.node_id)) for rule in self.rules]
        chains = {node: tuple(taxonomy.chain(taxonomy[node].id)) for node in set(self.rule_nodes)}
        self._chains = [chains[node] for node in self.rule_nodes]
        self.taxonomy_ends = taxonomy.subtree_ends
        self._any_veto = any(self.is_veto)
        self._phrases = _phrase_automata(self.rules)
        _check_regexes(self.rules)
        self._regexes = {field: _RegexSet(numbered) for field, numbered in _by_field(self.rules, "regex").items()}
        self.fields = tuple(sorted({*self._phrases, *self._regexes}))

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.rules, self.taxonomy))

    def fired(self, product: Mapping[str, str]) -> list[int]:
        """Returns the numbers of the rules whose condition holds, vetoes included, in rule order."""
        found: set[int] = set()
        for field, automaton in self._phrases.items():
            text = product.get(field)
            if text:
                for _, numbers in automaton.iter(f" {fold(text)} "):
                    found.update(numbers)
        for field, regexes in self._regexes.items():
            text = product.get(field)
            if text:
                found.update(regexes.search(text))
        return sorted(found)

    def standing(self, fired: Sequence[int]) -> list[int]:
        """Returns the fired rules that put the product somewhere: no veto, and not taken away by one."""
        if not self._any_veto:
            return list(fired)
        vetoes = [(self.rule_nodes[i], self.taxonomy_ends[self.rule_nodes[i]]) for i in fired if self.is_veto[i]]
        return [i for i in fired if not self.is_veto[i] and not any(start <= self.rule_nodes[i] < end for start, end in vetoes)]

    def closure(self, standing: Iterable[int]) -> list[int]:
        """Returns the numbers of the rules' nodes and all their ancestors, in tree order."""
        return sorted(set().union(*(self._chains[i] for i in standing)))

    def match(self, product: Mapping[str, str]) -> RuleMatches:
        """Returns what the rules say about a product, given as the text of its fields; an absent field matches nothing."""
        fired = self.fired(product)
        if not fired:
            return RuleMatches()
        standing = self.standing(fired)
        kept = set(standing)
        return RuleMatches(
            rule_ids=tuple(self.rule_ids[i] for i in fired),
            nodes=tuple(self.closure(standing)),
            vetoed=tuple(self.rule_ids[i] for i in fired if i not in kept and not self.is_veto[i]),
        )


class _RegexSet:
    """All regexes of one field, searched together."""

    def __init__(self, numbered: Sequence[tuple[int, Rule]]) -> None:
        self._numbers = [number for number, _ in numbered]
        self._single = [_compiled(rule) for _, rule in numbered]
        self._set = re2.Set.SearchSet(_regex_options(_REGEX_SET_BYTES))
        for _, rule in numbered:
            self._set.Add(rule.regex)
        # A set that runs out of memory answers "nothing" without a word; this one matches every text, so its silence tells.
        self._witness = self._set.Add("")
        self._compiled = _compiles(self._set)

    def search(self, text: str) -> list[int]:
        """Returns the numbers of the rules whose regex occurs in the text."""
        matched = (self._set.Match(text) or ()) if self._compiled else ()
        if self._witness in matched:
            return [self._numbers[i] for i in matched if i != self._witness]
        return [number for number, regex in zip(self._numbers, self._single, strict=True) if regex.search(text)]


def _check_regexes(rules: Sequence[Rule]) -> None:
    """Refuses what RE2 can't read, and regexes that are too large together, before any is kept."""
    instructions = 0
    for rule in rules:
        if rule.regex:
            instructions += _compiled(rule).programsize
            if instructions > _MAX_INSTRUCTIONS:
                raise RuleError(
                    f"rule {rule.rule_id!r}: with the regex {rule.regex[:60]!r} the regexes have more than {_MAX_INSTRUCTIONS:,} steps. "
                    "Write phrases, or repeat fewer times than {1000}."
                )


def _compiles(regexes: re2.Set) -> bool:
    try:
        regexes.Compile()
    except re2.error:
        return False
    return True


def _regex_options(max_mem: int | None = None) -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    if max_mem is not None:
        options.max_mem = max_mem
    return options


def _compiled(rule: Rule) -> re2._Regexp:
    try:
        return re2.compile(rule.regex, _regex_options())
    except re2.error as error:
        found = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        raise RuleError(
            f"rule {rule.rule_id!r}: regex {rule.regex[:200]!r} can't be read: {found[:200]}. "
            "Use RE2's syntax (github.com/google/re2/wiki/Syntax), or a phrase."
        ) from None


def _by_field(rules: Sequence[Rule], part: str) -> dict[str, list[tuple[int, Rule]]]:
    found: dict[str, list[tuple[int, Rule]]] = {}
    for number, rule in enumerate(rules):
        if getattr(rule, part):
            found.setdefault(rule.field, []).append((number, rule))
    return found


def _phrase_automata(rules: Sequence[Rule]) -> dict[str, ahocorasick.Automaton]:
    return {field: _automaton(numbered) for field, numbered in _by_field(rules, "phrase").items()}


def _automaton(numbered: Sequence[tuple[int, Rule]]) -> ahocorasick.Automaton:
    """Builds the automaton of one field: folded phrase, a space on each side, to the numbers of its rules."""
    by_phrase: dict[str, list[int]] = {}
    for number, rule in numbered:
        phrase = fold(rule.phrase)
        if not phrase:
            raise RuleError(f"rule {rule.rule_id!r}: phrase {rule.phrase!r} has no letter or digit, so it can't match. Use a regex.")
        by_phrase.setdefault(f" {phrase} ", []).append(number)
    automaton = ahocorasick.Automaton()
    for phrase, numbers in by_phrase.items():
        automaton.add_word(phrase, tuple(numbers))
    automaton.make_automaton()
    return automaton
