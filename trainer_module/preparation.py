"""Reads what the Trainer and the Tuner are both handed: the taxonomy, the features' layout and the training data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from schemas.features import features_from_json
from schemas.rules import load_rules
from schemas.taxonomy import Taxonomy, load_taxonomy
from trainer_module.export import EXTRA
from trainer_module.hyperparameters import HyperParameters, Phase
from trainer_module.layout import Layout, layout_of
from trainer_module.node_texts import NodeBags, node_bags
from trainer_module.training_data import TrainingData, read_training_data
from trainer_module.tree import Tree, tree_of
from trainer_module.warm_start import axis_names, load_weights
from trainer_module.zoo.contract import Network
from trainer_module.zoo.registry import default_phases, family

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Everything a fit needs but its hyper-parameters.

    Attributes:
        config: the `custom_config` it was made from.
        parameters: hyper-parameters that differ from the defaults, those the Tuner chose laid over the settings'.
    """

    config: Mapping[str, Any]
    taxonomy: Taxonomy
    tree: Tree
    transform_output: tft.TFTransformOutput
    layout: Layout
    data: TrainingData
    parameters: dict[str, Any]

    @property
    def axis_names(self) -> dict[str, list[str]]:
        """The names along every axis of the network's weights."""
        return axis_names(self.layout, self.tree)

    @cached_property
    def nodes(self) -> NodeBags:
        """The names of the nodes and the phrases of the rules, read as if they were products."""
        rules = load_rules(Path(self.config["rules"]), self.taxonomy) if self.config.get("rules") else ()
        return node_bags(self.taxonomy, self.layout, self.transform_output, self.config.get("encoders", ()), rules)

    def phases(self, name: str) -> list[Phase]:
        """Returns the objective schedule: the settings', else the family's own."""
        return [Phase(**phase) for phase in self.config["phases"]] or list(default_phases(name))

    def builder(self, hyper: HyperParameters, name: str) -> Callable[[], Network]:
        """Returns what makes a fresh network of the family, warm-started from the baseline where one is named."""
        config, names = self.config, self.axis_names

        def build() -> Network:
            network = family(name)(self.layout, self.tree, hyper, np.random.default_rng(config["seed"]))
            if config["baseline"]:
                carried = load_weights(Path(config["baseline"]) / EXTRA, name, network, names)
                log.info("warm_start carried=%.3f", carried)
            return network

        return build


def prepared(fn_args: FnArgs) -> Prepared:
    """Returns what `fn_args` names, read.

    `fn_args.custom_config` holds `taxonomy`, `rules` (files), `features`, `family`, `compare_with` and `compare_above` (other families, and
    the answers from which they are tried), `parameters`, `phases`, `seed`, `top_k`,
    `baseline` (a SavedModel to start from, or empty), `tuner` and `made_from` (digests of the inputs).
    """
    tf.config.experimental.enable_op_determinism()  # Else threads add floats in the order they happen to come.
    config: dict[str, Any] = fn_args.custom_config
    taxonomy = load_taxonomy(Path(config["taxonomy"]))
    tree = tree_of(taxonomy)
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    layout = layout_of(features_from_json(config["features"]), transform_output)
    return Prepared(
        config=config,
        taxonomy=taxonomy,
        tree=tree,
        transform_output=transform_output,
        layout=layout,
        data=read_training_data(_files(fn_args.train_files), transform_output.transformed_feature_spec(), layout, tree),
        parameters={**config["parameters"], **(fn_args.hyperparameters or {}).get("values", {})},
    )


def _files(patterns: Sequence[str]) -> list[str]:
    return sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
