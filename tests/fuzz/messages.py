"""Puts values that nobody means into messages of protocol buffers, each of its field's own type."""

from __future__ import annotations

import random
from typing import Any

_CHANCE = 0.08
_TEXTS = (
    "",
    "\0",
    "a" * 5_000,
    "é\u202e",
    "/",
    "..",
    "tiny",
    "stable",
    "serving_default",
    "classify",
    "tensorflow/serving/regress",
    "x\ny",
)
_WHOLE = (0, 1, -1, 2, 7, 99, 10**6, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
_BITS = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}


def shake(message: Any, rng: random.Random, depth: int = 0) -> None:
    """Changes, doubles, drops and adds values in a message here and there, in place."""
    for field in message.DESCRIPTOR.fields:
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            _shake_map(message, field, rng, depth)
        elif field.label == field.LABEL_REPEATED:
            _shake_list(getattr(message, field.name), field, rng, depth)
        elif field.message_type is not None:
            if message.HasField(field.name) or (depth < 3 and rng.random() < _CHANCE / 4):
                shake(getattr(message, field.name), rng, depth + 1)
                if rng.random() < _CHANCE / 2:
                    message.ClearField(field.name)
        elif rng.random() < _CHANCE:
            setattr(message, field.name, _odd(field, rng))


def _shake_list(values: Any, field: Any, rng: random.Random, depth: int) -> None:
    if rng.random() < _CHANCE / 2:
        del values[:]
    if values and rng.random() < _CHANCE / 2:
        values.extend(list(values) * rng.choice((1, 2, 1_000 if depth < 3 else 5)))
    for number in range(min(len(values), 20)):
        if field.message_type is not None:
            shake(values[number], rng, depth + 1)
        elif rng.random() < _CHANCE:
            values[number] = _odd(field, rng)
    if field.message_type is None and rng.random() < _CHANCE / 2:
        values.append(_odd(field, rng))


def _shake_map(message: Any, field: Any, rng: random.Random, depth: int) -> None:
    entries = getattr(message, field.name)
    key_field, value_field = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    is_message = value_field.message_type is not None
    for key in sorted(entries):
        if is_message:
            shake(entries[key], rng, depth + 1)
        elif rng.random() < _CHANCE:
            entries[key] = _odd(value_field, rng)
        if rng.random() < _CHANCE:
            other = _odd(key_field, rng)
            if is_message:
                entries[other].CopyFrom(entries[key])
            else:
                entries[other] = entries[key]
        if rng.random() < _CHANCE / 2:
            del entries[key]


def _odd(field: Any, rng: random.Random) -> Any:
    kinds = {field.CPPTYPE_INT32: "int32", field.CPPTYPE_UINT32: "uint32", field.CPPTYPE_INT64: "int64", field.CPPTYPE_UINT64: "uint64"}
    if field.cpp_type in kinds:
        low, high = _BITS[kinds[field.cpp_type]]
        return min(max(rng.choice(_WHOLE), low), high)
    if field.cpp_type == field.CPPTYPE_ENUM:
        return rng.choice((*field.enum_type.values_by_number, -1, 9_999))
    if field.cpp_type == field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-300))
    text = rng.choice(_TEXTS)
    return text if field.type == field.TYPE_STRING else rng.choice((text.encode(), b"\xff\xfe", b"\x0a\x05"))
