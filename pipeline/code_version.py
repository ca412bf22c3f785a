"""Digests the code behind a stage, because TFX's cache doesn't look at code behind a dotted path."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def code_version(parts: Sequence[str]) -> str:
    """Returns a digest of the sources of these files and folders, relative to the program's root.

    Raises:
        FileNotFoundError: a part doesn't exist, so that a renamed file can't go unnoticed.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        path = _ROOT / part
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not files:
            raise FileNotFoundError(f"{path} holds no code")
        for file in files:
            digest.update(str(file.relative_to(_ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
