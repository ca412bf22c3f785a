"""Writes a BERT encoder with random weights and a hundred word pieces: small, and of the same make as a real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 16, 2, 2, 32, 40
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = ["nice", "shoe", "boot", "dress", "bag", "skirt", "red", "leather", "women", "the", ",", "."]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = [*MARKS, *_WORDS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), "##ing", "##er", "##boot"]


def write_tiny_bert(folder: Path, seed: int = 0, pieces: list[str] | None = None) -> Path:
    """Writes `model.safetensors`, `vocab.txt` and `config.json`, and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = PIECES if pieces is None else pieces
    save_file(arrays(seed, len(pieces)), str(folder / "model.safetensors"))
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    config = {"model_type": "bert", "hidden_act": "gelu", "num_attention_heads": HEADS, "layer_norm_eps": 1e-12}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def arrays(seed: int, num_pieces: int) -> dict[str, np.ndarray]:
    """Returns arrays under the names of a BERT checkpoint; big enough that every part of the network shows in a vector."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, mean: float = 0.0) -> np.ndarray:
        return (mean + rng.normal(0, 0.3, shape)).astype(np.float32)

    def norm(place: str) -> dict[str, np.ndarray]:
        return {f"{place}.LayerNorm.weight": normal(HIDDEN, mean=1.0), f"{place}.LayerNorm.bias": normal(HIDDEN)}

    def dense(place: str, size_out: int, size_in: int) -> dict[str, np.ndarray]:
        return {f"{place}.weight": normal(size_out, size_in), f"{place}.bias": normal(size_out)}

    found = {
        "embeddings.word_embeddings.weight": normal(num_pieces, HIDDEN),
        "embeddings.position_embeddings.weight": normal(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN),
        **norm("embeddings"),
    }
    for layer in range(LAYERS):
        place = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            found |= dense(f"{place}.attention.self.{part}", HIDDEN, HIDDEN)
        found |= dense(f"{place}.attention.output.dense", HIDDEN, HIDDEN) | norm(f"{place}.attention.output")
        found |= dense(f"{place}.intermediate.dense", INNER, HIDDEN) | dense(f"{place}.output.dense", HIDDEN, INNER)
        found |= norm(f"{place}.output")
    return found
