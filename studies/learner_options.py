"""Reads what a study is told about the few-answers learner: NAME=VALUE."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import fields, replace

from few_shot.learner import DEFAULTS, FewShotParameters
from schemas.errors import SettingsError


def learner_parameters(texts: Sequence[str]) -> FewShotParameters:
    """Returns the learner's defaults with these values instead.

    >>> learner_parameters(["propagation=0.5", "folds=4"]).propagation
    0.5

    Raises:
        SettingsError: an unknown name, or a value that isn't a number of the name's kind from 0 up.
    """
    kinds = {field.name: str(field.type) for field in fields(FewShotParameters)}
    given: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise SettingsError(f"--learner: {name!r} is unknown.{hint} Known: {', '.join(kinds)}.")
        given[name] = _number(name, value, kinds[name])
    return replace(DEFAULTS, **given)  # type: ignore[arg-type]  # Every field is a number, checked by its kind.


def _number(name: str, text: str, kind: str) -> float:
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError:
        value = -1
    lowest = 1 if kind == "int" else 0
    if not (math.isfinite(value) and value >= lowest):
        what = "a whole number" if kind == "int" else "a number"
        raise SettingsError(f"--learner: {name}: {text!r} must be {what} from {lowest} up, as in {name}={getattr(DEFAULTS, name)}.")
    return value
