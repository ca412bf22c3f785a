"""Writes labelled examples in the contract's features and layout, for tests of the stages that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from schemas.product import DEV, SPLITS


def example(product: Mapping[str, Any]) -> tf.train.Example:
    """Returns a product as a `tf.train.Example`: text to bytes, whole numbers to int64, other numbers to floats.

    A value that is None, an empty text or an empty list leaves its feature out, as the contract says. Key `split` is
    not a feature.
    """
    found = tf.train.Example()
    for name, value in product.items():
        values = [] if value is None or value == "" else list(value) if isinstance(value, (list, tuple)) else [value]
        if name == "split" or not values:
            continue
        feature = found.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(text.encode() for text in values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return found


def write_examples(folder: Path, products: Sequence[Mapping[str, Any]]) -> None:
    """Writes `Split-dev/` and `Split-test/` with one GZIP TFRecord each, in the order given.

    Args:
        folder: the artifact's folder; made when missing.
        products: fields by name; `split` says `dev` (the default) or `test`.
    """
    for split in SPLITS:
        path = folder / f"Split-{split}" / "examples-00000-of-00001.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
            for product in products:
                if product.get("split", DEV) == split:
                    writer.write(example(product).SerializeToString(deterministic=True))
