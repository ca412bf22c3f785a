"""The gRPC services: PredictionService and ModelService on TensorFlow Serving's messages, health and reflection."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.grpc_calls import GrpcPort, answered
from serving.model_server.inference import Answer, Inference, target_of
from serving.model_server.metrics import Metrics
from serving.model_server.model_config import ModelConfig
from serving.model_server.tensors import array_of, write_tensor
from serving.request_watch import RequestWatch
from serving.status import invalid, number_of_code

PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
MODEL = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
SIGNATURE_DEF = "signature_def"


@dataclass(frozen=True)
class Front:
    """What both protocols' servers share.

    Attributes:
        inference: answers.
        watch: bounds, counts and logs requests.
        metrics: the page of numbers.
        max_bytes: of one message.
        apply_config: puts a new list of models in force; raises where it can't.
    """

    inference: Inference
    watch: RequestWatch
    metrics: Metrics
    max_bytes: int
    apply_config: Callable[[Sequence[ModelConfig], float | None], None]


def metadata_of(front: Front, target: Any, fields: Sequence[str]) -> Any:
    """Returns the metadata of a version.

    Raises:
        ServingError: INVALID_ARGUMENT for other fields than `signature_def`, NOT_FOUND where the version isn't served.
    """
    if not fields or set(fields) != {SIGNATURE_DEF}:
        raise invalid(f"metadata_field holds {', '.join(fields) or 'nothing'}, expected {SIGNATURE_DEF}.")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with front.inference.models.borrow(target) as loaded:
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in loaded.model.signature_defs.items():
            signatures.signature_def[name].CopyFrom(definition)
        response.model_spec.name = loaded.name
        response.model_spec.version.value = loaded.version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def status_of(front: Front, target: Any) -> Any:
    """Returns the states of a model's versions.

    Raises:
        ServingError: NOT_FOUND: nothing is known of it.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, state in front.inference.models.states(target).items():
        one = response.model_version_status.add(version=version, state=int(state.state))
        one.status.error_code = number_of_code(state.code)
        one.status.error_message = state.message
    return response


def _fill_spec(spec: Any, name: str, version: int, signature: str) -> None:
    spec.name, spec.signature_name = name, signature
    spec.version.value = version


