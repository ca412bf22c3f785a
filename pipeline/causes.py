"""Finds what a user can mend behind whatever was raised: our own errors, and the system's about disks and files."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from schemas import errors
from schemas.errors import AisleError, StoreError

# Beam passes a worker's exception on as its traceback's text, with a note of the step behind it.
_WRITTEN = re.compile(r"schemas\.errors\.(\w+): (.+?)(?: \[while running [^\n]*)?(?:\n|$)")
_AGAIN = "then give the same command again: finished stages come from the cache, and what is live stays as it was."
# What the C library, SQLite and TensorFlow's files say of the same few troubles, and the way out.
_SYSTEM = (
    (r"no space left on device|database or disk is full|disk quota exceeded|file too large", "the disk is full", f"Make room, {_AGAIN}"),
    (
        r"read-only file system|permission denied|operation not permitted|attempt to write a readonly database",
        "can't be written",
        f"Make it writable, {_AGAIN}",
    ),
    (
        r"database is locked|database table is locked|concurrent writes aborted",
        "another program is using metadata.sqlite",
        f"Wait until it is done, {_AGAIN}",
    ),
    (
        r"database disk image is malformed|file is not a database|file is encrypted",
        "metadata.sqlite is damaged",
        "Move it and the folder pipeline beside it away, or restore both from a backup: what is live and people's answers stay.",
    ),
)
_NUMBERS = {errno.ENOSPC: 0, errno.EDQUOT: 0, errno.EFBIG: 0, errno.EROFS: 1, errno.EACCES: 1, errno.EPERM: 1}


def find_cause(error: BaseException, root: Path | None = None) -> AisleError | None:
    """Returns the user's error behind an exception: itself, what caused it, or what a Beam worker wrote of it as text.

    Args:
        error: what was raised.
        root: where a run writes; named where a full disk or the like doesn't say of which file.
    """
    chain = list(_chain(error))
    ours = next((found for found in chain if isinstance(found, AisleError)), None)
    return (
        ours
        or next((found for found in map(_written_cause, chain) if found), None)
        or next((found for found in (_system_cause(raised, root) for raised in chain) if found), None)
    )


def system_error(error: OSError, place: Path) -> StoreError:
    """Returns what the system says about a file as an error of ours, with the way out."""
    return _system_cause(error, place) or StoreError(
        f"{error.filename or place}: {error.strerror or error}. Check that the folder is there and that you may write to it."
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        yield following
        seen.append(following)
        following = following.__cause__ or following.__context__


def _written_cause(error: BaseException) -> AisleError | None:
    match = _WRITTEN.search(str(error))
    kind = getattr(errors, match[1], None) if match else None
    if match is None or not isinstance(kind, type) or not issubclass(kind, AisleError):
        return None
    return kind(match[2].strip())


def _system_cause(error: BaseException, root: Path | None) -> StoreError | None:
    number = _NUMBERS.get(error.errno or 0) if isinstance(error, OSError) else None
    if number is None:
        text = str(error).lower()
        number = next((at for at, (pattern, _, _) in enumerate(_SYSTEM) if re.search(pattern, text)), None)
    if number is None:
        return None
    place = (error.filename if isinstance(error, OSError) else None) or root or "a file"
    return StoreError(f"{place}: {_SYSTEM[number][1]}. {_SYSTEM[number][2]}")
