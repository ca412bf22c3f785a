"""Reads the files of a BERT checkpoint: its sizes, its vocabulary and its arrays, each checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from encoders.descriptions import TEXT, Description, digest_of
from schemas.errors import EncoderError
from schemas.settings import MINILM

# Raise it when a vector changes: caches go by it, and a golden test says when.
VERSION = "minilm 1"
WEIGHTS_FILE, VOCABULARY_FILE, CONFIG_FILE = "model.safetensors", "vocab.txt", "config.json"
_MAX_CONFIG_BYTES, _MAX_VOCABULARY_BYTES, _MAX_WEIGHTS_BYTES = 100_000, 20_000_000, 4_000_000_000
_LETTERS_PER_HEAD = 32  # What every MiniLM has; only a config.json can say otherwise.
_BERT = "a BERT encoder"


@dataclass(frozen=True)
class BertSizes:
    """The sizes of a BERT encoder.

    Attributes:
        hidden: width of a token.
        layers: number of blocks.
        heads: attention heads of a block.
        inner: width of a block's feed-forward layer.
        positions: most tokens in one window, marks included.
        pieces: size of the vocabulary.
        epsilon: added to a variance before its root.
    """

    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    pieces: int
    epsilon: float


def checkpoint_files(folder: Path) -> list[Path]:
    """Returns the files that decide what a vector is.

    Raises:
        EncoderError: the weights or the vocabulary are missing, or a file is too big to be one.
    """
    if not folder.is_dir():
        raise EncoderError(f"{folder}: this is no folder. Expected a folder with {WEIGHTS_FILE} and {VOCABULARY_FILE}.")
    files = [folder / WEIGHTS_FILE, folder / VOCABULARY_FILE]
    for path in files:
        if not path.is_file():
            raise EncoderError(f"{folder}: there is no {path.name}. Expected a folder with {WEIGHTS_FILE} and {VOCABULARY_FILE}.")
    if (folder / CONFIG_FILE).is_file():
        files.append(folder / CONFIG_FILE)
    for path, most in zip(files, (_MAX_WEIGHTS_BYTES, _MAX_VOCABULARY_BYTES, _MAX_CONFIG_BYTES), strict=False):
        if path.stat().st_size > most:
            raise EncoderError(f"{path}: {path.stat().st_size:,} bytes are too many. Expected {most:,} at most, of {_BERT}.")
    return files


def read_vocabulary(folder: Path) -> list[str]:
    """Returns the pieces in the order of their ids.

    Raises:
        EncoderError: the file isn't UTF-8.
    """
    path = folder / VOCABULARY_FILE
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise EncoderError(f"{path}: byte {error.start} isn't UTF-8. Expected one piece a line, as BERT's vocab.txt.") from None


class BertArrays:
    """The arrays of a checkpoint by name, read one at a time.

    Args:
        folder: holds `model.safetensors`, and `config.json` where the model isn't of MiniLM's proportions.

    Raises:
        EncoderError: a file is damaged, or it isn't a BERT encoder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = checkpoint_files(folder)[0]
        try:
            self._file = safe_open(self._path, framework="numpy")
            names = set(self._file.keys())
        except (SafetensorError, OSError) as error:
            raise EncoderError(f"{self._path}: this can't be read: {error}. Expected the safetensors file of {_BERT}.") from None
        self._prefix = "bert." if any(name.startswith("bert.") for name in names) else ""
        self._names = {name.removeprefix(self._prefix) for name in names}
        self.sizes = self._read_sizes(folder / CONFIG_FILE)

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        """Returns an array, float32.

        Raises:
            EncoderError: it isn't there, has another shape, or holds a number that isn't finite.
        """
        found = self._shape(name)
        if found != shape:
            raise EncoderError(
                f"{self._path}: {name} has shape {list(found)}, expected {list(shape)}. Take weights and config.json of one model."
            )
        array = np.asarray(self._file.get_tensor(self._prefix + name), np.float32)
        if not np.isfinite(array).all():
            raise EncoderError(f"{self._path}: {name} holds numbers that aren't finite. Get the file again.")
        return array

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._names:
            raise EncoderError(f"{self._path}: there is no array {name!r}. Expected the weights of {_BERT}.")
        return tuple(self._file.get_slice(self._prefix + name).get_shape())

    def _read_sizes(self, path: Path) -> BertSizes:
        config = _config(path) if path.is_file() else {}
        pieces, hidden = self._matrix("embeddings.word_embeddings.weight")
        positions, _ = self._matrix("embeddings.position_embeddings.weight")
        inner, _ = self._matrix("encoder.layer.0.intermediate.dense.weight")
        layers = len({name.split(".")[2] for name in self._names if name.startswith("encoder.layer.")})
        heads = config.get("num_attention_heads", max(1, hidden // _LETTERS_PER_HEAD))
        epsilon = config.get("layer_norm_eps", 1e-12)
        if not isinstance(heads, int) or isinstance(heads, bool) or not 1 <= heads <= hidden or hidden % heads:
            raise EncoderError(f"{path}: num_attention_heads {heads!r} doesn't divide the width {hidden}.")
        if not isinstance(epsilon, float) or not 0 < epsilon < 1:
            raise EncoderError(f"{path}: layer_norm_eps {epsilon!r} must be a number in (0, 1).")
        return BertSizes(hidden, layers, heads, inner, positions, pieces, epsilon)

    def _matrix(self, name: str) -> tuple[int, int]:
        shape = self._shape(name)
        if len(shape) != 2:
            raise EncoderError(f"{self._path}: {name} has {len(shape)} axes, expected 2. Expected the weights of {_BERT}.")
        return shape[0], shape[1]


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise EncoderError(f"{path}: this isn't JSON. Expected the config.json of {_BERT}.") from None
    if not isinstance(config, dict):
        raise EncoderError(f"{path}: expected a JSON object, the config.json of {_BERT}.")
    for key, value in _expected(config):
        raise EncoderError(
            f"{path}: {key} is {config[key]!r}, and only {value!r} is known here. Use a model of the all-MiniLM-L6-v2 class."
        )
    return config


def _expected(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in (("model_type", "bert"), ("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if config.get(key, value) != value:
            yield key, value


def describe_bert(folder: Path, max_tokens: int) -> Description:
    """Returns what the encoder `minilm` would be with these weights.

    Raises:
        EncoderError: a file is missing or damaged, or it isn't a BERT encoder.
    """
    sizes = BertArrays(folder).sizes
    return Description(MINILM, TEXT, sizes.hidden, digest_of(VERSION, checkpoint_files(folder), (max_tokens,)))
