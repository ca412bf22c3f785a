"""Turns JSON into messages and back."""

from __future__ import annotations

from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from serving.status import invalid

_DIGITS = 6  # More than float32 is good for.


def parsed(body: bytes | bytearray, kind: Any) -> Any:
    """Returns the message of a JSON object; an empty body is an empty object.

    Raises:
        ServingError: INVALID_ARGUMENT: it isn't JSON, or isn't the message.
    """
    try:
        row = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body isn't JSON: {error}.") from None
    if not isinstance(row, dict):
        raise invalid(f"the body is a JSON {type(row).__name__}, expected an object.")
    try:
        return json_format.ParseDict(row, kind())
    except (json_format.ParseError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        # json_format's own errors are of the first kind; some values make it fail in the other ways.
        said = " ".join(str(error).split())[:500].rstrip(".")
        raise invalid(f"the body isn't a {kind.DESCRIPTOR.name}: {said}. See /openapi.json.") from None


def written(message: Any) -> bytes:
    """Returns a message as JSON: every field but optional ones that aren't set; whole numbers are numbers."""
    return orjson.dumps(_row(message))


def is_repeated(field: Any) -> bool:
    """Returns whether a field holds a list. Newer releases of protobuf say so, older ones have a label, and none has both for good."""
    return bool(field.is_repeated) if hasattr(field, "is_repeated") else bool(field.label == field.LABEL_REPEATED)


def _row(message: Any) -> dict[str, Any]:
    row = {}
    for field in message.DESCRIPTOR.fields:
        is_optional = field.containing_oneof is not None or (field.message_type is not None and not is_repeated(field))
        if is_optional and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        row[field.name] = [_value(field, one) for one in value] if is_repeated(field) else _value(field, value)
    return row


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return _row(value)
    return round(value, _DIGITS) if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT else value
