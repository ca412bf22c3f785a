"""Keeps an acceptance policy as a file beside its model, with what it was chosen on and what it is expected to accept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from few_shot.acceptance import NEVER, AcceptancePolicy
from schemas.errors import ModelError

ACCEPTANCE_FILE = "acceptance.json"
FORMAT_VERSION = 1
OFF, TOO_FEW, NOTHING, PROMISED = "off", "too_few_answers", "nothing", "promised"
_STATES = (OFF, TOO_FEW, NOTHING, PROMISED)
_MAX_BYTES = 100_000
_WAY_OUT = "Export the model again."
_MAX_NUMBER = 1e12
_SHARES = ("promised", "confidence", "answer_threshold", "ancestor_threshold", "answer_coverage", "ancestor_coverage")


@dataclass(frozen=True)
class Acceptance:
    """A policy and where it comes from.

    Attributes:
        policy: what is accepted.
        state: `promised`, or why everything is asked: `off` (nobody wants a promise), `too_few_answers` (to keep one), `nothing` (no
            threshold keeps it).
        answers: different products it was chosen on.
        picked: different answered products that it wasn't chosen on, because a strategy picked them.
        needed: different products whose answers a promise takes at least.
        answer_coverage: share of those products whose best class is accepted, by models that hadn't seen them.
        ancestor_coverage: share that climbs.
    """

    policy: AcceptancePolicy
    state: str
    answers: int
    picked: int
    needed: int
    answer_coverage: float
    ancestor_coverage: float


def asking(state: str, promised: float, confidence: float, answers: int = 0, picked: int = 0, needed: int = 0) -> Acceptance:
    """Returns what accepts nothing."""
    return Acceptance(AcceptancePolicy(promised, confidence, 1.0, NEVER, NEVER), state, answers, picked, needed, 0.0, 0.0)


def summary_of(acceptance: Acceptance) -> str:
    """Returns one sentence about what is promised, or why nothing is and what helps."""
    policy, share = acceptance.policy, f"{100 * acceptance.policy.promised:g} %"
    if acceptance.state == OFF:
        return "everything is asked, because acceptance.precision is 0"
    if acceptance.state == TOO_FEW:
        picked = f" ({acceptance.picked:,} more were picked by a strategy, and are no fair sample)" if acceptance.picked else ""
        return (
            f"everything is asked: answers on {acceptance.answers:,} random products{picked} can't promise {share}, "
            f"{acceptance.needed:,} at least can. Answer more, or raise sampling.audit_share"
        )
    if acceptance.state == NOTHING:
        return f"everything is asked: on {acceptance.answers:,} products with held-out answers nothing was right often enough for {share}"
    climbing = f", {acceptance.ancestor_coverage:.0%} at an ancestor" if policy.ancestor_threshold < NEVER else ""
    accepted = f"{acceptance.answer_coverage:.0%} of the products at the answer{climbing}"
    return f"{share} promised on {accepted}; from {acceptance.answers:,} held-out answers"


def as_json(acceptance: Acceptance) -> dict[str, Any]:
    """Returns the content of `acceptance.json`; a threshold that nothing reaches is null."""
    policy = {name: None if value == NEVER else value for name, value in asdict(acceptance.policy).items()}
    return {"format_version": FORMAT_VERSION, **{**asdict(acceptance), "policy": policy}}


def read_acceptance(path: Path) -> Acceptance | None:
    """Returns what stands beside a model; None where the file isn't there, as with models of earlier releases.

    Raises:
        ModelError: it is too large, no JSON, of a later format, or a number of it can't be.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ModelError(f"{path}: found more than {_MAX_BYTES:,} bytes, expected a few hundred. {_WAY_OUT}")
        found = json.loads(content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}. {_WAY_OUT}") from None
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: this isn't JSON. {_WAY_OUT}") from None
    return _checked(found, path)


def _checked(found: Any, path: Path) -> Acceptance:
    version = found.get("format_version") if isinstance(found, dict) else None
    if version != FORMAT_VERSION:
        raise ModelError(f"{path}: found format_version {version!r}, expected {FORMAT_VERSION}. {_WAY_OUT}")
    policy = found.get("policy")
    if not isinstance(policy, dict) or found.get("state") not in _STATES:
        raise ModelError(f"{path}: found state {found.get('state')!r}, expected a policy and one of {', '.join(_STATES)}. {_WAY_OUT}")
    thresholds = {name: NEVER for name in ("answer_threshold", "ancestor_threshold") if policy.get(name, 0) is None}
    numbers = {name: _number(policy, name, path) for name in (field.name for field in fields(AcceptancePolicy)) if name not in thresholds}
    if not numbers["temperature"] > 0:
        raise ModelError(f"{path}: temperature {numbers['temperature']} isn't above 0. {_WAY_OUT}")
    answers, picked, needed = (int(_number(found, name, path)) for name in ("answers", "picked", "needed"))
    at_answer, above = (_number(found, name, path) for name in ("answer_coverage", "ancestor_coverage"))
    return Acceptance(AcceptancePolicy(**numbers, **thresholds), found["state"], answers, picked, needed, at_answer, above)


def _number(values: Mapping[str, Any], name: str, path: Path) -> float:
    value = values.get(name)
    most, said = (1.0, "a number from 0 to 1") if name in _SHARES else (_MAX_NUMBER, "a number from 0")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ModelError(f"{path}: {name} is {value!r}, expected {said}{' or null' * name.endswith('_threshold')}. {_WAY_OUT}")
    return float(value)
