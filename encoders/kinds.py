"""Knows every kind of encoder by name, and describes one from its files without loading TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from encoders.bert_checkpoint import describe_bert
from encoders.descriptions import Description
from encoders.image_checkpoint import describe_image
from schemas.errors import EncoderError
from schemas.settings import DEFAULT_MAX_TOKENS, INCEPTION_V3, MINILM, MOBILENET_V2

# Kind to what describes it: path of the weights, word pieces read of a text.
_KINDS: dict[str, Callable[[Path, int], Description]] = {
    MINILM: describe_bert,
    MOBILENET_V2: lambda weights, _: describe_image(MOBILENET_V2, weights),
    INCEPTION_V3: lambda weights, _: describe_image(INCEPTION_V3, weights),
}
KINDS = tuple(_KINDS)


def describe_encoder(kind: str, weights: Path, max_tokens: int = DEFAULT_MAX_TOKENS) -> Description:
    """Returns what `registry.load_encoder` would give, without loading it.

    Raises:
        EncoderError: the kind is unknown, or its weights can't be found or used.
    """
    if kind not in _KINDS:
        raise EncoderError(f"encoder kind {kind!r} is unknown. Known: {', '.join(KINDS)}.")
    return _KINDS[kind](weights, max_tokens)