class _Calls:
    """Answers one call under the name of a model."""

    def __init__(self, front: Front) -> None:
        self._watch = front.watch

    def answer(self, api: str, name: str, context: Any, work: Callable[[float | None], Any], is_bounded: bool = True) -> Any:
        return answered(self._watch, {"api": api, "model": name[:200]}, context, work, is_bounded)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def __init__(self, front: Front) -> None:
        self._front, self._calls = front, _Calls(front)

    def Predict(self, request: Any, context: Any) -> Any:
        """Answers with the outputs of a signature."""
        return self._calls.answer("Predict", request.model_spec.name, context, lambda deadline_s: self._predict(request, deadline_s))

    def _predict(self, request: Any, deadline_s: float | None) -> Any:
        with self._front.inference.models.borrow(target_of(request.model_spec)) as loaded:
            inputs = {name: array_of(proto, name, self._front.max_bytes) for name, proto in request.inputs.items()}
            answer = self._front.inference.predict(
                loaded, request.model_spec.signature_name, inputs, list(request.output_filter), deadline_s
            )
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, loaded.name, answer.version, answer.signature.name)
        for name, array in answer.outputs.items():
            write_tensor(array, answer.signature.outputs[name].dtype, response.outputs[name])
        return response

    def Classify(self, request: Any, context: Any) -> Any:
        """Answers with classes and scores of every example."""
        return self._judge("Classify", request, context, self._front.inference.classify, classification_pb2.ClassificationResponse)

    def Regress(self, request: Any, context: Any) -> Any:
        """Answers with a value of every example."""
        return self._judge("Regress", request, context, self._front.inference.regress, regression_pb2.RegressionResponse)

    def _judge(self, api: str, request: Any, context: Any, call: Callable[..., Answer], response_class: Any) -> Any:
        def work(deadline_s: float | None) -> Any:
            with self._front.inference.models.borrow(target_of(request.model_spec)) as loaded:
                answer = call(loaded, request.model_spec.signature_name, request.input, deadline_s)
            response = response_class(result=answer.outputs)
            _fill_spec(response.model_spec, loaded.name, answer.version, answer.signature.name)
            return response

        return self._calls.answer(api, request.model_spec.name, context, work)

    def MultiInference(self, request: Any, context: Any) -> Any:
        """Answers several classify and regress tasks on the same examples."""
        name = request.tasks[0].model_spec.name if request.tasks else ""
        return self._calls.answer("MultiInference", name, context, lambda deadline_s: self._infer(request, deadline_s))

    def _infer(self, request: Any, deadline_s: float | None) -> Any:
        specs = [task.model_spec for task in request.tasks]
        if not specs or any(spec.name != specs[0].name for spec in specs):
            raise invalid("tasks: expected one or more, all for the same model.")
        if len({spec.signature_name for spec in specs}) != len(specs):
            raise invalid("tasks: a signature is asked for twice. Ask for each once.")
        response = inference_pb2.MultiInferenceResponse()
        with self._front.inference.models.borrow(target_of(specs[0])) as loaded:
            for task in request.tasks:
                answer = self._front.inference.infer(loaded, task.method_name, task.model_spec.signature_name, request.input, deadline_s)
                result = response.results.add()
                _fill_spec(result.model_spec, loaded.name, answer.version, answer.signature.name)
                is_class = isinstance(answer.outputs, classification_pb2.ClassificationResult)
                (result.classification_result if is_class else result.regression_result).CopyFrom(answer.outputs)
        return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """Answers with a version's signatures."""

        def work(deadline_s: float | None) -> Any:
            if not request.HasField("model_spec"):
                raise invalid("model_spec is missing. Name a model.")
            return metadata_of(self._front, target_of(request.model_spec), list(request.metadata_field))

        return self._calls.answer("GetModelMetadata", request.model_spec.name, context, work)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus and HandleReloadConfigRequest; neither is bounded by the requests in flight, so that a busy server can be helped."""

    def __init__(self, front: Front, read_config: Callable[[Any], Sequence[ModelConfig]]) -> None:
        self._front, self._calls, self._read_config = front, _Calls(front), read_config

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        """Answers with the states of a model's versions."""

        def work(deadline_s: float | None) -> Any:
            if not request.HasField("model_spec"):
                raise invalid("model_spec is missing. Name a model.")
            return status_of(self._front, target_of(request.model_spec))

        return self._calls.answer("GetModelStatus", request.model_spec.name, context, work, is_bounded=False)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        """Puts other models, versions or labels in force; returns when they are."""

        def work(deadline_s: float | None) -> Any:
            configs = self._read_config(request.config)
            self._front.apply_config(configs, None if deadline_s is None else deadline_s - time.monotonic())
            return model_management_pb2.ReloadConfigResponse()

        return self._calls.answer("HandleReloadConfigRequest", "", context, work, is_bounded=False)


def grpc_port(front: Front, read_config: Callable[[Any], Sequence[ModelConfig]], address: str, credentials: Any = None) -> GrpcPort:
    """Returns the services on one port, not started yet.

    Args:
        front: what answers.
        read_config: makes models of a `ModelServerConfig`; raises where they aren't allowed.
        address: host and port; port 0: a free one.
        credentials: for TLS; None: plain.

    Raises:
        ServingError: UNAVAILABLE: the port can't be used.
    """

    def add(server: grpc.Server) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(front), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(front, read_config), server)

    return GrpcPort([PREDICTION, MODEL], add, address, front.watch.in_flight.limit, front.max_bytes, credentials=credentials)
