"""Says what BERT's uncased tokenizer makes of a single code point, before a text is cut into words."""

from __future__ import annotations

import unicodedata

# Planes 0 to 2 hold every letter in use; what lies above is tags and private use, which the tokenizer leaves out.
NUM_CODE_POINTS = 0x30000
_IDEOGRAPHS = (
    range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0xF900, 0xFB00), range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2B740), range(0x2B740, 0x2B820), range(0x2B920, 0x2CEB0), range(0x2F800, 0x2FA20),
)  # fmt: skip
_SPACES = frozenset(("Zs", "Zl", "Zp"))
_DROPPED = frozenset(("Cc", "Cf", "Co", "Cs"))
_REPLACEMENT = "\ufffd"


def spelling(code_point: int) -> str:
    r"""Returns the text that stands for a code point: lower case, without accents, spaces around what is a word of its own.

    >>> [spelling(ord(letter)) for letter in "Aé,\t漢\x07"]
    ['a', 'e', ' , ', ' ', ' 漢 ', '']
    """
    letter = chr(code_point)
    category = unicodedata.category(letter)
    if letter in "\t\n\r" or category in _SPACES:
        return " "
    if letter == _REPLACEMENT or category in _DROPPED:
        return ""
    plain = "".join(part for part in unicodedata.normalize("NFD", letter) if unicodedata.category(part) != "Mn").lower()
    if any(code_point in block for block in _IDEOGRAPHS):
        return f" {plain} "
    return "".join(f" {part} " if _is_punctuation(part) else part for part in plain)


def _is_punctuation(letter: str) -> bool:
    # All ASCII symbols count, $ and + and ~ too, which Unicode doesn't call punctuation.
    return unicodedata.category(letter).startswith("P") or (
        letter.isascii() and letter.isprintable() and not letter.isalnum() and letter != " "
    )
