"""Computes one digest of everything in a folder, so that two copies of a model can be told to be the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def folder_sha256(folder: Path) -> str:
    """Returns a digest of the relative paths and contents of all files below a folder, hidden ones included.

    Args:
        folder: a local folder.

    Returns:
        64 hexadecimal digits; the same for every copy of the folder, whatever its name or its files' times.
    """
    digest = hashlib.sha256()
    for path in sorted(found for found in folder.rglob("*") if found.is_file()):
        name = path.relative_to(folder).as_posix().encode()
        digest.update(f"{len(name)}:{path.stat().st_size}:".encode() + name)
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def names_sha256(digests: Mapping[str, str]) -> str:
    """Returns one digest of names and the digests of what they name, whatever their order."""
    lines = "".join(f"{name}\0{digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()
