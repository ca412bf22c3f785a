"""Fits and exports a model when the TFX Trainer asks for one: `run_fn`."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from schemas.features import features_from_json
from schemas.taxonomy import load_taxonomy
from trainer_module.export import EXTRA, described, export
from trainer_module.fitting import fit
from trainer_module.hyperparameters import DEFAULT_PHASES, Phase, hyperparameters
from trainer_module.layout import layout_of
from trainer_module.signatures import ServedModel
from trainer_module.training_data import read_training_data
from trainer_module.tree import tree_of
from trainer_module.warm_start import axis_names, load_weights, save_weights
from trainer_module.zoo.contract import Network
from trainer_module.zoo.registry import family

log = logging.getLogger(__name__)


def run_fn(fn_args: FnArgs) -> None:
    """Fits on the dev split and writes the SavedModel; the entry point of the TFX Trainer component.

    `fn_args.custom_config` holds `taxonomy` (a file), `features`, `family`, `parameters`, `phases`, `seed`, `top_k`,
    `baseline` (a SavedModel to start from, or empty) and `made_from` (digests of the inputs).
    """
    config: dict[str, Any] = fn_args.custom_config
    taxonomy = load_taxonomy(Path(config["taxonomy"]))
    tree = tree_of(taxonomy)
    transform_output = tft.TFTransformOutput(fn_args.transform_output)
    layout = layout_of(features_from_json(config["features"]), transform_output)
    data = read_training_data(_files(fn_args.train_files), transform_output.transformed_feature_spec(), layout, tree)
    parameters = dict(config["parameters"])
    if fn_args.hyperparameters:
        parameters.update(fn_args.hyperparameters.get("values", {}))
    hyper = hyperparameters(parameters)
    phases = [Phase(**phase) for phase in config["phases"]] or list(DEFAULT_PHASES)
    names = axis_names(layout, tree)

    def build() -> Network:
        network = family(config["family"])(layout, tree, hyper, np.random.default_rng(config["seed"]))
        if config["baseline"]:
            carried = load_weights(Path(config["baseline"]) / EXTRA, config["family"], network, names)
            log.info("warm_start carried=%.3f", carried)
        return network

    network, report = fit(build, data, hyper, phases, config["seed"], len(tree.node_ids))
    log.info("fitted %s", report)
    folder = Path(fn_args.serving_model_dir)
    served = ServedModel(network, transform_output, layout, tree, config["top_k"])
    dimension = int(network(data.inputs(np.zeros(min(1, len(data.answers)), np.int64))).embedding.shape[1])
    export(
        served,
        folder,
        described(taxonomy, config["family"], dimension, config["top_k"], config["features"], config["made_from"]),
        {
            "family": config["family"],
            "parameters": asdict(hyper),
            "phases": [asdict(phase) for phase in phases],
            "seed": config["seed"],
            "fit": asdict(report),
        },
    )
    save_weights(folder / EXTRA, config["family"], network, names)


def _files(patterns: list[str]) -> list[str]:
    return sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))


