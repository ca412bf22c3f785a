"""Finds an encoder's weights: a path, or a model of a hub where a hub's library is installed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from schemas.errors import EncoderError

_HUB = "hub://"
_LIBRARY = "huggingface_hub"
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = ["*.safetensors", "vocab.txt", "config.json", "*.h5"]


def weights_path(weights: str) -> Path:
    """Returns the folder that holds the weights, or the one file that does.

    Args:
        weights: a path, or `hub://OWNER/NAME`, which the hub's library downloads once and keeps.

    Raises:
        EncoderError: none is named, there is no such path, or the hub can't be asked.
    """
    if not weights:
        raise EncoderError("no weights are named. Name the folder that holds them; only the latent space of few_shot needs none.")
    if weights.startswith(_HUB):
        return _from_hub(weights.removeprefix(_HUB))
    path = Path(weights)
    if not path.exists():
        raise EncoderError(f"{path}: there is no such file or folder of weights. Name the folder that holds them.")
    return path


def _from_hub(model: str) -> Path:
    if not _MODEL.fullmatch(model):
        raise EncoderError(f"{_HUB}{model}: this names no model. Expected {_HUB}OWNER/NAME.")
    try:
        hub = importlib.import_module(_LIBRARY)
    except ModuleNotFoundError:
        raise EncoderError(f"{_HUB}{model}: {_LIBRARY} isn't installed. Install it, or download the model and name its folder.") from None
    try:
        return Path(hub.snapshot_download(model, allow_patterns=_FILES))
    except Exception as error:  # Of the network, the hub or the disk: the library has a family for each.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderError(f"{_HUB}{model}: this can't be downloaded: {reason}. Download the model yourself and name its folder.") from None
