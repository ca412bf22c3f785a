"""Damages small valid files byte by byte: flips, inserts, deletions, splices, repeats, and words of the format's own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

# What readers of any text stumble over.
TOKENS = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b'"', b"'", b",", b";", b"\\", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\xed\xa0\x80", b"\xc3", b"\xf4\x90\x80\x80", b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xc2\x85", b"\x1b[2J", b"\x7f", b"-1", b"0",
    b"1e999", b"9" * 40, b"9" * 5000, b"nan", b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"=1+1", b"../../etc/passwd",
    b"/etc/passwd", b"file:///etc/passwd", b"%s%n", b"{}", b"[]", b"<", b">", b"&", b"\\ud800", b"\\u0000", b"\xcc\x81" * 40,
)  # fmt: skip
_MAX_BYTES = 200_000


def mutants(seeds: Sequence[bytes], tokens: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yields `count` damaged copies of the seeds, the same ones for the same `seed`."""
    rng = random.Random(seed)
    words = (*TOKENS, *tokens)
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 5, 12))):
            rng.choice(_DAMAGES)(data, rng, seeds, words)
        yield bytes(data[:_MAX_BYTES])


def _flip(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _replace(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 9, 10, 13, 32, 34, 127, 128, 254, 255, rng.randrange(256)))


def _insert(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 8))


def _word(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    start, stop = _span(data, rng) if rng.random() < 0.5 else (at := rng.randint(0, len(data)), at)
    data[start:stop] = rng.choice(words)


def _delete(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    start, stop = _span(data, rng)
    del data[start:stop]


def _repeat(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    start, stop = _span(data, rng)
    times = rng.choice((2, 3, 10, 100, 1000, 20_000))
    data[start:stop] = (bytes(data[start:stop]) * times)[:_MAX_BYTES]


def _splice(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    start, stop = _span(other, rng)
    at = rng.randint(0, len(data))
    data[at:at] = other[start:stop]


def _cut(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    del data[rng.randint(0, len(data)) :]


def _line_ends(data: bytearray, rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    data[:] = bytes(data).replace(b"\n", rng.choice((b"\r", b"\r\n", b"\n\n", b"\n\r", b"\0\n", b"")))


def _span(data: Sequence[int], rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 64, 1000)))


_DAMAGES: tuple[Callable[[bytearray, random.Random, Sequence[bytes], Sequence[bytes]], None], ...] = (
    _flip, _flip, _replace, _insert, _word, _word, _word, _delete, _repeat, _splice, _cut, _line_ends,
)  # fmt: skip
