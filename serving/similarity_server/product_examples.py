"""Writes a product's fields as the serialized example that a model's signatures read; no TensorFlow."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from google.protobuf.struct_pb2 import Value

from schemas.product import IMAGE_BYTES
from serving.similarity_server import tf_example_pb2 as messages
from serving.status import invalid

_EXPECTED = "; expected text, a number or a list of numbers"


def serialized_example(product: Any, where: str) -> bytes:
    """Returns the bytes of a `tf.train.Example`; a field that is null is left out, which is how a model is told that it is missing.

    Args:
        product: a `NewProduct`.
        where: what the product is called in an error.

    Raises:
        ServingError: INVALID_ARGUMENT: no field at all, or one that is neither text nor numbers.
    """
    example: Any = messages.Example()
    features = example.features.feature
    for name, value in product.fields.fields.items():
        _fill(features, name, value, where)
    if product.image_bytes:
        features[IMAGE_BYTES].bytes_list.value.append(product.image_bytes)
    if not features:
        raise invalid(f"{where} has no fields. Send its title, brand and so on.")
    return bytes(example.SerializeToString(deterministic=True))


def check_fields(product: Any, known: Collection[str], where: str) -> None:
    """Refuses a `NewProduct` with an unknown field: misspelt, it would be left out in silence.

    Args:
        product: to look at.
        known: names of the fields there are.
        where: what the product is called in an error.

    Raises:
        ServingError: INVALID_ARGUMENT: the first such field.
    """
    for name in sorted(product.fields.fields):
        if name not in known:
            close = difflib.get_close_matches(name[:100], known, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise invalid(f"{where}: field {name[:100]!r} is unknown.{hint} Known: {', '.join(sorted(known))}.")


def is_picture_alone(product: Any) -> bool:
    """Says whether a `NewProduct` has a picture and nothing else that a model could go by."""
    return bool(product.image_bytes) and all(_is_empty(value) for value in product.fields.fields.values())


def _is_empty(value: Value) -> bool:
    kind = value.WhichOneof("kind")
    return kind in (None, "null_value") or (kind == "string_value" and not value.string_value.strip())


def _fill(features: Any, name: str, value: Value, where: str) -> None:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        features[name].bytes_list.value.append(value.string_value.encode())
    elif kind == "number_value":
        features[name].float_list.value.append(value.number_value)
    elif kind == "list_value":
        if any(one.WhichOneof("kind") != "number_value" for one in value.list_value.values):
            raise invalid(f"{where}: field {name[:100]!r} holds something else than numbers in its list{_EXPECTED}.")
        features[name].float_list.value.extend(one.number_value for one in value.list_value.values)
    elif kind not in (None, "null_value"):
        raise invalid(f"{where}: field {name[:100]!r} is a {kind.partition('_')[0]}{_EXPECTED}.")
