"""Counts what the rules did to the products: coverage, overlaps, conflicts and precision against people's answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from components.rule_matching import RuleMatcher
from schemas.rules import Rule
from schemas.taxonomy import Taxonomy

NUM_OVERLAPS = 5
NUM_CONFLICTS = 20
# Bounds on memory: kept pairs, and the rules of one product that are paired.
_MAX_PAIRS = 200_000
_MAX_PAIRED_RULES = 32
_Z_95 = 1.959963984540054


def wilson_interval(right: int, judged: int, z: float = _Z_95) -> tuple[float, float]:
    """Returns the Wilson score interval of a share, `(0.0, 1.0)` where nothing was judged.

    >>> [round(bound, 4) for bound in wilson_interval(9, 10)]
    [0.5958, 0.9821]

    Source:
        Wilson 1927, JASA 22.
    """
    if not judged:
        return 0.0, 1.0
    share = right / judged
    scale = 1 + z * z / judged
    centre = (share + z * z / (2 * judged)) / scale
    half = z * math.sqrt(share * (1 - share) / judged + z * z / (4 * judged * judged)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


class PairCounts:
    """Counts unordered pairs in bounded memory: when there are too many, the rarest half is forgotten.

    Counts are exact up to `max_pairs` different pairs; beyond, a pair may be counted too low, never too high.
    """

    def __init__(self, max_pairs: int = _MAX_PAIRS) -> None:
        self._max_pairs = max_pairs
        self._counts: Counter[tuple[int, int]] = Counter()
        self.exact = True

    def add(self, numbers: Sequence[int]) -> None:
        """Counts every pair of the ascending numbers once; beyond 32 numbers, the pairs of the first 32."""
        if len(numbers) < 2:
            return
        if len(numbers) > _MAX_PAIRED_RULES:
            numbers, self.exact = numbers[:_MAX_PAIRED_RULES], False
        counts = self._counts
        for at, first in enumerate(numbers):
            for second in numbers[at + 1 :]:
                counts[first, second] += 1
        self._bound()

    def merge(self, other: PairCounts) -> None:
        """Adds another one's counts."""
        self._counts.update(other._counts)
        self.exact = self.exact and other.exact
        self._bound()

    def _bound(self) -> None:
        if len(self._counts) > self._max_pairs:
            self._counts = Counter(dict(self._counts.most_common(self._max_pairs // 2)))
            self.exact = False

    def items(self) -> list[tuple[tuple[int, int], int]]:
        """Returns the pairs with their counts, most frequent first; ties in the order of the numbers."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))


class RuleCounts:
    """What the rules did so far. Mergeable, and as large as the number of rules, whatever the number of products."""

    def __init__(self, num_rules: int) -> None:
        self.products = 0
        self.covered = 0
        self.conflicts = 0
        self.matches = [0] * num_rules
        self.vetoed = [0] * num_rules
        self.only = [0] * num_rules
        self.judged = [0] * num_rules
        self.right = [0] * num_rules
        self.pairs = PairCounts()
        self.conflict_pairs = PairCounts()

    def add(self, matcher: RuleMatcher, fired: Sequence[int], standing: Sequence[int], answer: int | None) -> None:
        """Counts one product.

        Args:
            matcher: the rules that fired.
            fired: rule numbers as `matcher.fired` gives them.
            standing: those that `matcher.standing` left.
            answer: the number of the node a person answered; None where nobody did, or where it must not be judged by.
        """
        self.products += 1
        if not fired:
            return
        self.pairs.add(fired)
        kept = set(standing)
        for i in fired:
            self.matches[i] += 1
            if i not in kept and not matcher.is_veto[i]:
                self.vetoed[i] += 1
        if standing:
            self._add_standing(matcher, standing)
        if answer is not None:
            self._judge(matcher, [i for i in fired if i in kept or matcher.is_veto[i]], answer)

    def _add_standing(self, matcher: RuleMatcher, standing: Sequence[int]) -> None:
        self.covered += 1
        if len(standing) == 1:
            self.only[standing[0]] += 1
            return
        lowest = deepest_nodes({matcher.rule_nodes[i] for i in standing}, matcher.taxonomy_ends)
        if len(lowest) > 1:
            self.conflicts += 1
            self.conflict_pairs.add(lowest)

    def _judge(self, matcher: RuleMatcher, rules: Sequence[int], answer: int) -> None:
        for i in rules:
            node = matcher.rule_nodes[i]
            inside = node <= answer < matcher.taxonomy_ends[node]
            self.judged[i] += 1
            self.right[i] += inside != matcher.is_veto[i]

    def merge(self, other: RuleCounts) -> None:
        """Adds what another part of the products gave."""
        self.products += other.products
        self.covered += other.covered
        self.conflicts += other.conflicts
        for name in ("matches", "vetoed", "only", "judged", "right"):
            setattr(self, name, [a + b for a, b in zip(getattr(self, name), getattr(other, name), strict=True)])
        self.pairs.merge(other.pairs)
        self.conflict_pairs.merge(other.conflict_pairs)


def deepest_nodes(nodes: set[int], ends: Sequence[int]) -> list[int]:
    """Returns those nodes, in tree order, that have none of the others below them; two of them contradict each other."""
    ordered = sorted(nodes)
    followed_by = [*ordered[1:], -1][: len(ordered)]
    return [node for node, after in zip(ordered, followed_by, strict=True) if not node < after < ends[node]]


def rule_report(counts: RuleCounts, rules: Sequence[Rule], taxonomy: Taxonomy, labels: Mapping[str, int]) -> dict[str, Any]:
    """Returns the content of `rule_report.json`; every float has four decimals.

    A rule's `precision` is the share of its judged matches whose answer lies in the subtree of its node; for a veto, of
    those whose answer lies outside. It is None where nothing was judged.
    """
    overlaps = _overlaps(counts, rules)
    return {
        "products": counts.products,
        "covered": counts.covered,
        "coverage": _share(counts.covered, counts.products),
        "conflicts": counts.conflicts,
        "labels": dict(labels),
        "overlaps_exact": counts.pairs.exact,
        "conflicting_nodes": _conflicting_nodes(counts, taxonomy),
        "rules": [_rule_row(i, rule, counts, overlaps.get(i, [])) for i, rule in enumerate(rules)],
    }


def _conflicting_nodes(counts: RuleCounts, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Returns the pairs of nodes that rules most often put one product at although neither contains the other."""
    found = []
    for numbers, products in counts.conflict_pairs.items()[:NUM_CONFLICTS]:
        ids = [taxonomy[number].id for number in numbers]
        found.append({"nodes": ids, "paths": [taxonomy.path(node_id) for node_id in ids], "products": products})
    return found


def _rule_row(i: int, rule: Rule, counts: RuleCounts, overlaps: list[dict[str, Any]]) -> dict[str, Any]:
    low, high = wilson_interval(counts.right[i], counts.judged[i])
    return {
        "rule_id": rule.rule_id,
        "node_id": rule.node_id,
        "field": rule.field,
        "phrase": rule.phrase,
        "regex": rule.regex,
        "veto": rule.veto,
        "matches": counts.matches[i],
        "vetoed": counts.vetoed[i],
        "only": counts.only[i],
        "judged": counts.judged[i],
        "right": counts.right[i],
        "precision": _share(counts.right[i], counts.judged[i]),
        "precision_low": round(low, 4),
        "precision_high": round(high, 4),
        "overlaps": overlaps,
    }


def _overlaps(counts: RuleCounts, rules: Sequence[Rule]) -> dict[int, list[dict[str, Any]]]:
    """Returns for each rule the rules that fire most often on the same products."""
    found: dict[int, list[dict[str, Any]]] = {}
    for (a, b), products in counts.pairs.items():
        for this, that in ((a, b), (b, a)):
            mine = found.setdefault(this, [])
            if len(mine) < NUM_OVERLAPS:
                mine.append({"rule_id": rules[that].rule_id, "products": products})
    return found


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
