"""Spoils a catalogue's products as feeds do, in kinds and shares that are known, the same for the same seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from schemas.product import BRAND, CATEGORY, COLOUR, DESCRIBING_FIELDS, DESCRIPTION, GENDER, MERCHANT_CATEGORY, PRICE, SHOP, SIZE, TITLE

Products = list[dict[str, Any]]
Corruption = Callable[[Products, np.random.Generator], Products]
CLEAN, TOGETHER = "", "all together"
TYPO_SHARE, WRONG_CATEGORY_SHARE, SWAPPED_SHARE, TRUNCATED_SHARE = 0.05, 0.30, 0.30, 0.20
# Fields that may be left out of a feed; without an id there is no product.
REMOVABLE = (TITLE, BRAND, CATEGORY, MERCHANT_CATEGORY, DESCRIPTION, GENDER, SIZE, COLOUR, SHOP, PRICE)


def with_typos(products: Products, rng: np.random.Generator, share: float = TYPO_SHARE) -> Products:
    """Returns the products with a typing error in this share of the words of titles."""
    return [_changed(product, TITLE, partial(_words_mistyped, rng=rng, share=share)) for product in products]


def _words_mistyped(title: str, rng: np.random.Generator, share: float) -> str:
    words = title.split(" ")
    for place in np.flatnonzero(rng.random(len(words)) < share).tolist():
        words[place] = mistyped(words[place], rng)
    return " ".join(words)


def mistyped(word: str, rng: np.random.Generator) -> str:
    """Returns a word with two letters swapped, or one left out, doubled or hit wrongly; a word of one letter stays."""
    if len(word) < 2:
        return word
    at, kind = int(rng.integers(len(word) - 1)), int(rng.integers(4))
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[: at + 1] + word[at:]
    return word[:at] + chr(ord("a") + int(rng.integers(26))) + word[at + 1 :]


def with_wrong_categories(products: Products, rng: np.random.Generator, share: float = WRONG_CATEGORY_SHARE) -> Products:
    """Returns the products with this share of the merchant categories replaced by another one of the catalogue, as often as it occurs."""
    every = [product[MERCHANT_CATEGORY] for product in products if product.get(MERCHANT_CATEGORY)]
    if len(set(every)) < 2:
        return products

    def wrong(category: str) -> str:
        if rng.random() >= share:
            return category
        drawn = category
        while drawn == category:
            drawn = every[int(rng.integers(len(every)))]
        return drawn

    return [_changed(product, MERCHANT_CATEGORY, wrong) for product in products]


def with_swapped_descriptions(products: Products, rng: np.random.Generator, share: float = SWAPPED_SHARE) -> Products:
    """Returns the products with this share of the descriptions passed on among themselves, so that each has another product's."""
    described = np.array([row for row, product in enumerate(products) if product.get(DESCRIPTION)], np.int64)
    chosen = rng.permutation(described)[: round(share * len(described))].tolist()
    found = list(products)
    for row, other in zip(chosen, [*chosen[1:], *chosen[:1]], strict=True):
        found[row] = products[row] | {DESCRIPTION: products[other][DESCRIPTION]}
    return found


def with_truncated_titles(products: Products, rng: np.random.Generator, share: float = TRUNCATED_SHARE) -> Products:
    """Returns the products with this share of the titles cut in the middle, wherever that is."""

    def truncated(title: str) -> str:
        return title[: max(1, len(title) // 2)].rstrip() if rng.random() < share else title

    return [_changed(product, TITLE, truncated) for product in products]


def without_field(products: Products, rng: np.random.Generator, field: str) -> Products:
    """Returns the products without a field; one that nothing else describes keeps it, because its row would be refused."""
    del rng
    return [
        {name: value for name, value in product.items() if name != field} if _is_described_without(product, field) else product
        for product in products
    ]


def _is_described_without(product: Mapping[str, Any], field: str) -> bool:
    return any(product.get(name) for name in DESCRIBING_FIELDS if name != field)


def _changed(product: dict[str, Any], field: str, change: Callable[[str], str]) -> dict[str, Any]:
    return product | {field: change(product[field])} if product.get(field) else product


def together(products: Products, rng: np.random.Generator) -> Products:
    """Returns the products with typing errors, wrong merchant categories, swapped descriptions and cut titles, in their shares."""
    for one in (with_typos, with_wrong_categories, with_swapped_descriptions, with_truncated_titles):
        products = one(products, rng)
    return products


def corruptions(fields: Sequence[str]) -> dict[str, Corruption]:
    """Returns every kind of noise by its name, for a catalogue that has these fields."""
    removable = [field for field in REMOVABLE if field in fields]
    kinds: dict[str, Corruption] = {
        f"{100 * TYPO_SHARE:.0f} % title typos": with_typos,
        f"{100 * WRONG_CATEGORY_SHARE:.0f} % wrong merchant category": with_wrong_categories,
        f"{100 * SWAPPED_SHARE:.0f} % swapped descriptions": with_swapped_descriptions,
        f"{100 * TRUNCATED_SHARE:.0f} % truncated titles": with_truncated_titles,
        TOGETHER: together,
    }
    read = {"merchant category": MERCHANT_CATEGORY, "descriptions": DESCRIPTION}
    found = {name: kind for name, kind in kinds.items() if all(field in fields for words, field in read.items() if words in name)}
    return found | {f"no {field}": partial(without_field, field=field) for field in removable}


def corrupted(products: Products, name: str, kind: Corruption, seed: int) -> Products:
    """Returns the products with one kind of noise; the same seed and name give the same."""
    return kind(products, np.random.default_rng((seed, zlib.crc32(name.encode()))))
