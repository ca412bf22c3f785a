"""Finds a model family by name."""

from __future__ import annotations

from schemas.errors import SettingsError
from trainer_module.hyperparameters import DEFAULT_PHASES, RULE_PHASES, Phase
from trainer_module.zoo.contract import Family
from trainer_module.zoo.feed_forward import FeedForward
from trainer_module.zoo.few_shot import FewShot
from trainer_module.zoo.linear import Linear
from trainer_module.zoo.wide_and_deep import WideAndDeep

FAMILIES: dict[str, Family] = {
    "few_shot": FewShot,
    "linear": Linear,
    "feed_forward": FeedForward,
    "wide_and_deep": WideAndDeep,
}
# A family that learns answers in one go needs gradient steps for its rules alone.
_PHASES = {"few_shot": RULE_PHASES}


def family(name: str) -> Family:
    """Returns the family called `name`.

    Raises:
        SettingsError: no family has this name.
    """
    if name not in FAMILIES:
        raise SettingsError(f"model.family: {name!r} is unknown. Known: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def default_phases(name: str) -> tuple[Phase, ...]:
    """Returns the objective schedule of a family for settings that name none."""
    return _PHASES.get(name, DEFAULT_PHASES)
