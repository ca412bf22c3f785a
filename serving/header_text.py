"""Cuts texts to what the status of a gRPC call holds."""

from __future__ import annotations

from urllib.parse import quote

# Clients of gRPC take 8 kB of trailing metadata, in which every letter beyond ASCII is written with three signs a byte.
_MAX_BYTES = 4_000
_PRINTABLE_ASCII = "".join(map(chr, range(32, 127)))


def header_text(text: str) -> str:
    """Returns as much of a text as the status of a gRPC call holds: with more, clients see a refusal by their library instead.

    >>> header_text("short"), len(header_text("é" * 5_000))
    ('short', 669)
    """
    if len(quote(text, safe=_PRINTABLE_ASCII)) <= _MAX_BYTES:
        return text
    size = kept = 0
    for letter in text:
        size += len(quote(letter, safe=_PRINTABLE_ASCII))
        if size > _MAX_BYTES:
            break
        kept += 1
    return f"{text[:kept]}..."
