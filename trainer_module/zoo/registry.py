"""Finds a model family by name."""

from __future__ import annotations

from schemas.errors import SettingsError
from trainer_module.zoo.contract import Family
from trainer_module.zoo.feed_forward import FeedForward
from trainer_module.zoo.linear import Linear
from trainer_module.zoo.wide_and_deep import WideAndDeep

FAMILIES: dict[str, Family] = {"linear": Linear, "feed_forward": FeedForward, "wide_and_deep": WideAndDeep}


def family(name: str) -> Family:
    """Returns the family called `name`.

    Raises:
        SettingsError: no family has this name.
    """
    if name not in FAMILIES:
        raise SettingsError(f"model.family: {name!r} is unknown. Known: {', '.join(FAMILIES)}.")
    return FAMILIES[name]
