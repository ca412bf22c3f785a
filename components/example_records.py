"""Writes products as serialized `tf.train.Example` in TFRecord frames, without TensorFlow.

The wire format is written by hand because it is both the fastest way from a dict of Python and the only one here that
leaves an absent field out of the example altogether; a test compares every byte's meaning with TensorFlow's own parser.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import google_crc32c

Value = str | float | Sequence[float]

_CRC_MASK = 0xA282EAD8


def varint(number: int) -> bytes:
    """Returns a number of at least 0 as protobuf writes its lengths."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SMALL = [varint(number) for number in range(1 << 14)]


def _delimited(tag: bytes, payload: bytes) -> bytes:
    return tag + _length(len(payload)) + payload


_KEYS: dict[str, bytes] = {}


def _key(name: str) -> bytes:
    if name not in _KEYS:
        _KEYS[name] = _delimited(b"\n", name.encode()) + b"\x12"
    return _KEYS[name]


def encode_example(product: Mapping[str, Value], names: Sequence[str]) -> bytes:
    """Returns a serialized Example: text as one bytes value, a number as one float, a list as floats.

    Args:
        product: the features; a name that it lacks is left out.
        names: which features, in the order they are written.
    """
    entries = []
    for name in names:
        value = product.get(name)
        if value is None:
            continue
        if isinstance(value, str):
            entries.append(_entry(name, b"\n", value.encode()))
        else:
            numbers = value if isinstance(value, (list, tuple)) else (value,)
            entries.append(_entry(name, b"\x12", struct.pack(f"<{len(numbers)}f", *numbers)))
    return _delimited(b"\n", b"".join(entries))


def _entry(name: str, kind: bytes, value: bytes) -> bytes:
    """Returns one entry of the map of features: four messages inside each other, their lengths counted from the inside out."""
    key = _KEYS.get(name) or _key(name)
    length = _length(len(value))
    values = _length(1 + len(length) + len(value))
    inside = 2 + len(length) + len(value) + len(values)
    feature = _length(inside)
    entry = _length(len(key) + len(feature) + inside)
    return b"".join((b"\n", entry, key, feature, kind, values, b"\n", length, value))


def floats_entry(name: str, numbers: bytes) -> bytes:
    """Returns the entry of a list of floats in a serialized `tf.train.Features`, for `example_bytes.with_features`.

    Args:
        name: of the feature.
        numbers: float32, little-endian, one after the other.
    """
    return _entry(name, b"\x12", numbers)


def _length(number: int) -> bytes:
    return _SMALL[number] if number < 16_384 else varint(number)


def frame(record: bytes) -> bytes:
    """Returns a record as a TFRecord file holds it: length, its checksum, the record, its checksum."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF)
