"""Searches for hyper-parameters when the TFX Tuner asks: `tuner_fn`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from schemas.errors import ModelError, SettingsError
from trainer_module.fitting import fit, validation_scores
from trainer_module.hyperparameters import HyperParameters, hyperparameters
from trainer_module.preparation import Prepared, prepared
from trainer_module.training_data import TrainingData

log = logging.getLogger(__name__)

# Of the answered groups; early stopping takes its own share of the rest, as it does in training.
JUDGED_SHARE = 0.2
_PLACE = "tuner.space"
_OBJECTIVE = "validation_accuracy"


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Returns the search over `tuner.space`; the entry point of the TFX Tuner component.

    Each trial fits as `run_fn` does, without the judged answers, and scores the exclusive head on those. What wins comes
    back to `run_fn` as `fn_args.hyperparameters`.

    Raises:
        SettingsError: an empty space, an unknown hyper-parameter, or a value out of its range.
        ModelError: too few answers to judge on.
    """
    ready = prepared(fn_args)
    settings = ready.config["tuner"]
    space = search_space(settings["space"], ready.parameters)
    tuner = AnswerTuner(ready, _oracle(space, settings["trials"], ready.config["seed"]), Path(fn_args.working_dir) / "search")
    return TunerFnResult(tuner=tuner, fit_kwargs={"verbose": 0})


def search_space(given: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Returns each hyper-parameter's distinct values, in their order, as what the dataclass holds.

    >>> search_space({"dropout": [0, 0.1, 0], "refit": [True, False]}, {})
    {'dropout': [0.0, 0.1], 'refit': [True, False]}

    Args:
        given: name to values, as in the settings.
        parameters: the other hyper-parameters of the run.

    Raises:
        SettingsError: as `tuner_fn`.
    """
    if not given:
        raise SettingsError(
            f"{_PLACE}: the tuner is on, but its space is empty. Name hyper-parameters and their values, such as "
            "{embedding_size: [64, 128]}, or set tuner.enabled to false."
        )
    return {name: _values(name, values, parameters) for name, values in given.items()}


def _values(name: str, values: Any, parameters: Mapping[str, Any]) -> list[Any]:
    defaults = asdict(HyperParameters())
    if name not in defaults:
        hyperparameters({name: values}, _PLACE)  # Says what is known.
    default = defaults[name]
    if not isinstance(values, (list, tuple)) or not values:
        raise SettingsError(f"{_PLACE}.{name}: {values!r} must be a list of values to choose from, such as [{default!r}].")
    for value in values:
        hyperparameters({**parameters, name: value}, _PLACE)
    return list(dict.fromkeys(float(value) if isinstance(default, float) else value for value in values))


def _oracle(space: Mapping[str, Sequence[Any]], trials: int, seed: int) -> keras_tuner.Oracle:
    choices = keras_tuner.HyperParameters()
    for name, values in space.items():
        choices.Choice(name, list(values), ordered=False)
    size = prod(len(values) for values in space.values())
    log.info("search trials=%d of=%d seed=%d", min(trials, size), size, seed)
    oracle = keras_tuner.oracles.GridSearchOracle if size <= trials else keras_tuner.oracles.RandomSearchOracle
    return oracle(
        objective=keras_tuner.Objective(_OBJECTIVE, "max"),
        max_trials=min(trials, size),
        seed=seed + 1,  # KerasTuner takes 0 for "any".
        hyperparameters=choices,
        tune_new_entries=False,
        allow_new_entries=False,
        max_consecutive_failed_trials=1,
    )


class AnswerTuner(keras_tuner.engine.base_tuner.BaseTuner):  # type: ignore[misc]
    """Judges hyper-parameters by the accuracy of the exclusive head on answers that no trial learns from.

    Args:
        ready: what every trial fits on.
        oracle: picks the hyper-parameters of each trial.
        folder: where the search keeps its state.

    Raises:
        ModelError: the answers are of fewer than two groups.
    """

    def __init__(self, ready: Prepared, oracle: keras_tuner.Oracle, folder: Path) -> None:
        self._ready = ready
        self._judged, self._learnt = judged_rows(ready.data, JUDGED_SHARE, np.random.default_rng(ready.config["seed"]))
        super().__init__(oracle, directory=str(folder.parent), project_name=folder.name, overwrite=True)

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        """Fits with the trial's hyper-parameters and returns its scores on the judged answers."""
        ready = self._ready
        hyper = hyperparameters({**ready.parameters, **typed(trial.hyperparameters.values)})
        network, report = fit(
            ready.builder(hyper, ready.config["family"]),
            ready.data.part(self._learnt),
            hyper,
            ready.phases(ready.config["family"]),
            ready.config["seed"],
            len(ready.tree.node_ids),
            nodes=lambda: ready.nodes,
        )
        scores = validation_scores(network, ready.data, self._judged)
        log.info("trial %s accuracy=%.4f loss=%.4f epochs=%s", asdict(hyper), scores["accuracy"], scores["loss"], report.epochs)
        return {_OBJECTIVE: scores["accuracy"], "validation_loss": scores["loss"]}

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[keras_tuner.HyperParameters]:
        """Returns the best first, with values as the settings would hold them; equal ones in the order of their trials."""
        found = [best.copy() for best in super().get_best_hyperparameters(num_trials)]
        for best in found:
            best.values = typed(best.values)
        return found

    def search_space_summary(self, extended: bool = False) -> None:
        """Prints nothing: the log says what is searched."""

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints nothing: the log has a line for each trial."""


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a trial's values as `hyperparameters` takes them; KerasTuner makes 1 of true.

    >>> typed({"refit": 0, "embedding_size": 8})
    {'refit': False, 'embedding_size': 8}
    """
    defaults = HyperParameters()
    return {name: bool(value) if isinstance(getattr(defaults, name), bool) else value for name, value in values.items()}


def judged_rows(data: TrainingData, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of the answered products to judge on, and of all products of the other groups.

    Raises:
        ModelError: the answers are of fewer than two groups.
    """
    groups = np.unique(data.groups[data.answered])
    if len(groups) < 2:
        raise ModelError(
            f"tuner: {len(data.answered)} answers of {len(groups)} groups are too few to judge hyper-parameters on. "
            "Answer more products, or set tuner.enabled to false."
        )
    judged = rng.permutation(groups)[: max(1, round(len(groups) * share))]
    inside = np.isin(data.groups, judged)
    return np.flatnonzero(inside & (data.answers >= 0)), np.flatnonzero(~inside)
