"""Moves and replaces files so that a name is never on disk before what it names; plain Python, one file system."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Puts a file's content, or a folder's list of names, on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_tree(folder: Path) -> None:
    """Puts a folder and everything in it on disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def make_folder(folder: Path) -> None:
    """Makes a folder and its parents, each of them on disk when this returns."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def move(source: Path, target: Path) -> None:
    """Renames a folder, making the target's parents; both lists of names are on disk when this returns.

    Raises:
        FileExistsError: the target is there already, be it empty.
    """
    make_folder(target.parent)
    if target.exists():
        raise FileExistsError(17, "it is there already", str(target))
    source.rename(target)
    sync(target.parent)
    sync(source.parent)


def replace_text(path: Path, text: str, part: Path) -> None:
    """Replaces a file by a text in one rename.

    Args:
        path: the file; a reader sees the old text or the new one, whole.
        text: written as UTF-8.
        part: holds the text until then, on the same file system.
    """
    part.write_text(text, encoding="utf-8")
    sync(part)
    part.replace(path)
    sync(path.parent)
