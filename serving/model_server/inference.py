"""What the server answers, whichever protocol asks: predictions, classes, values, metadata and states."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from grpc import StatusCode

from schemas.settings import ServingSettings
from serving.model_server.answer_size import check_classes, check_rows, check_tensors
from serving.model_server.batching import Batcher
from serving.model_server.examples import (
    CLASSES,
    CLASSIFY,
    INPUTS,
    OUTPUTS,
    REGRESS,
    SCORES,
    check_one_input,
    classification_result,
    regression_result,
    serialized_examples,
)
from serving.model_server.model_manager import Loaded, ModelManager, Target
from serving.model_server.saved_model import Signature
from serving.model_server.tensors import Array, check_inputs
from serving.status import ServingError, invalid

DEFAULT_SIGNATURE = str(tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY)


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        version: which one.
        signature: that was called.
        outputs: arrays by name, or the result message of Classify and Regress.
    """

    version: int
    signature: Signature
    outputs: Any


class Inference:
    """The APIs of the model server on arrays and messages.

    Args:
        models: lends the versions.
        batcher: puts rows of requests together; None: every request is a call of its own.
        max_answer_bytes: of one answer.
    """

    def __init__(
        self, models: ModelManager, batcher: Batcher | None = None, max_answer_bytes: int = ServingSettings.max_answer_bytes
    ) -> None:
        self.models, self._batcher, self.max_answer_bytes = models, batcher, max_answer_bytes

    def predict(
        self,
        loaded: Loaded,
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Sequence[str] = (),
        deadline_s: float | None = None,
    ) -> Answer:
        """Returns the outputs of a signature, or those that are asked for.

        Raises:
            ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for unknown or repeated outputs or
                inputs that don't fit, RESOURCE_EXHAUSTED for an answer that is too large, DEADLINE_EXCEEDED, or what the model says.
        """
        signature = signature_of(loaded, signature_name, StatusCode.FAILED_PRECONDITION)
        wrong = sorted(set(output_filter) - set(signature.outputs))
        if wrong or len(set(output_filter)) != len(output_filter):
            what = f"has no outputs {', '.join(wrong)}" if wrong else "is asked for an output twice"
            raise invalid(f"signature {signature.name!r} {what}. It answers {', '.join(signature.outputs)}.")
        names, num_rows = output_filter or list(signature.outputs), _num_rows(inputs)
        outputs = self._run(loaded, signature, inputs, names, deadline_s)
        asked = {name: outputs[name] for name in names}
        check_tensors(signature, asked, num_rows, self.max_answer_bytes)
        return Answer(loaded.version, signature, asked)

    def _run(
        self, loaded: Loaded, signature: Signature, inputs: Mapping[str, Array], names: Sequence[str], deadline_s: float | None
    ) -> dict[str, Array]:
        if deadline_s is not None and time.monotonic() >= deadline_s:
            raise ServingError(StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the model was called.")
        check_inputs(signature.name, signature.inputs, inputs)
        check_rows(signature, names, _num_rows(inputs), self.max_answer_bytes)
        if self._batcher is None or not signature.is_batchable or len({len(array) for array in inputs.values()}) != 1:
            return loaded.model.run(signature, inputs)
        # Two models of one name and version are never mixed: the key holds the very object in memory.
        return self._batcher.run((id(loaded), signature.name), lambda arrays: loaded.model.run(signature, arrays), inputs, deadline_s)

    def classify(self, loaded: Loaded, signature_name: str, given: Any, deadline_s: float | None = None) -> Answer:
        """Returns a `ClassificationResult` for the examples of an `Input`.

        Raises:
            ServingError: INVALID_ARGUMENT: no such signature, one that doesn't classify, or no examples;
                RESOURCE_EXHAUSTED: the answer is too large.
        """
        signature = signature_of(loaded, signature_name, StatusCode.INVALID_ARGUMENT)
        check_one_input(signature, (CLASSES, SCORES), (CLASSES, SCORES))
        examples = serialized_examples(given)
        outputs = self._run(loaded, signature, {INPUTS: examples}, list(signature.outputs), deadline_s)
        check_classes(signature, outputs, len(examples), self.max_answer_bytes)
        return Answer(loaded.version, signature, classification_result(outputs, len(examples)))

    def regress(self, loaded: Loaded, signature_name: str, given: Any, deadline_s: float | None = None) -> Answer:
        """Returns a `RegressionResult` for the examples of an `Input`.

        Raises:
            ServingError: INVALID_ARGUMENT: no such signature, one that doesn't regress, or no examples.
        """
        signature = signature_of(loaded, signature_name, StatusCode.INVALID_ARGUMENT)
        check_one_input(signature, (OUTPUTS,), (OUTPUTS,))
        examples = serialized_examples(given)
        outputs = self._run(loaded, signature, {INPUTS: examples}, list(signature.outputs), deadline_s)
        return Answer(loaded.version, signature, regression_result(outputs, len(examples)))

    def infer(self, loaded: Loaded, method_name: str, signature_name: str, given: Any, deadline_s: float | None = None) -> Answer:
        """Returns what one task of MultiInference is answered.

        Raises:
            ServingError: UNIMPLEMENTED for a method other than classify and regress, or as they do.
        """
        methods = {CLASSIFY: self.classify, REGRESS: self.regress}
        if method_name not in methods:
            raise ServingError(StatusCode.UNIMPLEMENTED, f"method_name {method_name!r} isn't {' or '.join(methods)}.")
        return methods[method_name](loaded, signature_name, given, deadline_s)


def _num_rows(inputs: Mapping[str, Array]) -> int:
    return max((len(array) for array in inputs.values() if array.ndim), default=1)


def signature_of(loaded: Loaded, name: str, code: StatusCode) -> Signature:
    """Returns a signature by name; no name: the default one.

    Raises:
        ServingError: `code`: there is none of that name.
    """
    found = loaded.model.signatures.get(name or DEFAULT_SIGNATURE)
    if found is None:
        known = ", ".join(sorted(loaded.model.signatures))
        raise ServingError(code, f"model {loaded.name!r} has no signature {name or DEFAULT_SIGNATURE!r}. Signatures: {known}.")
    return found


def target_of(spec: Any) -> Target:
    """Returns which version a `ModelSpec` is for."""
    version = spec.version.value if spec.HasField("version") else None
    return Target(spec.name, version, spec.version_label)
