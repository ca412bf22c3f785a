"""One small round that every test of a trained model shares."""

from __future__ import annotations

import pytest

from tests.trainer_module.catalogue import EVERY_FEATURE, products, taxonomy
from tests.trainer_module.rounds import run_round, training_config

SPACE = {"embedding_size": [6], "refit": [True, False]}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A round on 60 products with every kind of feature, its hyper-parameters chosen by the TFX Tuner."""
    root = tmp_path_factory.mktemp("round")
    tuner = {"enabled": True, "trials": 2, "space": SPACE}
    config = training_config(root, EVERY_FEATURE, taxonomy(), tuner=tuner)
    return run_round(root, EVERY_FEATURE, products(60), config)
