"""Reads the names of nodes through the transform graph, as if they were products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import TEXT
from schemas.taxonomy import Taxonomy
from trainer_module.layout import Layout


@dataclass(frozen=True)
class NodeBags:
    """The bags of the C exclusive nodes.

    Attributes:
        paths: of the names from the root down, CSR float32 `[C, num_columns]`.
        names: of the name and its synonyms, CSR float32 `[C, num_columns]`.
    """

    paths: sp.csr_matrix
    names: sp.csr_matrix


def node_bags(taxonomy: Taxonomy, layout: Layout, transform_output: tft.TFTransformOutput) -> NodeBags:
    """Returns what every text feature would hold if its field said the node's path, or its name."""
    nodes = list(taxonomy)
    paths = [" ".join(nodes[i].name for i in taxonomy.chain(node_id)) for node_id in taxonomy.exclusive_ids]
    names = [" ".join((nodes[i].name, *nodes[i].synonyms)) for i in taxonomy.exclusive]
    layer = transform_output.transform_features_layer()
    return NodeBags(*(_bag(layer(_as_products(texts, layout)), layout) for texts in (paths, names)))


def _as_products(texts: list[str], layout: Layout) -> dict[str, Any]:
    config = layout.features
    read = {feature.fields[0] for feature in config.of_kind(TEXT)}
    rows = np.stack([np.arange(len(texts)), np.zeros(len(texts))], 1).astype(np.int64)
    column, nothing = [len(texts), 1], np.zeros((0, 2), np.int64)
    raw: dict[str, Any] = {}
    for name in config.string_fields:
        values = tf.constant(texts if name in read else [], tf.string)
        raw[name] = tf.SparseTensor(rows if name in read else nothing, values, column)
    for name in config.numeric_fields:
        raw[name] = tf.SparseTensor(nothing, tf.zeros([0]), column)
    for name, size in config.dense_fields.items():
        raw[name] = tf.SparseTensor(nothing, tf.zeros([0]), [len(texts), size])
    return raw


def _bag(transformed: dict[str, Any], layout: Layout) -> sp.csr_matrix:
    bag = layout.inputs(transformed).bag
    places = bag.indices.numpy()
    return sp.csr_matrix((bag.values.numpy(), (places[:, 0], places[:, 1])), shape=tuple(bag.dense_shape.numpy()), dtype=np.float32)
