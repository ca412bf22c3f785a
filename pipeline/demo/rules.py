"""Writes the rules the demo shop's analysts left behind: mostly useful, some stale, some plainly wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pipeline.demo.brands import Brand
from pipeline.demo.tree import DemoTree
from schemas import product as names
from schemas.rules import Rule

_AUTHORS = ("mara", "joost", "import 2019")
# Share of answer nodes whose first word has a rule, whose other words have one each, whose foreign words have one each.
_FIRST_WORD_RATE, _OTHER_WORD_RATE, _FOREIGN_WORD_RATE, _SHOP_PATH_RATE, _DESCRIPTION_RATE = 0.9, 0.62, 0.6, 0.3, 0.12
_NUM_BRAND_RULES = 42

# Path, field, what to look for, note. Analysts' work by hand: good ones first.
_REGEXES = (
    ("Sports & Outdoor > Cycling", names.TITLE, r"\b(bike|bicycle|fahrrad|cykel)", "anything with a bike in it"),
    ("Electronics", names.TITLE, r"\b\d+ ?GB\b", "memory means electronics"),
    ("Electronics > Computers > Laptops", names.TITLE, r"\b(8|16|32) GB RAM\b", "RAM is in laptops; tablets and hubs say it too"),
    ("Beauty & Care", names.SIZE, r"^\d+ ml$", "sold by the millilitre"),
    ("Pets > Dogs", names.TITLE, r"\b(dog|hund)\w*", "dogs"),
    ("Pets > Cats", names.TITLE, r"\b(cat|katzen|katt)\w*", "cats; finds catalogue and category too"),
)
_BAD_PHRASES = (
    ("Home & Living > Lamps", names.TITLE, "lamp", "too wide: bike lamps, garden lamps"),
    ("Home & Living > Kitchen > Cookware > Pots", names.TITLE, "pot", "flower pots too"),
    ("Beauty & Care > Make-up > Brushes", names.TITLE, "brush", "hair, paint and craft brushes too"),
    ("Fashion > Jewellery & Watches > Watches", names.TITLE, "watch", "smart ones too"),
    ("Fashion > Men > Shoes > Boots", names.TITLE, "boots", "women's and football boots too"),
    ("Fashion > Men > Jackets", names.TITLE, "jacket", "whose jacket?"),
    ("Electronics > Televisions", names.TITLE, "smart", "smart was only TVs once"),
    ("Toys & Games > Games > Puzzles", names.TITLE, "48 pieces", "building sets too"),
)
_BAD_REGEXES = (("Home & Living > Lamps", names.TITLE, "light", "no word boundary: lightweight"),)
# A veto takes matches away at its node and below.
_VETOES = (
    ("Home & Living > Lamps", names.TITLE, "bike", "bike lamps live in Sports"),
    ("Home & Living > Lamps", names.TITLE, "garden", "garden lamps live in Garden"),
    ("Home & Living > Kitchen > Cookware > Pots", names.TITLE, "flower pot", "those are for plants"),
    ("Fashion > Men", names.GENDER, "women", "not for men"),
    ("Fashion > Men", names.GENDER, "Damen", "not for men"),
    ("Fashion > Women", names.GENDER, "men", "not for women"),
    ("Fashion > Women", names.GENDER, "Herren", "not for women"),
    ("Fashion > Women", names.GENDER, "herr", "not for women"),
    ("Fashion > Kids", names.GENDER, "men", "not for kids"),
    ("Electronics > Phones > Smartphones", names.TITLE, "phone holder", "accessories"),
)
# Node, field, phrase, regex, note, veto.
Wanted = tuple[str, str, str, str, str, bool]


def write_down_rules(tree: DemoTree, brands: Iterable[Brand], sold: Mapping[str, int], rng: np.random.Generator) -> list[Rule]:
    """Returns the rules, in the order they were written over the years.

    Args:
        tree: the demo's tree.
        brands: some of them get a rule.
        sold: how many products each answer node has.
        rng: where all chance comes from.
    """
    wanted = [*_word_rules(tree, sold, rng), *_brand_rules(tree, list(brands), sold, rng), *_hand_made(tree)]
    return [
        Rule(
            rule_id=f"r{number:04d}",
            node_id=node_id,
            field=field,
            phrase=phrase,
            regex=regex,
            veto=veto,
            note=note,
            author=str(rng.choice(_AUTHORS)),
        )
        for number, (node_id, field, phrase, regex, note, veto) in enumerate(wanted, 1)
    ]


def _word_rules(tree: DemoTree, sold: Mapping[str, int], rng: np.random.Generator) -> Iterator[Wanted]:
    name_uses = Counter(node.name for node in tree.taxonomy)
    most_sold: dict[str, int] = {}
    for node_id in tree.answers:
        for word in _words_of(tree, node_id):
            most_sold[word] = max(most_sold.get(word, 1), sold.get(node_id, 0))
    for node_id in tree.answers:
        words, name = _words_of(tree, node_id), tree.taxonomy.node(node_id).name
        for word, chance in words.items():
            # A word that fits several nodes mostly has its rule at the one that sells most.
            if rng.random() < chance * max(1, sold.get(node_id, 0)) / most_sold[word]:
                yield node_id, names.TITLE, word, "", "", False
        if rng.random() < _SHOP_PATH_RATE and name_uses[name] == 1:
            yield node_id, names.MERCHANT_CATEGORY, name, "", "shop says so", False
        if rng.random() < _DESCRIPTION_RATE:
            yield node_id, names.DESCRIPTION, next(iter(words)), "", "", False


def _words_of(tree: DemoTree, node_id: str) -> dict[str, float]:
    """The words of a node, each with its chance of a rule, as analysts write them."""
    said = tree.words[node_id]
    first, *others = said.words
    chances = {said.german.lower(): _FOREIGN_WORD_RATE, said.swedish.lower(): _FOREIGN_WORD_RATE}
    return {first: _FIRST_WORD_RATE} | dict.fromkeys(others, _OTHER_WORD_RATE) | {w: c for w, c in chances.items() if w not in said.words}


def _brand_rules(tree: DemoTree, brands: list[Brand], sold: Mapping[str, int], rng: np.random.Generator) -> Iterator[Wanted]:
    """Brands put at what they make: at the node all their products share, or, rashly, at their best seller."""
    for brand in [brands[i] for i in rng.choice(len(brands), size=min(_NUM_BRAND_RULES, len(brands)), replace=False)]:
        made = list(brand.lines)
        rash = rng.random() < 0.2
        node_id = max(made, key=lambda made_id: sold.get(made_id, 0)) if rash else _shared_ancestor(tree, made)
        if node_id:
            yield node_id, names.BRAND, brand.name, "", "their best seller" if rash else "all they make", False


def _shared_ancestor(tree: DemoTree, node_ids: list[str]) -> str:
    chains = [tree.chain(node_id) for node_id in node_ids]
    shared = [levels[0] for levels in zip(*chains, strict=False) if len(set(levels)) == 1]
    return shared[-1] if shared else ""


def _hand_made(tree: DemoTree) -> Iterator[Wanted]:
    ids = {tree.taxonomy.path(node.id): node.id for node in tree.taxonomy}
    for path, field, regex, note in (*_REGEXES, *_BAD_REGEXES):
        yield ids[path], field, "", regex, note, False
    for path, field, phrase, note in _BAD_PHRASES:
        yield ids[path], field, phrase, "", note, False
    for path, field, phrase, note in _VETOES:
        yield ids[path], field, phrase, "", note, True
