"""Loads encoders by their kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders.contract import Encoder
from encoders.descriptions import Description
from encoders.inception_v3 import load_inception_v3
from encoders.kinds import describe_encoder
from encoders.minilm import MiniLM
from encoders.mobilenet_v2 import load_mobilenet_v2
from schemas.errors import EncoderError
from schemas.settings import DEFAULT_MAX_TOKENS, INCEPTION_V3, MOBILENET_V2

_OF_IMAGES = {MOBILENET_V2: load_mobilenet_v2, INCEPTION_V3: load_inception_v3}


def load_encoder(kind: str, weights: Path | str, max_tokens: int = DEFAULT_MAX_TOKENS) -> Encoder:
    """Returns an encoder, ready to be called.

    Args:
        kind: one of `kinds.KINDS`.
        weights: the folder that holds its weights, or for pictures the file.
        max_tokens: word pieces read of a text.

    Raises:
        EncoderError: the kind is unknown, or its weights can't be found or used.
    """
    return _load(Path(weights), describe_encoder(kind, Path(weights), max_tokens), max_tokens, None)


def load_planned(plans: Sequence[Mapping[str, Any]]) -> dict[str, Encoder]:
    """Returns the encoders that a run planned, by the names of their vectors; the same weights are loaded once.

    Args:
        plans: `name`, `kind`, `weights`, `max_tokens` and `digest` of each, as `pipeline.encoder_inputs` makes them.

    Raises:
        EncoderError: weights can't be used, or aren't those the run was planned with.
    """
    by_digest: dict[str, Encoder] = {}
    by_weights: dict[tuple[str, str], Encoder] = {}
    for plan in plans:
        weights = Path(plan["weights"])
        description = describe_encoder(plan["kind"], weights, plan["max_tokens"])
        if description.digest != plan["digest"]:
            raise EncoderError(f"{weights}: the weights aren't those this run was planned with. Start it again.")
        if description.digest not in by_digest:
            twin = by_weights.get((plan["kind"], plan["weights"]))
            by_digest[description.digest] = by_weights[plan["kind"], plan["weights"]] = _load(
                weights, description, plan["max_tokens"], twin
            )
    return {plan["name"]: by_digest[plan["digest"]] for plan in plans}


def _load(weights: Path, description: Description, max_tokens: int, twin: Encoder | None) -> Encoder:
    if description.kind in _OF_IMAGES:
        return _OF_IMAGES[description.kind](weights, description)
    return MiniLM(weights, description, max_tokens, twin if isinstance(twin, MiniLM) else None)
