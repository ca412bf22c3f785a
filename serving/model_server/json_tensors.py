"""TensorFlow Serving's JSON: rows or columns into arrays by a signature, and arrays back into JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import input_pb2

from schemas.text import is_unicode
from serving.model_server.saved_model import Signature
from serving.model_server.tensors import Array, TensorSpec
from serving.status import ServingError, invalid

ROWS, COLUMNS = "row", "column"
_BASE64 = "b64"
_MAX_RANK = 8
_INT64 = range(-(2**63), 2**63)


def parsed(body: bytes | bytearray) -> dict[str, Any]:
    """Returns the object in a request's body; NaN and Infinity are numbers, as in TensorFlow Serving.

    Raises:
        ServingError: INVALID_ARGUMENT: it isn't a JSON object.
    """
    try:
        found = json.loads(body)
    except json.JSONDecodeError as error:
        raise _no_json(str(error)) from None
    except UnicodeDecodeError:
        raise _no_json("it isn't Unicode") from None
    except ValueError:  # Python reads no number of thousands of digits.
        raise _no_json("a number has too many digits") from None
    except RecursionError:
        raise _no_json("lists or objects are nested too deep") from None
    if not isinstance(found, dict):
        raise invalid(f"body: found {_kind(found)}, expected an object with instances, inputs or examples.")
    return found


def _no_json(why: str) -> ServingError:
    return invalid(f"body: this isn't JSON: {why}. Send an object with instances, inputs or examples.")


def signature_name(request: Mapping[str, Any]) -> str:
    """Returns the signature a request names; empty: the default one.

    Raises:
        ServingError: INVALID_ARGUMENT: the name isn't text.
    """
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"signature_name: found {_kind(name)}, expected a string.")
    return name


def predict_inputs(request: Mapping[str, Any], signature: Signature) -> tuple[str, dict[str, Array]]:
    """Returns the format of a Predict request, `row` or `column`, and its arrays by input.

    Raises:
        ServingError: INVALID_ARGUMENT: neither or both formats, unknown inputs, or values that don't make a tensor of the type.
    """
    if ("instances" in request) == ("inputs" in request):
        raise invalid("body: expected either instances (rows) or inputs (columns).")
    if "inputs" in request:
        return COLUMNS, _columns(request["inputs"], signature)
    return ROWS, _rows(request["instances"], signature)


def _columns(given: Any, signature: Signature) -> dict[str, Array]:
    if not isinstance(given, dict) or set(given) == {_BASE64}:
        given = {_only_input(signature): given}
    _check_names(given, signature)
    return {name: array_of_json(value, name, signature.inputs[name]) for name, value in given.items()}


def _rows(given: Any, signature: Signature) -> dict[str, Array]:
    if not isinstance(given, list) or not given:
        raise invalid(f"instances: found {_kind(given)}, expected a list of one or more.")
    if not isinstance(given[0], dict) or set(given[0]) == {_BASE64}:
        name = _only_input(signature)
        return {name: array_of_json(given, name, signature.inputs[name])}
    first = given[0]
    _check_names(first, signature)
    for number, row in enumerate(given):
        if not isinstance(row, dict) or row.keys() != first.keys():
            raise invalid(f"instances.{number}: found other inputs than in the first, which has {', '.join(first)}. Send the same in each.")
    return {name: array_of_json([row[name] for row in given], name, signature.inputs[name]) for name in first}


def _only_input(signature: Signature) -> str:
    if len(signature.inputs) != 1:
        raise invalid(f"signature {signature.name!r} has the inputs {', '.join(signature.inputs)}. Send an object that names each.")
    return next(iter(signature.inputs))


def _check_names(given: Mapping[str, Any], signature: Signature) -> None:
    unknown = [name for name in given if name not in signature.inputs]
    if unknown:
        raise invalid(f"signature {signature.name!r} has no input {unknown[0]!r}. It takes {', '.join(signature.inputs)}.")


def array_of_json(value: Any, name: str, spec: TensorSpec) -> Array:
    """Returns the array of a number, text, `{"b64": ...}` or lists of them.

    Raises:
        ServingError: INVALID_ARGUMENT: lists of different lengths, or a value of another type than the input's.
    """
    shape = _shape(value)
    if len(shape) > _MAX_RANK:
        raise invalid(f"{name}: lists are nested {len(shape)} deep, expected {_MAX_RANK} at most.")
    leaves: list[Any] = []
    _flatten(value, shape, leaves, name)
    if spec.dtype == types_pb2.DT_STRING:
        found = np.empty(len(leaves), object)
        found[:] = [_bytes(leaf, name) for leaf in leaves]
        return found.reshape(shape)
    return _numbers(leaves, name, spec).reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    sizes: list[int] = []
    while isinstance(value, list) and len(sizes) <= _MAX_RANK:
        sizes.append(len(value))
        value = value[0] if value else None
    return tuple(sizes)


def _flatten(value: Any, shape: tuple[int, ...], leaves: list[Any], name: str) -> None:
    if not shape:
        if isinstance(value, list):
            raise invalid(f"{name}: a list stands where other rows have a value. Nest all values equally deep.")
        leaves.append(value)
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        found = f"{len(value)} values" if isinstance(value, list) else _kind(value)
        raise invalid(f"{name}: found {found}, expected a list of {shape[0]} as in the first row.")
    for one in value:
        _flatten(one, shape[1:], leaves, name)


def _numbers(leaves: Sequence[Any], name: str, spec: TensorSpec) -> Array:
    dtype = np.dtype(spec.numpy_dtype)
    allowed = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,)}.get(dtype.kind)
    if allowed is None:
        raise ServingError(StatusCode.UNIMPLEMENTED, f"{name}: JSON has no {types_pb2.DataType.Name(spec.dtype)}. Call Predict over gRPC.")
    for leaf in leaves:
        if not isinstance(leaf, allowed) or (isinstance(leaf, bool) and dtype.kind != "b"):
            raise invalid(f"{name}: found {_kind(leaf)}, expected {types_pb2.DataType.Name(spec.dtype)}.")
    try:
        with np.errstate(over="raise", invalid="raise"):
            if dtype.kind in "iu" and leaves and not (np.iinfo(dtype).min <= min(leaves) and max(leaves) <= np.iinfo(dtype).max):
                raise OverflowError
            return np.array(leaves, np.float64 if dtype.kind == "f" else dtype).astype(dtype)
    except (OverflowError, FloatingPointError):
        raise invalid(f"{name}: a number doesn't fit into {types_pb2.DataType.Name(spec.dtype)}.") from None


def _bytes(leaf: Any, name: str) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode("utf-8", "surrogatepass")
    if isinstance(leaf, dict) and set(leaf) == {_BASE64} and isinstance(leaf[_BASE64], str):
        try:
            return base64.b64decode(leaf[_BASE64], validate=True)
        except (binascii.Error, ValueError) as error:
            raise invalid(f"{name}: b64 can't be decoded: {error}.") from None
    raise invalid(f'{name}: found {_kind(leaf)}, expected a string or {{"b64": "..."}}.')


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a whole number",
        float: "a decimal",
    }
    return kinds.get(type(value), "null")


def predict_response(outputs: Mapping[str, Array], form: str) -> bytes:
    """Returns the JSON of a prediction in the form of its request; a single output stands without its name.

    Raises:
        ServingError: INVALID_ARGUMENT: rows are asked for, and the outputs don't have as many rows as each other.
    """
    values = {name: _json_ready(name, array) for name, array in outputs.items()}
    is_finite = all(array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in outputs.values())
    only = next(iter(values)) if len(values) == 1 else None
    if form == COLUMNS:
        return _dumped({"outputs": values[only] if only else values}, is_finite)
    sizes = {array.shape[:1] for array in outputs.values()}
    if len(sizes) != 1 or () in sizes:
        shown = {name: list(array.shape) for name, array in outputs.items()}
        raise invalid(f"outputs have the shapes {shown}, which don't make rows. Ask in columns: inputs instead of instances.")
    if only:
        return _dumped({"predictions": values[only]}, is_finite)
    names = list(values)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return _dumped({"predictions": rows}, is_finite)


def _json_ready(name: str, array: Array) -> Any:
    if array.dtype.kind == "O":
        as_base64 = name.endswith("_bytes")
        flat = [_text(value, as_base64) for value in array.reshape(-1)]
        return _nested(flat, array.shape)
    return np.ascontiguousarray(array) if array.dtype.kind in "fiub" and array.ndim else array.tolist()


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    holder = np.empty(len(flat), object)
    holder[:] = flat
    return holder.reshape(shape).tolist()


def _text(value: Any, as_base64: bool) -> Any:
    raw = value if isinstance(value, bytes) else str(value).encode()
    return {_BASE64: base64.b64encode(raw).decode()} if as_base64 else raw.decode("utf-8", "replace")


def _dumped(value: Any, is_finite: bool) -> bytes:
    # orjson writes float32 with as many digits as it has, and NaN as null; json writes NaN as TensorFlow Serving does.
    if is_finite:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)
    return json.dumps(value, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def examples_input(request: Mapping[str, Any]) -> Any:
    """Returns the `Input` of a Classify or Regress request in JSON.

    Raises:
        ServingError: INVALID_ARGUMENT: no list of objects in `examples`, or a feature whose values aren't of one kind.
    """
    examples = request.get("examples")
    if not isinstance(examples, list) or not examples:
        raise invalid(f"examples: found {_kind(examples)}, expected a list of one or more objects.")
    found = input_pb2.Input()
    if "context" in request:
        found.example_list_with_context.context.CopyFrom(_example(request["context"], "context"))
        found.example_list_with_context.examples.extend(_example(one, f"examples.{n}") for n, one in enumerate(examples))
    else:
        found.example_list.examples.extend(_example(one, f"examples.{n}") for n, one in enumerate(examples))
    return found


def _example(given: Any, place: str) -> Any:
    if not isinstance(given, dict):
        raise invalid(f"{place}: found {_kind(given)}, expected an object of features.")
    example = tf.train.Example()
    for name, value in given.items():
        if not is_unicode(name):
            raise invalid(f"{place}: the name {name!r} of a feature isn't Unicode. Expected text.")
        _fill_feature(example.features.feature[name], value if isinstance(value, list) else [value], f"{place}.{name}")
    return example


def _fill_feature(feature: Any, values: list[Any], place: str) -> None:
    kinds = {type(value) for value in values}
    if kinds <= {str, dict}:
        feature.bytes_list.value.extend(_bytes(value, place) for value in values)
    elif kinds <= {int} and all(value in _INT64 for value in values):
        feature.int64_list.value.extend(values)
    elif kinds <= {int, float}:
        feature.float_list.value.extend(_numbers(values, place, TensorSpec("", types_pb2.DT_FLOAT, None)).tolist())
    else:
        raise invalid(f"{place}: found {', '.join(sorted(map(_kind, values)))}, expected strings or numbers.")


def results_response(result: Any) -> bytes:
    """Returns the JSON of a ClassificationResult or RegressionResult."""
    if hasattr(result, "classifications"):
        rows: list[Any] = [[[one.label, np.float32(one.score)] for one in row.classes] for row in result.classifications]
        is_finite = all(np.isfinite(one[1]) for row in rows for one in row)
    else:
        rows = [np.float32(one.value) for one in result.regressions]
        is_finite = bool(np.isfinite(rows).all())
    return _dumped({"results": rows}, is_finite)
