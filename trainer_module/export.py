"""Writes a served model with what later stages and the next round need beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from few_shot.acceptance_file import ACCEPTANCE_FILE
from schemas.taxonomy import Taxonomy
from trainer_module.signatures import ServedModel

EXTRA = "assets.extra"
MODEL_FILE, HYPERPARAMETERS_FILE = "model.json", "hyperparameters.json"
_CLASSIFY_METHOD = "tensorflow/serving/classify"


def export(
    served: ServedModel, folder: Path, model: Mapping[str, Any], hyperparameters: Mapping[str, Any], acceptance: Mapping[str, Any]
) -> None:
    """Saves the model into `folder` and describes it in `assets.extra/`."""
    tf.saved_model.save(served, str(folder), signatures=served.signatures())
    _set_classify_method(folder / "saved_model.pb")
    extra = folder / EXTRA
    extra.mkdir(exist_ok=True)
    for name, content in ((MODEL_FILE, model), (HYPERPARAMETERS_FILE, hyperparameters), (ACCEPTANCE_FILE, acceptance)):
        (extra / name).write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _set_classify_method(path: Path) -> None:
    # TensorFlow 2 marks every signature as Predict; TensorFlow Serving's Classify refuses those.
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    saved.meta_graphs[0].signature_def["classify"].method_name = _CLASSIFY_METHOD
    path.write_bytes(saved.SerializeToString(deterministic=True))


def described(
    taxonomy: Taxonomy,
    family: str,
    embedding_dimension: int,
    top_k: int,
    features: str,
    made_from: Mapping[str, str],
    encoders: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Returns the content of `model.json`."""
    nodes = [{"id": n.id, "parent_id": n.parent_id, "name": n.name, "exclusive": n.exclusive} for n in taxonomy]
    return {
        "nodes": nodes,
        "family": family,
        "embedding_dimension": embedding_dimension,
        "top_k": top_k,
        "features": json.loads(features),
        "made_from": dict(made_from),
        "encoders": [{key: encoder[key] for key in ("name", "kind", "field", "reads", "size", "digest")} for encoder in encoders],
    }
