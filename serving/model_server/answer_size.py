"""Refuses answers that would be too large: before the model runs where the signature tells, else before they are written."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
from grpc import StatusCode

from serving.model_server.saved_model import Signature
from serving.model_server.tensors import Array
from serving.status import TOO_LARGE, ServingError

# What a value takes in JSON with its comma; floats are written with as many digits as they have.
_JSON_FLOATS = {2: 7, 4: 11, 8: 19}
_JSON_BOOLEAN, _JSON_QUOTES, _JSON_NAME, _JSON_BASE64 = 6, 3, 4, len('{"b64":""},')
_MESSAGE_STRING, _MESSAGE_CLASS = 2, 9  # Tags and lengths beside the text; a class has a score, too.


def check_rows(signature: Signature, names: Collection[str], num_rows: int, most: int) -> None:
    """Refuses rows whose answer can't be small enough, whatever the model says.

    Args:
        signature: that would be run.
        names: outputs that are asked for.
        num_rows: of its inputs.
        most: bytes of an answer.

    Raises:
        ServingError: RESOURCE_EXHAUSTED, 413 over HTTP.
    """
    values = 0
    for name in names:
        shape = signature.outputs[name].shape
        if shape and shape[0] == -1:
            values += math.prod(max(size, 0) for size in shape[1:])
    _check(signature.name, num_rows, num_rows * values, most)  # A value takes a byte at least, in any form.


def check_tensors(signature: Signature, outputs: Mapping[str, Array], num_rows: int, most: int) -> None:
    """Refuses outputs that are too large for a message of tensors.

    Raises:
        ServingError: RESOURCE_EXHAUSTED, 413 over HTTP.
    """
    size = sum(_text_bytes(array, _MESSAGE_STRING) if array.dtype.kind == "O" else array.nbytes for array in outputs.values())
    _check(signature.name, num_rows, size, most)


def check_classes(signature: Signature, outputs: Mapping[str, Array], num_rows: int, most: int) -> None:
    """Refuses outputs that are too large for a message of classes.

    Raises:
        ServingError: RESOURCE_EXHAUSTED, 413 over HTTP.
    """
    texts = sum(_text_bytes(array, 0) for array in outputs.values() if array.dtype.kind == "O")
    count = max((array.size for array in outputs.values()), default=0)
    _check(signature.name, num_rows, texts + count * _MESSAGE_CLASS, most)


def check_json(signature: Signature, outputs: Mapping[str, Array], is_by_rows: bool, most: int) -> None:
    """Refuses outputs that are too large for JSON, about.

    Args:
        signature: that was run.
        outputs: of it.
        is_by_rows: whether every row says the names of its values.
        most: bytes of an answer.

    Raises:
        ServingError: RESOURCE_EXHAUSTED, 413 over HTTP.
    """
    num_rows = max((len(array) for array in outputs.values() if array.ndim), default=1)
    names = sum(len(name) + _JSON_NAME for name in outputs) if is_by_rows and len(outputs) > 1 else 0
    _check(signature.name, num_rows, num_rows * names + sum(_json_bytes(name, array) for name, array in outputs.items()), most)


def _json_bytes(name: str, array: Array) -> int:
    kind = array.dtype.kind
    if kind == "O":
        is_base64 = name.endswith("_bytes")
        size = _text_bytes(array, 0)
        return (size * 4 // 3 + array.size * (_JSON_BASE64 + 2)) if is_base64 else size + array.size * _JSON_QUOTES
    if kind in "iu":
        digits = np.log10(np.maximum(np.abs(array.astype(np.float64)), 1)).astype(np.int64) + 1
        return int(digits.sum()) + int((array < 0).sum()) + array.size
    return array.size * (_JSON_FLOATS.get(array.itemsize, 19) if kind == "f" else _JSON_BOOLEAN)


def _text_bytes(array: Array, beside: int) -> int:
    return sum(len(value) for value in np.ravel(array).tolist()) + array.size * beside


def _check(signature: str, num_rows: int, size: int, most: int) -> None:
    if size > most:
        message = (
            f"signature {signature!r}: the answer to {num_rows} rows would take some {size} bytes, an answer may take {most}. "
            "Send fewer rows at a time."
        )
        raise ServingError(StatusCode.RESOURCE_EXHAUSTED, message, TOO_LARGE)
