"""Writes the requests that a server runs before a new model takes any, made of real products, in TensorFlow Serving's form."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from schemas.product import LABEL_FEATURES

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
PREDICTED, CLASSIFIED = ("serving_default", "predict_products", "embed"), "classify"
PRODUCTS = 8


def write_warmup(model: Path, examples_folder: Path, products: int = PRODUCTS) -> int:
    """Writes one request for each signature that clients call, and one for a product alone, into `assets.extra`.

    The same model and products give the same bytes, so a model's digest says no more than before.

    Args:
        model: folder of the SavedModel, which is added to.
        examples_folder: of GZIP TFRecords of labelled examples; the first `products` are used, without their labels.
        products: of one request.

    Returns:
        How many requests were written; none, and no file, where there are no products.
    """
    files = sorted(str(path) for path in examples_folder.glob("*") if path.is_file() and not path.name.startswith("."))
    raw = list(islice(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator(), products))
    if not raw:
        return 0
    examples = [_unlabelled(one) for one in raw]
    signatures = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes()).meta_graphs[0].signature_def
    logs = [_predict(name, signatures[name], some) for name in PREDICTED if name in signatures for some in (examples[:1], examples)]
    logs += [_classify(examples)] if CLASSIFIED in signatures else []
    path = model / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString(deterministic=True))
    return len(logs)


def _unlabelled(raw: bytes) -> Any:
    example = tf.train.Example.FromString(raw)
    for name in LABEL_FEATURES:
        example.features.feature.pop(name, None)
    return example


def _predict(name: str, signature: Any, examples: Sequence[Any]) -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = name
    for key, info in signature.inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(_values(key, info, examples), dtype=info.dtype))
    return log


def _values(name: str, info: Any, examples: Sequence[Any]) -> Any:
    """Returns an input of every product: itself, serialized, or a field; empty text, NaN or zeros where it has none."""
    if name == "examples":
        return [example.SerializeToString(deterministic=True) for example in examples]
    sizes = [dimension.size for dimension in info.tensor_shape.dim[1:]]
    features = [example.features.feature.get(name, None) for example in examples]
    if info.dtype == types_pb2.DT_STRING:
        return [feature.bytes_list.value[0] if feature and feature.bytes_list.value else b"" for feature in features]
    empty = np.zeros(sizes, np.float32) if sizes else np.float32(np.nan)
    found = [np.array(feature.float_list.value, np.float32) if feature else None for feature in features]
    return np.stack([empty if one is None or one.size != empty.size else one.reshape(sizes) for one in found])


def _classify(examples: Sequence[Any]) -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = log.classify_log.request
    request.model_spec.signature_name = CLASSIFIED
    request.input.example_list.examples.extend(examples)
    return log
