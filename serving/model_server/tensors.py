"""Tensors between messages, arrays and signatures, checked before anything is allocated or run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.status import invalid

Array = npt.NDArray[Any]
_FLOAT_FIELD, _DOUBLE_FIELD = b"\x2a", b"\x32"  # Tags of float_val and double_val: field 5 and 6, length-delimited.
_MIN_ITEM_BYTES = {types_pb2.DT_STRING: 8}
# Every string of a tensor is a product to be scored: a request of fifty bytes shouldn't ask for a million.
_MAX_REPEATED_STRINGS = 4_096


@dataclass(frozen=True)
class TensorSpec:
    """What one input or output of a signature is.

    Attributes:
        tensor: its name in the graph.
        dtype: its number in `DataType`.
        shape: sizes, -1 for any; None for any rank.
    """

    tensor: str
    dtype: int
    shape: tuple[int, ...] | None

    @property
    def numpy_dtype(self) -> Any:
        """The type of arrays that hold it; object for strings."""
        return tf.dtypes.as_dtype(self.dtype).as_numpy_dtype

    def __str__(self) -> str:
        sizes = "any shape" if self.shape is None else str(["?" if size < 0 else size for size in self.shape]).replace("'", "")
        return f"{types_pb2.DataType.Name(self.dtype)} {sizes}"


def array_of(proto: Any, name: str, max_bytes: int) -> Array:
    """Returns the array of a `TensorProto`; a tensor given by fewer values repeats the last, as in TensorFlow.

    Raises:
        ServingError: INVALID_ARGUMENT: unknown type, a shape that isn't one or doesn't fit the values, or larger than `max_bytes`.
    """
    sizes = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        raise invalid(f"inputs.{name}: the shape {sizes} isn't known in full. Send every size.")
    if proto.dtype == types_pb2.DT_STRING and proto.tensor_content:
        raise invalid(f"inputs.{name}: strings in tensor_content aren't understood. Send them in string_val.")
    try:
        item = _MIN_ITEM_BYTES.get(proto.dtype) or tf.dtypes.as_dtype(proto.dtype).size
        if math.prod(sizes) * (item or 1) > max_bytes:
            raise invalid(f"inputs.{name}: a tensor of shape {sizes} is larger than {max_bytes} bytes. Send it in parts.")
        if proto.dtype == types_pb2.DT_STRING and math.prod(sizes) > max(len(proto.string_val), _MAX_REPEATED_STRINGS):
            raise invalid(f"inputs.{name}: a tensor of shape {sizes} holds {len(proto.string_val)} strings. Send every one.")
        if proto.dtype == types_pb2.DT_STRING and not proto.string_val:
            return np.full(sizes, b"", object)  # As TensorFlow has it; its Python part fills up with text, which no tensor holds.
        return np.asarray(tf.make_ndarray(proto))
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise invalid(f"inputs.{name}: its values don't make a tensor of shape {sizes}: {error}. Send as many as the shape says.") from None


def write_tensor(array: Array, dtype: int, proto: Any) -> None:
    """Writes an array into an empty `TensorProto`, with its values in the typed fields, as TensorFlow Serving answers.

    It is written where it belongs: a copy of the message would take longer than writing it.
    """
    proto.dtype = dtype
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == types_pb2.DT_STRING:
        proto.string_val.extend(array.reshape(-1).tolist())
    elif dtype == types_pb2.DT_FLOAT:
        proto.MergeFromString(_packed(_FLOAT_FIELD, array.astype("<f4", copy=False)))
    elif dtype == types_pb2.DT_DOUBLE:
        proto.MergeFromString(_packed(_DOUBLE_FIELD, array.astype("<f8", copy=False)))
    else:
        _fill(proto, array, dtype)


def _packed(tag: bytes, array: Array) -> bytes:
    """Returns a packed field as it is on the wire: a NumPy buffer already has that form, and no number is touched by Python."""
    raw = array.tobytes()
    length, digits = len(raw), bytearray()
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return tag + bytes([*digits, length]) + raw if raw else b""


def _fill(proto: Any, array: Array, dtype: int) -> None:
    fields = {
        types_pb2.DT_INT64: "int64_val",
        types_pb2.DT_BOOL: "bool_val",
        types_pb2.DT_UINT32: "uint32_val",
        types_pb2.DT_UINT64: "uint64_val",
        **dict.fromkeys((types_pb2.DT_INT32, types_pb2.DT_INT16, types_pb2.DT_INT8, types_pb2.DT_UINT16, types_pb2.DT_UINT8), "int_val"),
    }
    if dtype in fields:
        getattr(proto, fields[dtype]).extend(array.reshape(-1).tolist())
    else:
        proto.CopyFrom(tf.make_tensor_proto(array, dtype))


def check_inputs(signature: str, specs: Mapping[str, TensorSpec], inputs: Mapping[str, Array]) -> None:
    """Refuses inputs that a signature can't take.

    Raises:
        ServingError: INVALID_ARGUMENT: an input is missing, unknown, or of another type or shape.
    """
    missing, unknown = sorted(specs.keys() - inputs.keys()), sorted(inputs.keys() - specs.keys())
    if missing or unknown:
        found = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
        raise invalid(f"signature {signature!r}: inputs {'; '.join(found)}. It takes {', '.join(sorted(specs))}.")
    for name, spec in specs.items():
        array = inputs[name]
        if not _is_same_dtype(array, spec):
            raise invalid(f"signature {signature!r}: input {name!r} holds {_shown(array)}, expected {spec}.")
        if spec.shape is not None and not _fits(array.shape, spec.shape):
            raise invalid(f"signature {signature!r}: input {name!r} has the shape {list(array.shape)}, expected {spec}.")


def _is_same_dtype(array: Array, spec: TensorSpec) -> bool:
    return bool(array.dtype == np.dtype(spec.numpy_dtype))


def _shown(array: Array) -> str:
    return "DT_STRING" if array.dtype.kind == "O" else types_pb2.DataType.Name(tf.dtypes.as_dtype(array.dtype).as_datatype_enum)


def _fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == len(expected) and all(want in (-1, size) for size, want in zip(found, expected, strict=True))
