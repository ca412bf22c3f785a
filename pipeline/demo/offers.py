"""Turns an article into one shop's offer: the texts that shop would write, with that shop's habits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pipeline.demo.articles import Article
from pipeline.demo.noise import cut, with_entities, with_loose_spaces, with_tags
from pipeline.demo.shops import Shop
from pipeline.demo.tree import DemoTree
from pipeline.demo.vocabulary import (
    DEPARTMENTS,
    ENGLISH,
    GENDERS,
    GERMAN,
    LANGUAGES,
    MISLEADING_SENTENCES,
    MISLEADING_TITLES,
    PLACEHOLDERS,
    PLAIN_SENTENCES,
    TELLING_SENTENCES,
    colour_name,
    department_name,
)
from schemas import product as names
from schemas.taxonomy import Node

# What a description gives away, and how often it leads astray.
_TELLING_RATE, _MISLEADING_RATE = 0.28, 0.22
# Offers of one article whose title the shop worded anew instead of copying the maker's.
_REWORDED_RATE = 0.3
# A network's own category says the root, sometimes the level below, sometimes nothing.
_NETWORK_CATEGORY_RATE = 0.6
_MISSABLE = (names.BRAND, names.CATEGORY, names.MERCHANT_CATEGORY, names.DESCRIPTION, names.GENDER, names.SIZE, names.COLOUR, names.IMAGE)


@dataclass(frozen=True)
class Offer:
    """One row to be: texts by product field, category paths as levels, the price in cents, and the truth."""

    id: str
    shop: Shop
    article: Article
    node_id: str
    price_cents: int
    texts: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class ShopDesk:
    """Writes one shop's offers, the same words for the same category every time.

    Args:
        shop: whose offers.
        tree: the demo's tree.
        rng: where all chance comes from.
    """

    def __init__(self, shop: Shop, tree: DemoTree, rng: np.random.Generator) -> None:
        self.shop, self._tree, self._rng = shop, tree, rng
        roots = [root for root in tree.roots if not shop.roots or root.name in shop.roots]
        self.sold = [node_id for root in roots for node_id in tree.leaves_below(root.id)]
        self._level_names = self._wording()

    def offer(self, offer_id: str, article: Article, image: str) -> Offer:
        """Returns this shop's offer of an article."""
        rng, shop = self._rng, self.shop
        title, brand = self._title(article), article.brand
        if brand and rng.random() < shop.swapped_rate:
            title, brand = brand, title
        texts = {
            names.TITLE: title,
            names.BRAND: brand,
            names.DESCRIPTION: self._description(article),
            names.GENDER: self._gender(article),
            names.SIZE: self._size(article),
            names.COLOUR: colour_name(article.colour, shop.language),
            names.IMAGE: image,
        }
        paths = {names.MERCHANT_CATEGORY: self._path(article), names.CATEGORY: self._network_path(article)}
        for name in _MISSABLE:
            if rng.random() < shop.missing_rate:
                texts[name] = ""
                paths.pop(name, None)
        texts = {name: self._spoiled(name, text) for name, text in texts.items()}
        cents = max(99, int(article.price_cents * np.exp(rng.normal(0, 0.06))))
        return Offer(offer_id, shop, article, article.node_id, cents, texts, paths)

    def _wording(self) -> dict[str, str]:
        """How this shop calls each node: its name, a synonym, a translation, or a department number."""
        if self.shop.codes:
            return {node.id: f"WG {int(self._rng.integers(100, 999))}" for node in self._tree.taxonomy}
        return {node.id: self._level_name(node) for node in self._tree.taxonomy}

    def _level_name(self, node: Node) -> str:
        said = self._tree.words[node.id]
        foreign = said.german if self.shop.language == GERMAN else said.swedish
        if self.shop.language == ENGLISH:
            return str(self._rng.choice(node.synonyms)) if node.synonyms and self._rng.random() < 0.4 else node.name
        if foreign and node.name not in DEPARTMENTS:
            return foreign.capitalize()
        return department_name(node.name, self.shop.language)

    def _word(self, node_id: str, choice: int) -> str:
        said = self._tree.words[node_id]
        if self.shop.language == ENGLISH or self._rng.random() < 0.25:
            return said.words[choice % len(said.words)]
        return said.german if self.shop.language == GERMAN else said.swedish

    def _title(self, article: Article) -> str:
        rng, shop = self._rng, self.shop
        reworded = rng.random() < _REWORDED_RATE
        words = [article.line, article.model if not reworded else "", *article.branch_words[: _num_branch_words(article) - reworded]]
        if article.says_word:
            words.insert(1 if rng.random() < 0.5 else 2, self._word(article.node_id, article.word))
        if article.misleads:
            phrase = str(rng.choice(MISLEADING_TITLES[shop.language]))
            words.append(phrase.format(other=self._word(article.other_id, article.word)))
        if shop.brand_in_title:
            words.insert(0, article.brand)
        if shop.colour_in_title:
            words.append(colour_name(article.colour, shop.language))
        title = " ".join(word for word in words if word) or f"Art. {article.number}"
        title = title.upper() if shop.capitals else title
        return cut(title, shop.title_chars)

    def _description(self, article: Article) -> str:
        rng, shop = self._rng, self.shop
        if rng.random() < shop.placeholder_rate:
            return str(rng.choice(PLACEHOLDERS))
        sentences = list(rng.choice(PLAIN_SENTENCES[shop.language], size=int(rng.integers(1, 4)), replace=False))
        if rng.random() < _TELLING_RATE:
            sentences.append(str(rng.choice(TELLING_SENTENCES[shop.language])))
        if rng.random() < _MISLEADING_RATE:
            sentences.append(str(rng.choice(MISLEADING_SENTENCES[shop.language])))
        text = " ".join(str(sentence) for sentence in rng.permutation(sentences))
        return text.format(
            name=f"{article.brand} {article.line}".strip() or article.model or "?",
            brand=article.brand or shop.name,
            first=article.branch_words[0],
            second=article.branch_words[-1],
            colour=colour_name(article.colour, shop.language) or "?",
            word=self._word(article.node_id, int(rng.integers(9))),
            other=self._word(article.other_id, int(rng.integers(9))),
            year=int(rng.integers(1890, 2016)),
            days=int(rng.integers(1, 9)),
        )

    def _gender(self, article: Article) -> str:
        return GENDERS[article.gender][LANGUAGES.index(self.shop.language)] if article.gender else ""

    def _size(self, article: Article) -> str:
        if self.shop.colour_in_size and article.colour:
            return f"{article.size} {colour_name(article.colour, self.shop.language)}".strip()
        return article.size

    def _path(self, article: Article) -> tuple[str, ...]:
        depth = self.shop.category_depth
        wrong = self._rng.random() < self.shop.wrong_category_rate
        node_id = self.sold[int(self._rng.integers(len(self.sold)))] if wrong else article.node_id
        return tuple(self._level_names[above] for above in self._tree.chain(node_id)[:depth])

    def _network_path(self, article: Article) -> tuple[str, ...]:
        rng = self._rng
        if rng.random() >= _NETWORK_CATEGORY_RATE:
            return ()
        chain = self._tree.chain(article.node_id if rng.random() < 0.9 else article.other_id)
        return tuple(self._tree.taxonomy.node(above).name for above in chain[: 1 if rng.random() < 0.6 else 2])

    def _spoiled(self, name: str, text: str) -> str:
        rng, shop = self._rng, self.shop
        if name in (names.TITLE, names.BRAND, names.DESCRIPTION) and text:
            if rng.random() < shop.tag_rate and name == names.DESCRIPTION:
                text = with_tags(text, rng)
            elif rng.random() < shop.entity_rate:
                text = with_entities(text, rng)
            if rng.random() < 0.05:
                text = with_loose_spaces(text, rng)
        return text


def _num_branch_words(article: Article) -> int:
    """One or two, the same in every shop, so that copied titles stay copies."""
    return 1 + article.number % 2
