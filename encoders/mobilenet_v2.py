"""Encodes pictures with MobileNetV2."""

from __future__ import annotations

from pathlib import Path

import keras

from encoders.descriptions import Description
from encoders.image_checkpoint import network_of, weights_file
from encoders.image_network import ImageNetwork
from schemas.settings import MOBILENET_V2

_SIDE = 224


def load_mobilenet_v2(weights: Path, description: Description) -> ImageNetwork:
    """Returns the encoder; the number of weights says which width of the network it is.

    Raises:
        EncoderError: the weights don't fit.

    Source:
        Sandler et al. 2018, CVPR.
    """
    width = network_of(MOBILENET_V2, weights_file(weights)).width

    def build() -> keras.Model:
        return keras.applications.MobileNetV2(input_shape=(_SIDE, _SIDE, 3), alpha=width, include_top=False, weights=None, pooling="avg")

    return ImageNetwork(weights, description, build, _SIDE)
