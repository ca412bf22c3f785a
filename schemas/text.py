"""Folds text, so that case, accents and punctuation never decide whether two texts agree."""

from __future__ import annotations

import re
import unicodedata

_NOT_WORD = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Returns the words of `text` in lower case, without accents, with one space between them.

    >>> fold("  Crème-Brûlée SET (2 pcs)")
    'creme brulee set 2 pcs'
    >>> fold(fold("Ærø – ÅNGSTRÖM")) == fold("Ærø – ÅNGSTRÖM")
    True
    """
    if text.isascii():
        return _NOT_WORD.sub(" ", text.lower()).strip()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _NOT_WORD.sub(" ", unicodedata.normalize("NFC", bare)).strip()
