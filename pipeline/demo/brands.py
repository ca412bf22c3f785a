"""Invents brands: what each one sells, and under which model lines. A line is what a reader must learn to know."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.demo.tree import DemoTree

_ONSETS = ("b", "br", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "r", "s", "sk", "st", "t", "tr", "v", "z")
_VOWELS = ("a", "a", "e", "e", "i", "i", "o", "o", "u", "y", "au", "ö")
_CODAS = ("", "", "", "", "n", "r", "l", "s", "x", "nd", "rk", "t")
# A line that a brand uses all over its range says nothing certain.
_SHARED_LINE_RATE = 0.3
_LINES_PER_CATEGORY = (1, 2, 2, 3)


@dataclass(frozen=True)
class Brand:
    """A maker: its name, and for each node it makes products of, its model lines."""

    name: str
    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)


def invented_name(rng: np.random.Generator, syllables: int) -> str:
    """Returns a name nobody has heard."""
    parts = [rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)]
    return "".join(parts).capitalize()


def invent_brands(tree: DemoTree, count: int, rng: np.random.Generator) -> list[Brand]:
    """Returns brands that together make products of every answer node."""
    scopes = _scopes(tree)
    names = _distinct_names(count, rng)
    brands = []
    for number, name in enumerate(names):
        # The first round covers every scope, later ones fall where they fall.
        scope = scopes[number % len(scopes)] if number < len(scopes) else scopes[rng.integers(len(scopes))]
        brands.append(_brand(name, tree.leaves_below(scope), cover_all=number < len(scopes), rng=rng))
    return brands


def _scopes(tree: DemoTree) -> list[str]:
    """Nodes at depth 1 and 2: what one brand may spread over."""
    return [node.id for node, depth in zip(tree.taxonomy, tree.taxonomy.depths, strict=True) if depth <= 2]


def _distinct_names(count: int, rng: np.random.Generator) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < count:
        name = invented_name(rng, int(rng.integers(2, 4)))
        names[f"{name} & {invented_name(rng, 2)}" if rng.random() < 0.06 else name] = None
    return list(names)


def _brand(name: str, leaves: list[str], cover_all: bool, rng: np.random.Generator) -> Brand:
    count = len(leaves) if cover_all and len(leaves) <= 12 else min(len(leaves), int(rng.integers(3, 9)))
    chosen = [leaves[i] for i in sorted(rng.choice(len(leaves), size=count, replace=False))]
    shared = invented_name(rng, 2)
    return Brand(name, {node_id: _lines(shared, rng) for node_id in chosen})


def _lines(shared: str, rng: np.random.Generator) -> tuple[str, ...]:
    count = int(rng.choice(_LINES_PER_CATEGORY))
    return tuple(shared if rng.random() < _SHARED_LINE_RATE else invented_name(rng, 2) for _ in range(count))
