"""Encoders with random weights that the tests here share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import pytest

from encoders.contract import Encoder
from encoders.registry import load_encoder
from tests.support.tiny_bert import write_tiny_bert


@dataclass(frozen=True)
class Loaded:
    """An encoder and where its weights are."""

    encoder: Encoder
    weights: Path


@pytest.fixture(scope="session")
def minilm(tmp_path_factory):
    weights = write_tiny_bert(tmp_path_factory.mktemp("weights") / "minilm")
    return Loaded(load_encoder("minilm", weights), weights)


@pytest.fixture(scope="session")
def mobilenet(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2(input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=None, pooling="avg").save_weights(file)
    return Loaded(load_encoder("mobilenet_v2", file), file)
