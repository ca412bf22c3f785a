"""Runs the recorded requests of a model before it takes any, so that the first client waits no longer than the last."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.inference import Inference
from serving.model_server.model_manager import Loaded
from serving.model_server.tensors import array_of
from serving.status import ServingError, invalid

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_MAX_RECORDS = 1_000
log = logging.getLogger(__name__)


def warm_up(inference: Inference, loaded: Loaded, max_bytes: int) -> int:
    """Runs every request of the warm-up file once and returns how many; a model without the file isn't warmed up.

    Args:
        inference: answers.
        loaded: the version that isn't available yet.
        max_bytes: of one tensor.

    Raises:
        ServingError: the file can't be read, holds more than 1,000 requests, or one that this model can't answer.
    """
    path = loaded.folder / WARMUP_FILE
    if not path.is_file():
        return 0
    started_s = time.monotonic()
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            count += 1
            if count > _MAX_RECORDS:
                raise invalid(f"there are more than {_MAX_RECORDS} requests")
            _replay(inference, loaded, prediction_log_pb2.PredictionLog.FromString(record), max_bytes)
    except (ServingError, tf.errors.OpError, DecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise invalid(f"{path}: request {count} of the warm-up can't be answered: {reason}. Write the file for this model.") from None
    log.info("warm_up model=%s version=%d requests=%d seconds=%.2f", loaded.name, loaded.version, count, time.monotonic() - started_s)
    return count


def _replay(inference: Inference, loaded: Loaded, record: Any, max_bytes: int) -> None:
    kind = record.WhichOneof("log_type")
    if kind == "predict_log":
        request = record.predict_log.request
        inputs = {name: array_of(proto, name, max_bytes) for name, proto in request.inputs.items()}
        inference.predict(loaded, request.model_spec.signature_name, inputs, list(request.output_filter))
    elif kind == "classify_log":
        inference.classify(loaded, record.classify_log.request.model_spec.signature_name, record.classify_log.request.input)
    elif kind == "regress_log":
        inference.regress(loaded, record.regress_log.request.model_spec.signature_name, record.regress_log.request.input)
    elif kind == "multi_inference_log":
        for task in record.multi_inference_log.request.tasks:
            inference.infer(loaded, task.method_name, task.model_spec.signature_name, record.multi_inference_log.request.input)
    else:
        raise invalid(f"{kind or 'an empty record'} isn't a request this server answers")
