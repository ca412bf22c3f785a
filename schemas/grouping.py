"""Puts near-duplicate offers of one product into one group, which then never crosses the dev/test split."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from schemas.product import DEV, ID, SHOP, SIZE, TEST, TITLE
from schemas.text import fold

_LETTER_SIZES = frozenset({"xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl", "2xl", "3xl", "4xl", "5xl"})
_SURE_LETTER_SIZES = _LETTER_SIZES - {"s", "m", "l"}
_SIZE_SYSTEMS = frozenset({"eu", "eur", "uk", "us", "size", "gr", "groesse", "grosse", "maat", "taille", "talla", "taglia"})
_GENDERS = frozenset({
    "men", "mens", "man", "women", "womens", "woman", "male", "female", "unisex", "ladies", "gents", "boys", "girls",
    "herren", "damen", "heren", "dames", "homme", "hommes", "femme", "femmes", "uomo", "donna", "hombre", "mujer",
})  # fmt: skip


def group_key(product: Mapping[str, Any]) -> str:
    """Returns the group of a product, 16 hexadecimal digits: offers that share it are taken for one product.

    It looks at the product alone, so it needs no other rows, no order and no state. Two offers meet where the words of
    their folded titles are the same, whatever their case, accents, punctuation and order, after taking off what shops put
    at the end: the offer's own shop name, its own size or any size that is plainly one, and a word for men or women.

    It's relative to the title as cleaned by `schemas.cleaning`, and it misses near-copies with other words, a typing
    error, or a colour in only one of the two titles; and words for sizes, men or women count unless they are at the end, so
    'Women Runner' is not 'Runner Women', which is 'Runner'. It joins different products that share a title word for word. A
    title that is missing or has no letter or digit (`***`, an emoji) says nothing, so such a product is a group of its own,
    by its id, whatever its other fields say.

    >>> first = group_key({"id": "1", "title": "Crème Sneaker - Men - XL", "shop": "Big Shop"})
    >>> first == group_key({"id": "2", "title": "sneaker CREME | bigshop", "shop": "bigshop"})
    True
    """
    title = fold(str(product.get(TITLE) or ""))
    words = _without_endings(title.split(), str(product.get(SHOP) or ""), str(product.get(SIZE) or ""))
    if not words:
        return _digest(f"id\0{product.get(ID)}")
    words.sort()
    return _digest(" ".join(words))


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _without_endings(words: list[str], shop: str, size: str) -> list[str]:
    """Takes shop, size and gender off the end, in any order, but never the last word."""
    shop_words = fold(shop).split() if shop else []
    size_words = fold(size).split() if size else []
    while len(words) > 1:
        cut = _shop_length(words, shop_words) or _size_length(words, size_words) or (1 if words[-1] in _GENDERS else 0)
        if not 0 < cut < len(words):
            break
        words = words[:-cut]
    return words


def _shop_length(words: list[str], shop_words: list[str]) -> int:
    return len(shop_words) if shop_words and words[-len(shop_words) :] == shop_words else 0


def _size_length(words: list[str], size_words: list[str]) -> int:
    """Returns how many words at the end are a size: the offer's own, `eu 42`, `size m`, or letters that can be nothing else."""
    if size_words and words[-len(size_words) :] == size_words:
        before = words[-len(size_words) - 1] if len(words) > len(size_words) else ""
        return len(size_words) + (before in _SIZE_SYSTEMS)
    last = words[-1]
    if last in _SURE_LETTER_SIZES:
        return 2 if words[-2] in _SIZE_SYSTEMS else 1
    if words[-2] in _SIZE_SYSTEMS and (last in _LETTER_SIZES or (last.isdigit() and len(last) <= 3)):
        return 2
    return 0


def split_of(group: str, test_share: float, seed: int) -> str:
    """Returns `test` for about `test_share` of all groups, else `dev`: a hash, so any row can be placed alone.

    A product keeps its side when rows are added or leave, for as long as seed and share stay. Raising the share only
    moves groups from dev to test.

    >>> sum(split_of(str(number), 0.1, seed=0) == "test" for number in range(10_000))
    1025
    """
    drawn = int.from_bytes(blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest(), "big")
    return TEST if drawn < test_share * 2**64 else DEV
