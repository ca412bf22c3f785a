"""Encodes pictures with InceptionV3."""

from __future__ import annotations

from pathlib import Path

import keras

from encoders.descriptions import Description
from encoders.image_network import ImageNetwork

_SIDE = 299


def load_inception_v3(weights: Path, description: Description) -> ImageNetwork:
    """Returns the encoder.

    Raises:
        EncoderError: the weights don't fit.

    Source:
        Szegedy et al. 2016, CVPR.
    """

    def build() -> keras.Model:
        return keras.applications.InceptionV3(input_shape=(_SIDE, _SIDE, 3), include_top=False, weights=None, pooling="avg")

    return ImageNetwork(weights, description, build, _SIDE)
