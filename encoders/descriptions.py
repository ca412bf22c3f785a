"""Describes an encoder from its files alone, so that a run can be planned before TensorFlow is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TEXT, IMAGE = "text", "image"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Description:
    """What must be known of an encoder to plan with it.

    Attributes:
        kind: its kind, such as `minilm`.
        reads: `text` or `image`.
        size: length of its vectors.
        digest: of its weights, its options and the version of its code: equal digests make equal vectors.
    """

    kind: str
    reads: str
    size: int
    digest: str


def digest_of(version: str, files: Iterable[Path], options: Iterable[object] = ()) -> str:
    """Returns a digest of files' content, wherever they are, with the options and the version of the code that reads them."""
    digest = hashlib.sha256(repr((version, *options)).encode())
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:32]
