"""Says what can happen to a product in a live index, and writes it as bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import NeighbourIndexError
from similarity.product_columns import TEXT_COLUMNS

MAX_TEXT_BYTES = 2_000
_LENGTHS = struct.Struct("<II")  # Bytes of the head, bytes of the vector.
_PRICE = "price"
_HIGHEST_PRICE = float(np.finfo(np.float32).max)  # Prices are stored as float32.


@dataclass(frozen=True)
class Upsert:
    """A product is there, with this vector, node and fields, whatever was there before.

    Attributes:
        product_id: of the product.
        node_id: where it is; empty for no node: found by searches of the whole index only.
        vector: float32 `[dimension]`, of any length but zero.
        fields: any of shop, brand and gender (text) and price (number).
    """

    product_id: str
    node_id: str
    vector: npt.NDArray[np.float32]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Delete:
    """A product is gone; nothing happens where it wasn't there."""

    product_id: str


@dataclass(frozen=True)
class Move:
    """A product is at another node, its vector and fields unchanged; nothing happens where it isn't there."""

    product_id: str
    node_id: str


Change = Upsert | Delete | Move
_KINDS: Mapping[str, type] = {"upsert": Upsert, "delete": Delete, "move": Move}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def checked(change: Change, node_numbers: Mapping[str, int], dimension: int) -> Change:
    """Returns a change as it is stored, its vector of unit length.

    Args:
        change: as somebody asks for it.
        node_numbers: the nodes of the index's taxonomy.
        dimension: of its vectors.

    Raises:
        NeighbourIndexError: an id that is empty or too long, an unknown node or field, or a vector of another dimension,
            of zeros or of numbers that aren't finite.
    """
    _check_text("product id", change.product_id, change.product_id)
    if not change.product_id:
        raise NeighbourIndexError("a change names no product. Give its id.")
    if isinstance(change, Delete):
        return change
    if change.node_id and change.node_id not in node_numbers:
        raise NeighbourIndexError(
            f"product {change.product_id!r}: node {change.node_id!r} isn't in the index's taxonomy of {len(node_numbers)} nodes. "
            "Use one of its ids, or none."
        )
    if isinstance(change, Move):
        return change
    return Upsert(change.product_id, change.node_id, _unit(change, dimension), _checked_fields(change))


def _check_text(what: str, text: object, product_id: str) -> None:
    if not isinstance(text, str):
        raise NeighbourIndexError(f"product {product_id!r}: {what} is {text!r}, expected text.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise NeighbourIndexError(f"product {product_id!r}: {what} isn't valid Unicode. Send UTF-8.") from None
    if size > MAX_TEXT_BYTES:
        raise NeighbourIndexError(f"product {product_id[:60]!r}: {what} has {size:,} bytes; at most {MAX_TEXT_BYTES:,} are allowed.")


def _unit(change: Upsert, dimension: int) -> npt.NDArray[np.float32]:
    vector = np.asarray(change.vector, np.float32)
    if vector.shape != (dimension,):
        raise NeighbourIndexError(
            f"product {change.product_id!r}: the vector has the shape {list(vector.shape)}, the index has dimension {dimension}. "
            "Embed it with the model that the index was built for."
        )
    length = float(np.linalg.norm(vector))
    if not (length > 0 and np.isfinite(length)):
        raise NeighbourIndexError(f"product {change.product_id!r} has a vector of length {length}, expected 1. Leave it out.")
    return np.asarray(vector / np.float32(length), np.float32)


def _checked_fields(change: Upsert) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in change.fields.items():
        if name in TEXT_COLUMNS:
            _check_text(name, value, change.product_id)
        elif name != _PRICE:
            known = ", ".join((*TEXT_COLUMNS, _PRICE))
            raise NeighbourIndexError(f"product {change.product_id!r}: field {name!r} is unknown. Known: {known}.")
        elif not isinstance(value, int | float) or not abs(value) <= _HIGHEST_PRICE:
            raise NeighbourIndexError(f"product {change.product_id!r}: price is {value!r}, expected a number.")
        found[name] = value
    return found


def encoded(changes: Iterable[Change]) -> bytes:
    """Returns changes as bytes: for each a JSON head and the vector's float32, their lengths before them."""
    parts: list[bytes] = []
    for change in changes:
        head: dict[str, Any] = {"change": _NAMES[type(change)], "product_id": change.product_id}
        vector = b""
        if not isinstance(change, Delete):
            head["node_id"] = change.node_id
        if isinstance(change, Upsert):
            head |= {"fields": dict(change.fields)}
            vector = change.vector.tobytes()
        text = json.dumps(head, ensure_ascii=False).encode()
        parts += [_LENGTHS.pack(len(text), len(vector)), text, vector]
    return b"".join(parts)


def decoded(data: bytes) -> list[Change]:
    """Returns what `encoded` wrote.

    Raises:
        ValueError, KeyError, TypeError: these are no changes.
    """
    found: list[Change] = []
    at = 0
    while at < len(data):
        if at + _LENGTHS.size > len(data):
            raise ValueError("a change is cut off")
        text_bytes, vector_bytes = _LENGTHS.unpack_from(data, at)
        at += _LENGTHS.size
        end = at + text_bytes + vector_bytes
        if end > len(data):
            raise ValueError("a change is cut off")
        head = json.loads(data[at : at + text_bytes])
        if not isinstance(head, dict):
            raise ValueError("a change isn't an object")
        kind = _KINDS[head.pop("change")]
        vector = {"vector": np.frombuffer(data[at + text_bytes : end], np.float32)} if vector_bytes else {}
        found.append(kind(**head, **vector))
        at = end
    return found


def latest(changes: Iterable[tuple[int, Change]]) -> dict[str, tuple[int, Change]]:
    """Returns for each product the one change that all its changes come to, with the sequence number of the last.

    >>> moved = latest([(1, Upsert("p", "a", np.ones(2, np.float32))), (2, Move("p", "b"))])["p"]
    >>> moved[0], type(moved[1]).__name__, moved[1].node_id
    (2, 'Upsert', 'b')
    """
    found: dict[str, tuple[int, Change]] = {}
    for sequence, change in changes:
        before = found[change.product_id][1] if change.product_id in found else None
        if isinstance(change, Move) and isinstance(before, Delete):
            continue
        if isinstance(change, Move) and isinstance(before, Upsert):
            change = Upsert(change.product_id, change.node_id, before.vector, before.fields)
        found[change.product_id] = (sequence, change)
    return found


def still_holding(
    last: Iterable[tuple[int, Change]], since: int, node_ids: Collection[str], same_model: bool
) -> tuple[list[Change], list[str]]:
    """Returns which changes hold for another index as well, and the products whose vectors are another model's.

    Args:
        last: of each product, with its sequence number.
        since: the last sequence number that the other index knows of.
        node_ids: of the other index; a change to a node that it doesn't know is left out.
        same_model: whether both hold the vectors of one model.
    """
    carried: list[Change] = []
    to_embed: list[str] = []
    for sequence, change in last:
        if sequence <= since or getattr(change, "node_id", "") not in node_ids:
            continue
        if isinstance(change, Upsert) and not same_model:
            to_embed.append(change.product_id)
        else:
            carried.append(change)
    return carried, to_embed
