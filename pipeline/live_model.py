"""Puts products into categories with a SavedModel, a block at a time; loads TensorFlow."""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from encoders.image_files import read_picture
from few_shot.acceptance import ASKED
from schemas.errors import ModelError
from schemas.product import IMAGE, IMAGE_BYTES

SIGNATURE = "predict_products"


@dataclass(frozen=True)
class Prediction:
    """What the model says of one product.

    Attributes:
        nodes: the best, best first.
        probabilities: of those.
        decision: accept, climb or ask.
        accepted_node: empty where a person is asked.
        confidence: calibrated probability of the accepted node, else of the best one.
    """

    nodes: tuple[str, ...]
    probabilities: tuple[float, ...]
    decision: str
    accepted_node: str
    confidence: float


class LiveModel:
    """A SavedModel with the signature `predict_products`.

    Args:
        folder: of the SavedModel.
        images: folder that paths of pictures start at, for a model that encodes pictures; empty for none.

    Raises:
        ModelError: it can't be loaded, or lacks the signature.
    """

    def __init__(self, folder: Path, images: str = "") -> None:
        self._images = Path(images) if images else None
        tf.autograph.set_verbosity(0)
        try:
            self._model = tf.saved_model.load(str(folder))  # The signatures die with it.
            description = json.loads((folder / "assets.extra" / "model.json").read_text(encoding="utf-8"))
            self.paths = _paths(description["nodes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{folder}: this model can't be loaded: {str(error).splitlines()[0]}. Run again, or export it again."
            ) from error
        if SIGNATURE not in self._model.signatures:
            raise ModelError(
                f"{folder}: the model has no signature {SIGNATURE!r}, found {sorted(self._model.signatures)}. Export it again."
            )
        self._call = self._model.signatures[SIGNATURE]
        self._specs: Mapping[str, Any] = self._call.structured_input_signature[1]

    def predict(self, products: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """Returns a prediction of each product; fields a product lacks are missing to the model, too."""
        inputs = {
            name: tf.constant([_value(self._field(product, name), spec) for product in products], spec.dtype)
            for name, spec in self._specs.items()
        }
        found = self._call(**inputs)
        nodes, probabilities = found["exclusive_nodes"].numpy(), found["exclusive_probabilities"].numpy()
        return [
            Prediction(tuple(node.decode() for node in row), tuple(float(value) for value in values), *accepted)
            for row, values, accepted in zip(nodes, probabilities, _accepted(found), strict=True)
        ]

    def _field(self, product: Mapping[str, Any], name: str) -> Any:
        if name == IMAGE_BYTES:
            return read_picture(self._images, product.get(IMAGE)).content
        return product.get(name)


def _accepted(found: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Returns decision, accepted node and confidence of each product; with a model of an earlier release everything is asked."""
    if "decision" not in found:
        return [(ASKED, "", float(best)) for best in found["exclusive_probabilities"].numpy()[:, 0]]
    decisions, nodes, confidences = (found[name].numpy().tolist() for name in ("decision", "accepted_node", "confidence"))
    return [(decision.decode(), node.decode(), sure) for decision, node, sure in zip(decisions, nodes, confidences, strict=True)]


def _value(value: Any, spec: Any) -> Any:
    """Returns a product's value of one input: empty text, NaN or a vector of zeros where the product has none."""
    if value is not None:
        return value
    if spec.dtype == tf.string:
        return ""
    return np.nan if spec.shape.rank == 1 else np.zeros(spec.shape[1], np.float32)


def _paths(nodes: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Returns node id to its path from the root, as the model's own tree has it; parents come before children."""
    paths: dict[str, str] = {}
    for node in nodes:
        above = paths.get(node["parent_id"])
        paths[node["id"]] = f"{above} > {node['name']}" if above else node["name"]
    return paths
