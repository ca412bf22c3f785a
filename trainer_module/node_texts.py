"""Reads the names of nodes and the phrases of their rules through the transform graph, as if they were products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_transform as tft

from encoders.batch_encoding import encode_texts
from encoders.descriptions import TEXT as READS_TEXT
from encoders.registry import load_planned
from schemas.features import DENSE, TEXT
from schemas.rules import Rule
from schemas.taxonomy import Taxonomy
from trainer_module.layout import Layout
from trainer_module.raw_products import raw_products
from trainer_module.rule_phrases import RulePhrases, no_phrases, rule_phrases


@dataclass(frozen=True)
class NodeBags:
    """The C exclusive nodes, and phrases of rules, as the network would see products.

    Attributes:
        paths: bag of the names from the root down, CSR float32 `[C, num_columns]`.
        names: bag of the name and its synonyms, CSR float32 `[C, num_columns]`.
        path_numbers, name_numbers: their numbers, float32 `[C, num_numbers]`; zeros but where an encoder read the text.
        phrases: of their rules.
        encoded: names of the dense features that encoders make of texts.
    """

    paths: sp.csr_matrix
    names: sp.csr_matrix
    path_numbers: np.ndarray
    name_numbers: np.ndarray
    phrases: RulePhrases
    encoded: tuple[str, ...] = ()


def no_node_texts(layout: Layout, num_classes: int) -> NodeBags:
    """Returns nodes that say nothing."""
    bag = sp.csr_matrix((num_classes, layout.num_columns), dtype=np.float32)
    numbers = np.zeros((num_classes, layout.num_numbers), np.float32)
    return NodeBags(bag, bag, numbers, numbers, no_phrases(layout.num_columns))


def node_bags(
    taxonomy: Taxonomy,
    layout: Layout,
    transform_output: tft.TFTransformOutput,
    encoders: Sequence[Mapping[str, Any]] = (),
    rules: Sequence[Rule] = (),
) -> NodeBags:
    """Returns what every text feature would hold if its field said the node's path, or its name.

    Args:
        taxonomy: the nodes.
        layout: which column is which.
        transform_output: the transform graph.
        encoders: what makes vectors of raw fields, as `pipeline.encoder_inputs.read_encoders` describes it.
        rules: whose phrases are read.

    Raises:
        EncoderError: an encoder's weights can't be used.
    """
    nodes = list(taxonomy)
    paths = [" ".join(nodes[i].name for i in taxonomy.chain(node_id)) for node_id in taxonomy.exclusive_ids]
    names = [" ".join((nodes[i].name, *nodes[i].synonyms)) for i in taxonomy.exclusive]
    read = [plan for plan in encoders if plan["reads"] == READS_TEXT and plan["name"] in layout.features.dense_fields]
    loaded = load_planned(read)
    layer = transform_output.transform_features_layer()
    found, fields = [], {feature.fields[0] for feature in layout.features.of_kind(TEXT)}
    for texts in (paths, names):
        vectors = {plan["name"]: encode_texts(loaded[plan["name"]], texts) for plan in read}
        found.append(layout.inputs(layer(raw_products(texts, fields, layout.features, vectors))))
    encoded = tuple(feature.name for feature in layout.features.of_kind(DENSE) if feature.fields[0] in {plan["name"] for plan in read})
    path_numbers, name_numbers = (inputs.numbers.numpy() for inputs in found)
    phrases = rule_phrases(rules, taxonomy, layout, layer)
    return NodeBags(_csr(found[0].bag), _csr(found[1].bag), path_numbers, name_numbers, phrases, encoded)


def _csr(bag: tf.SparseTensor) -> sp.csr_matrix:
    places = bag.indices.numpy()
    return sp.csr_matrix((bag.values.numpy(), (places[:, 0], places[:, 1])), shape=tuple(bag.dense_shape.numpy()), dtype=np.float32)
