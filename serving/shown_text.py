"""Bounds what messages hold of texts that clients, or libraries, wrote."""

from __future__ import annotations

from urllib.parse import quote

MAX_LETTERS = 2_000
# Clients of gRPC take 8 kB of trailing metadata, in which every letter beyond ASCII is written with three signs a byte.
_MAX_HEADER_BYTES = 4_000
_PRINTABLE_ASCII = "".join(map(chr, range(32, 127)))


def one_line(text: str, most: int = MAX_LETTERS) -> str:
    r"""Returns a text in one line that can be printed, cut where it is longer than `most` letters.

    >>> one_line("a" * 10, 4), one_line("two" + chr(10) + "lines")
    ('aaaa... (of 10 letters)', 'two\\nlines')
    """
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[:most]}... (of {len(text)} letters)"


def header_text(text: str) -> str:
    """Returns as much of a text as the status of a gRPC call holds: with more, clients see a refusal by their library instead.

    >>> header_text("short"), len(header_text("é" * 5_000))
    ('short', 669)
    """
    if len(quote(text, safe=_PRINTABLE_ASCII)) <= _MAX_HEADER_BYTES:
        return text
    size = kept = 0
    for letter in text:
        size += len(quote(letter, safe=_PRINTABLE_ASCII))
        if size > _MAX_HEADER_BYTES:
            break
        kept += 1
    return f"{text[:kept]}..."
