"""Keeps the ids of products whose vectors an index of another model took away, until they are upserted again or deleted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from schemas.errors import NeighbourIndexError
from similarity.change_log import sync
from similarity.changes import Change, Move


class ToEmbed:
    """Product ids in the order in which their vectors were lost. Any thread may ask, at any time.

    >>> lost = ToEmbed(["a", "b", "a", "c"])
    >>> lost.settle([Move("a", "n1")])
    >>> len(lost), lost.first(2)
    (3, ('a', 'b'))

    Args:
        product_ids: to begin with.
    """

    def __init__(self, product_ids: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._ids = dict.fromkeys(product_ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, product_id: str) -> bool:
        return product_id in self._ids

    def settle(self, changes: Iterable[Change]) -> None:
        """Forgets products that are upserted or deleted; a move gives no vector back."""
        if not self._ids:
            return
        with self._lock:
            for change in changes:
                if not isinstance(change, Move):
                    self._ids.pop(change.product_id, None)

    def first(self, count: int | None = None) -> tuple[str, ...]:
        """Returns the first of them, or all."""
        with self._lock:
            return tuple(islice(self._ids, count))


def write_to_embed(path: Path, product_ids: Iterable[str]) -> None:
    """Writes product ids, on disk when this returns."""
    path.write_text(json.dumps({"product_ids": list(product_ids)}, ensure_ascii=False) + "\n", encoding="utf-8")
    sync(path)
    sync(path.parent)


def read_to_embed(path: Path) -> list[str]:
    """Returns what `write_to_embed` wrote.

    Raises:
        NeighbourIndexError: it is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["product_ids"]
        if not isinstance(found, list) or not all(isinstance(product_id, str) for product_id in found):
            raise ValueError("product_ids aren't texts")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NeighbourIndexError(f"{path}: the products to embed can't be read: {error}. Restore it from a copy.") from None
    return found
