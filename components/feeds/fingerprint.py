"""Tells whether feeds have changed, by their content alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from components.feeds.files import open_bytes

_CHUNK_BYTES = 1 << 20


def feeds_fingerprint(files: Iterable[str | Path]) -> str:
    """Returns a SHA-256 of the files' contents in their order, whatever their names, dates and folders.

    Raises:
        CatalogueError: a file can't be opened.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(_content_digest(file))
    return digest.hexdigest()


def _content_digest(file: str | Path) -> bytes:
    digest = hashlib.sha256()
    with open_bytes(file) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
