"""`tf.Example`s in requests for Classify and Regress, and what a model's arrays say about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.model_server.saved_model import Signature
from serving.model_server.tensors import Array
from serving.status import ServingError, invalid

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"


def serialized_examples(given: Any) -> Array:
    """Returns the examples of an `Input`, serialized, string `[n]`; features of a context belong to every example.

    Raises:
        ServingError: INVALID_ARGUMENT: there are none.
    """
    kind = given.WhichOneof("kind")
    if kind == "example_list":
        found = [example.SerializeToString() for example in given.example_list.examples]
    elif kind == "example_list_with_context":
        found = [_merged(given.example_list_with_context.context, example) for example in given.example_list_with_context.examples]
    else:
        found = []
    if not found:
        raise invalid("input: there are no examples. Send example_list with one or more.")
    return np.array(found, object)


def _merged(context: Any, example: Any) -> bytes:
    whole = tf.train.Example()
    whole.MergeFrom(context)
    for name, feature in example.features.feature.items():
        whole.features.feature[name].CopyFrom(feature)
    return bytes(whole.SerializeToString())


def check_one_input(signature: Signature, required: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Refuses a signature that doesn't take examples, or doesn't answer with what an API needs.

    Args:
        signature: the one that is asked for.
        required: at least one of these outputs must be there.
        allowed: no other output may be.

    Raises:
        ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, as TensorFlow Serving has them.
    """
    if len(signature.inputs) != 1 or not set(signature.outputs) <= set(allowed) or not signature.outputs:
        raise invalid(
            f"signature {signature.name!r} takes {', '.join(signature.inputs)} and answers {', '.join(signature.outputs)}; "
            f"this API needs one input and the outputs {', '.join(allowed)}. Name another signature, or call Predict."
        )
    if INPUTS not in signature.inputs or not set(signature.outputs) & set(required):
        raise ServingError(
            StatusCode.FAILED_PRECONDITION, f"signature {signature.name!r} has no input {INPUTS!r} or no output {' or '.join(required)}."
        )


def classification_result(outputs: Mapping[str, Array], num_examples: int) -> Any:
    """Returns the classes and scores of every example, as far as the model gives them.

    Raises:
        ServingError: INVALID_ARGUMENT: the model's arrays aren't `[n, classes]`.
    """
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    found = [array for array in (classes, scores) if array is not None]
    if any(array.ndim != 2 or len(array) != num_examples or array.shape != found[0].shape for array in found):
        raise invalid(f"the model answers with shapes {[list(array.shape) for array in found]}, expected [{num_examples}, classes].")
    labels = None if classes is None else _labels(classes)
    values = None if scores is None else scores.astype(np.float64).tolist()
    result = classification_pb2.ClassificationResult()
    for row in range(num_examples):
        one = result.classifications.add()
        for column in range(found[0].shape[1]):
            label = labels[row][column] if labels else ""
            one.classes.add(label=label, score=values[row][column] if values else 0.0)
    return result


def _labels(classes: Array) -> list[list[str]]:
    return [[label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in row] for row in classes.tolist()]


def regression_result(outputs: Mapping[str, Array], num_examples: int) -> Any:
    """Returns the value of every example.

    Raises:
        ServingError: INVALID_ARGUMENT: the model's array isn't `[n]` or `[n, 1]` of float.
    """
    array = outputs[OUTPUTS]
    if array.shape not in ((num_examples,), (num_examples, 1)) or array.dtype != np.float32:
        raise invalid(f"the model answers with {array.dtype} {list(array.shape)}, expected float32 [{num_examples}].")
    result = regression_pb2.RegressionResult()
    for value in array.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result
