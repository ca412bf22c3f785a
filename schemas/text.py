"""Reads text as people mean it: folded words, whole characters, and lines that end where an editor ends them."""

from __future__ import annotations

import re
import unicodedata

_NOT_WORD = re.compile(r"[\W_]+")


def is_unicode(text: str) -> bool:
    r"""Returns whether a text can be written as UTF-8: JSON's escapes and bytes of file names may hold halves of characters.

    >>> is_unicode("é"), is_unicode("\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fold(text: str) -> str:
    """Returns the words of `text` in lower case, without accents, with one space between them.

    >>> fold("  Crème-Brûlée SET (2 pcs)")
    'creme brulee set 2 pcs'
    >>> fold(fold("Ærø – ÅNGSTRÖM")) == fold("Ærø – ÅNGSTRÖM")
    True
    """
    if text.isascii():
        return _NOT_WORD.sub(" ", text.lower()).strip()
    # Twice each: a mathematical capital has no small letter until it is decomposed, and folding may compose again.
    decomposed = text
    for _ in range(2):
        decomposed = unicodedata.normalize("NFKD", decomposed.casefold())
    bare = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _NOT_WORD.sub(" ", unicodedata.normalize("NFC", bare)).strip()


def split_lines(text: str) -> list[str]:
    r"""Returns the lines of `text`; unlike `str.splitlines`, a form feed, U+0085 or U+2028 inside a cell ends no line.

    >>> split_lines("a\tb\u2028c\r\nd\n")
    ['a\tb\u2028c', 'd']
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines
