"""Draws the articles that shops offer: each one's category, maker, line, words and price, before any shop spoils them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.demo.brands import Brand
from pipeline.demo.tree import DemoTree
from pipeline.demo.vocabulary import COLOURS, GENDER_OF_NAME, SIZES

# How fast categories get rarer: the k-th most frequent has a share of 1 / (k + offset) ** steepness.
_RANK_OFFSET, _STEEPNESS = 4.0, 1.25
# A title names the category's word this often; otherwise the line must do.
_WORD_IN_TITLE_RATE = 0.42
_MISLEADING_TITLE_RATE = 0.09
_NO_BRAND_RATE = 0.07
_NO_COLOUR_RATE = 0.15


@dataclass(frozen=True)
class Article:
    """One thing made by one maker, whoever offers it. `other_id` is a node it mentions without belonging there."""

    number: int
    node_id: str
    brand: str
    line: str
    model: str
    word: int
    says_word: bool
    branch_words: tuple[str, ...]
    other_id: str
    misleads: bool
    colour: str
    size: str
    gender: str
    price_cents: int


class ArticleSource:
    """Draws articles one by one, in a long-tailed distribution over the answer nodes.

    Args:
        tree: the demo's tree.
        brands: who makes what.
        rng: where all chance comes from.
    """

    def __init__(self, tree: DemoTree, brands: list[Brand], rng: np.random.Generator) -> None:
        self._tree, self._rng = tree, rng
        self._shares = long_tail(len(tree.answers), rng)
        self._makers = {node_id: [brand for brand in brands if node_id in brand.lines] for node_id in tree.answers}
        self._usual_cents = {node_id: float(np.exp(rng.normal(8.2, 0.8))) for node_id in tree.answers}

    def draw(self, number: int) -> Article:
        """Returns the next article."""
        rng = self._rng
        node_id = self._tree.answers[int(rng.choice(len(self._shares), p=self._shares))]
        said = self._tree.words[node_id]
        brand, line = self._maker(node_id)
        return Article(
            number=number,
            node_id=node_id,
            brand=brand,
            line=line,
            model=_model(rng),
            word=int(rng.integers(len(said.words))),
            says_word=bool(rng.random() < _WORD_IN_TITLE_RATE),
            branch_words=_some(said.branch_words, 3, rng),
            other_id=self._other(node_id),
            misleads=bool(rng.random() < _MISLEADING_TITLE_RATE),
            colour="" if rng.random() < _NO_COLOUR_RATE else str(rng.choice(list(COLOURS))),
            size=_one(SIZES[said.size_kind], rng),
            gender=self._gender(node_id),
            price_cents=max(99, int(self._usual_cents[node_id] * np.exp(rng.normal(0, 0.5))) // 10 * 10 + 9),
        )

    def _maker(self, node_id: str) -> tuple[str, str]:
        rng = self._rng
        makers = self._makers[node_id]
        if not makers or rng.random() < _NO_BRAND_RATE:
            return "", ""
        # The first maker of a node sells most of it.
        maker = makers[min(int(rng.geometric(0.35)) - 1, len(makers) - 1)]
        lines = maker.lines[node_id]
        return maker.name, lines[int(rng.integers(len(lines)))]

    def _other(self, node_id: str) -> str:
        """A node close by as often as one from anywhere."""
        near = self._tree.leaves_below(self._tree.root(node_id))
        pool = near if self._rng.random() < 0.5 else list(self._tree.answers)
        others = [other for other in pool if other != node_id]
        return others[int(self._rng.integers(len(others)))]

    def _gender(self, node_id: str) -> str:
        names = [self._tree.taxonomy.node(above).name for above in self._tree.chain(node_id)]
        found = [GENDER_OF_NAME[name] for name in names if name in GENDER_OF_NAME]
        return found[0] if found else ("unisex" if self._rng.random() < 0.1 else "")


def long_tail(count: int, rng: np.random.Generator) -> np.ndarray:
    """Returns shares that add up to 1, a few large and many small, in random order."""
    shares = 1.0 / (np.arange(count) + _RANK_OFFSET) ** _STEEPNESS
    return rng.permutation(shares / shares.sum())


def _model(rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return ""
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTVXZ"), size=int(rng.integers(1, 3))))
    return f"{letters}{rng.choice(['', '-', ' '])}{int(rng.integers(10, 990))}"


def _one(values: tuple[str, ...], rng: np.random.Generator) -> str:
    return str(rng.choice(values)) if values else ""


def _some(values: tuple[str, ...], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(str(value) for value in rng.choice(values, size=min(count, len(values)), replace=False))
