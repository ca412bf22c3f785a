"""Writes a pair of model and index small enough to push a thousand times."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.folder_digest import folder_sha256
from similarity.exact_index import ExactIndex
from similarity.planner import BuiltIndex, save_index
from similarity.vectors import in_tree_order


def make_pair(folder: Path, text: str = "weights", digest: bool = True) -> tuple[Path, Path]:
    """Returns the folders of a model, which differs by `text`, and of an index that names it, unless told not to."""
    model, index = folder / "model", folder / "index"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_text("graph")
    (model / "variables" / "variables.index").write_text(text)
    vectors = np.random.default_rng(len(text)).normal(size=(4, 3)).astype(np.float32)
    products = in_tree_order(vectors, list("abcd"), np.zeros(4, np.int64), ["n"], [1])
    save_index(index, BuiltIndex(ExactIndex(products), 1.0, 10), folder_sha256(model) if digest else "")
    return model, index
