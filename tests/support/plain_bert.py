"""Computes BERT's sentence vector in plain NumPy and float64, one text at a time: the truth that the graph is tested against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import erf


def token_vectors(arrays: Mapping[str, npt.NDArray[np.float64]], ids: Sequence[int], heads: int) -> npt.NDArray[np.float64]:
    """Returns the last layer's vectors, float64 `[tokens, hidden]`.

    Args:
        arrays: a checkpoint's arrays by name.
        ids: one window, [CLS] and [SEP] included.
        heads: of every block.
    """
    w = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
    layers = len({name.split(".")[2] for name in w if name.startswith("encoder.layer.")})
    x = w["embeddings.word_embeddings.weight"][list(ids)] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = _norm(w, "embeddings", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(layers):
        place = f"encoder.layer.{layer}"
        query, key, value = (_dense(w, f"{place}.attention.self.{part}", x) for part in ("query", "key", "value"))
        width = x.shape[1] // heads
        mixed = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = query[:, part] @ key[:, part].T / math.sqrt(width)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(weights / weights.sum(1, keepdims=True) @ value[:, part])
        x = _norm(w, f"{place}.attention.output", x + _dense(w, f"{place}.attention.output.dense", np.hstack(mixed)))
        inner = _dense(w, f"{place}.intermediate.dense", x)
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = _norm(w, f"{place}.output", x + _dense(w, f"{place}.output.dense", inner))
    return x


def sentence_vector(arrays: Mapping[str, npt.NDArray[np.float64]], windows: Sequence[Sequence[int]], heads: int) -> npt.NDArray[np.float64]:
    """Returns the mean of all tokens of all windows, brought to unit length, float64 `[hidden]`."""
    mean = np.concatenate([token_vectors(arrays, ids, heads) for ids in windows]).mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def _dense(w: Mapping[str, npt.NDArray[np.float64]], place: str, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(x @ w[f"{place}.weight"].T + w[f"{place}.bias"])


def _norm(w: Mapping[str, npt.NDArray[np.float64]], place: str, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = x - x.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-12)
    return np.asarray(scaled * w[f"{place}.LayerNorm.weight"] + w[f"{place}.LayerNorm.bias"])
