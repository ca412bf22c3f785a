"""Makes raw features of texts, as if each were a product some of whose fields say it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from schemas.features import FeatureConfig
from trainer_module.vector_inputs import sparse_rows


def raw_products(
    texts: Sequence[str], fields: Collection[str], config: FeatureConfig, vectors: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Returns what the transform graph takes, for n texts.

    Args:
        texts: n.
        fields: that say the text; all others are missing.
        config: names the fields there are.
        vectors: dense field to float32 `[n, size]`; those that aren't here are missing.
    """
    rows = np.stack([np.arange(len(texts)), np.zeros(len(texts))], 1).astype(np.int64)
    column, nothing = [len(texts), 1], np.zeros((0, 2), np.int64)
    raw: dict[str, Any] = {}
    for name in config.string_fields:
        values = tf.constant(list(texts) if name in fields else [], tf.string)
        raw[name] = tf.SparseTensor(rows if name in fields else nothing, values, column)
    for name in config.numeric_fields:
        raw[name] = tf.SparseTensor(nothing, tf.zeros([0]), column)
    for name, size in config.dense_fields.items():
        known = (vectors or {}).get(name)
        raw[name] = tf.SparseTensor(nothing, tf.zeros([0]), [len(texts), size]) if known is None else sparse_rows(tf.constant(known))
    return raw
