"""Fits and exports a model when the TFX Trainer asks for one: `run_fn`."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tfx.components.trainer.fn_args_utils import FnArgs

from few_shot.acceptance_file import as_json
from schemas.label_event import read_label_events
from trainer_module.acceptance import choose_acceptance, picked_groups, promise_of, subtrees
from trainer_module.accepting import Accepting
from trainer_module.export import EXTRA, described, export
from trainer_module.family_comparison import compare_families
from trainer_module.fitting import FitReport, fit, taught_data
from trainer_module.hyperparameters import hyperparameters
from trainer_module.preparation import prepared
from trainer_module.signatures import ServedModel
from trainer_module.training_data import TrainingData
from trainer_module.warm_start import save_weights
from trainer_module.zoo.contract import Network

log = logging.getLogger(__name__)


def run_fn(fn_args: FnArgs) -> None:
    """Fits on the dev split and writes the SavedModel; the entry point of the TFX Trainer component.

    `preparation.prepared` says what `fn_args.custom_config` holds.
    """
    ready = prepared(fn_args)
    config, hyper = ready.config, hyperparameters(ready.parameters)

    def fitted(family: str, data: TrainingData) -> tuple[Network, FitReport]:
        seed, num_nodes = config["seed"], len(ready.tree.node_ids)
        return fit(ready.builder(hyper, family), data, hyper, ready.phases(family), seed, num_nodes, nodes=lambda: ready.nodes)

    families = [config["family"], *config.get("compare_with", ())]
    enough = len(ready.data.answered) >= config.get("compare_above", 0)
    comparison = compare_families(families if enough else families[:1], ready.data, lambda family, data: fitted(family, data)[0])
    family = comparison.winner
    network, report = fitted(family, ready.data)
    log.info(
        "trainer family=%s answers=%d rule_products=%d epochs=%s",
        family, report.num_answers, report.num_rule_products, "+".join(f"{count:.0f}" for count in report.epochs),
    )  # fmt: skip
    ranges, events = subtrees(ready.tree, ready.taxonomy), read_label_events(Path(config["labels"])) if config.get("labels") else ()
    taught = taught_data(ready.data, report.epochs)
    acceptance = choose_acceptance(
        network, taught, ranges, promise_of(config), picked_groups(events), config["seed"],
        refit=lambda data: fitted(family, data)[0], nodes=lambda: ready.nodes,
    )  # fmt: skip
    folder, encoders = Path(fn_args.serving_model_dir), config.get("encoders", [])
    served = ServedModel(
        network,
        ready.transform_output,
        ready.layout,
        ready.tree,
        config["top_k"],
        Accepting(acceptance.policy, ranges, ready.tree.node_ids),
        encoders,
    )
    dimension = int(network(ready.data.inputs(np.zeros(min(1, len(ready.data.answers)), np.int64))).embedding.shape[1])
    export(
        served,
        folder,
        described(ready.taxonomy, family, dimension, config["top_k"], config["features"], config["made_from"], encoders),
        {
            "family": family,
            "parameters": asdict(hyper),
            "phases": [asdict(phase) for phase in ready.phases(family)],
            "seed": config["seed"],
            "fit": asdict(report),
            "comparison": asdict(comparison),
        },
        as_json(acceptance),
    )
    save_weights(folder / EXTRA, family, network, ready.axis_names)
