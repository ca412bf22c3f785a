"""Wraps a fitted network and the transform graph into the SavedModel that every later stage and server calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from schemas.features import CATEGORICAL, DENSE, NUMERIC, SEQUENCE, TEXT
from schemas.product import ANSWER_NODE, RULE_NODES
from trainer_module.accepting import Accepting
from trainer_module.layout import Layout
from trainer_module.preprocessing import IDS, PRESENT, VALUE, VALUE_ID, VECTOR, WEIGHTS, transformed_name
from trainer_module.training_data import node_table
from trainer_module.tree import Tree
from trainer_module.vector_inputs import VectorInputs, sparse_rows
from trainer_module.zoo.contract import Network, NetworkOutputs
from trainer_module.zoo.layers import in_doubles, rounded, unit_length

_SERIALIZED = tf.TensorSpec([None], tf.string, name="examples")


class _Read(NamedTuple):
    """What was read of n products: the transformed features, and outputs that say which have an encoded vector."""

    transformed: dict[str, Any]
    said: dict[str, tf.Tensor]


class ServedModel(tf.Module):
    """Strings in, both heads and an embedding out. `docs/contracts.md` lists every signature.

    Args:
        network: the fitted network.
        transform_output: the transform graph, whose vocabularies become assets of the model.
        layout: which column is which.
        tree: the taxonomy's arrays.
        top_k: nodes returned for each head.
        accepting: says which products need no person.
        encoders: what makes vectors of raw fields, as `pipeline.encoder_inputs.read_encoders` describes it.

    Raises:
        EncoderError: an encoder's weights can't be used.
    """

    def __init__(
        self,
        network: Network,
        transform_output: tft.TFTransformOutput,
        layout: Layout,
        tree: Tree,
        top_k: int,
        accepting: Accepting,
        encoders: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        self._network, self._layout, self._config = network, layout, layout.features
        self._accepting = accepting
        self._vectors = VectorInputs(encoders, layout.features)
        self.transform_layer = transform_output.transform_features_layer()
        self._node_ids, self._exclusive_ids = tf.constant(tree.node_ids), tf.constant(tree.exclusive_ids)
        self._chains = tf.constant(tree.chains)
        self._classes = node_table(tree.exclusive_ids, "answer_classes")
        self._nodes = node_table(tree.node_ids, "rule_nodes")
        self._top_exclusive = min(top_k, len(tree.exclusive_ids))
        self._top_rules = min(top_k, len(tree.node_ids))
        self._num_nodes = len(tree.node_ids)

    # What goes in.

    def _raw_spec(self) -> dict[str, Any]:
        config = self._config
        spec: dict[str, Any] = {name: tf.io.VarLenFeature(tf.string) for name in self._vectors.sources(config.string_fields)}
        spec.update({name: tf.io.VarLenFeature(tf.float32) for name in (*config.numeric_fields, *config.dense_fields)})
        return spec

    def _parsed(self, serialized: tf.Tensor) -> _Read:
        return self._transformed(tf.io.parse_example(serialized, self._raw_spec()))

    def _transformed(self, raw: Mapping[str, Any]) -> _Read:
        filled, said = self._vectors.filled(raw)
        config = self._config
        names = (*config.string_fields, *config.numeric_fields, *config.dense_fields)
        return _Read(self.transform_layer({name: filled[name] for name in names}), said)

    def _named(self, fields: Mapping[str, tf.Tensor]) -> _Read:
        raw: dict[str, tf.SparseTensor] = {}
        for name, value in fields.items():
            if name in self._config.dense_fields:
                raw[name] = sparse_rows(value)
            elif value.dtype == tf.string:
                raw[name] = _sparse_column(value, value != "")
            else:
                raw[name] = _sparse_column(value, tf.math.is_finite(value))
        return self._transformed(raw)

    def product_specs(self) -> dict[str, tf.TensorSpec]:
        """Returns the named inputs of `predict_products`; vectors that an encoder makes are made from the raw inputs."""
        config = self._config
        given = {name: size for name, size in config.dense_fields.items() if name not in self._vectors.names}
        specs = {name: tf.TensorSpec([None], tf.string, name=name) for name in self._vectors.sources(config.string_fields)}
        specs.update({name: tf.TensorSpec([None], tf.float32, name=name) for name in config.numeric_fields})
        specs.update({name: tf.TensorSpec([None, size], tf.float32, name=name) for name, size in given.items()})
        return specs

    # What comes out.

    def _outputs(self, read: _Read) -> NetworkOutputs:
        return self._network(self._layout.inputs(read.transformed))

    def _top(self, read: _Read) -> dict[str, tf.Tensor]:
        outputs = self._outputs(read)
        exclusive = tf.nn.softmax(in_doubles(outputs.exclusive))
        best, classes = tf.math.top_k(rounded(exclusive), self._top_exclusive)
        best_rules, nodes = tf.math.top_k(_sigmoid(outputs.rule_based), self._top_rules)
        return {
            "exclusive_nodes": tf.gather(self._exclusive_ids, classes),
            "exclusive_probabilities": tf.identity(best),
            "exclusive_entropy": rounded(-tf.reduce_sum(exclusive * tf.math.log(tf.maximum(exclusive, 1e-30)), axis=1)),
            "rule_based_nodes": tf.gather(self._node_ids, nodes),
            "rule_based_probabilities": tf.identity(best_rules),
            "embedding": _unit(outputs.embedding),
            **self._accepting(outputs.exclusive),
            **read.said,
        }

    # The signatures.

    @tf.function(input_signature=[_SERIALIZED])
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Top nodes of both heads and the embedding of serialized examples `[n]`."""
        return self._top(self._parsed(examples))

    @tf.function(input_signature=[_SERIALIZED])
    def embed(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The embedding `[n, d]` of serialized examples `[n]`."""
        return {"embedding": _unit(self._outputs(self._parsed(examples)).embedding)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every exclusive node and its probability, in the shape of TensorFlow Serving's Classify."""
        scores = _softmax(self._outputs(self._parsed(inputs)).exclusive)
        return {"classes": tf.tile(self._exclusive_ids[None], [tf.shape(scores)[0], 1]), "scores": scores}

    @tf.function(input_signature=[_SERIALIZED])
    def score_all(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every probability of both heads, for evaluation."""
        outputs = self._outputs(self._parsed(examples))
        return {
            "exclusive": _softmax(outputs.exclusive),
            "rule_based": _sigmoid(outputs.rule_based),
            "exclusive_chain": tf.gather(self._chains, tf.argmax(outputs.exclusive, axis=1)),
            "embedding": _unit(outputs.embedding),
        }

    @tf.function(input_signature=[_SERIALIZED])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The transformed features, padded with -1 and 0, and the labels that TFMA reads."""
        return {**self._padded(self._parsed(examples).transformed), **self._labels(examples)}

    def _padded(self, transformed: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        found: dict[str, tf.Tensor] = {}
        for feature in self._config:
            parts = {
                TEXT: (IDS,) if feature.weighting == SEQUENCE else (IDS, WEIGHTS),
                CATEGORICAL: (VALUE_ID,),
                NUMERIC: (VALUE, PRESENT),
                DENSE: (VECTOR,),
            }[feature.kind]
            for part in parts:
                name = transformed_name(feature, part)
                value = transformed[name]
                if isinstance(value, tf.SparseTensor):
                    value = tf.sparse.to_dense(value, default_value=-1 if part == IDS else 0.0)
                found[name] = tf.identity(value)
        return found

    def _labels(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {ANSWER_NODE: tf.io.FixedLenFeature([], tf.string, ""), RULE_NODES: tf.io.VarLenFeature(tf.string)}
        features = tf.io.parse_example(examples, spec)
        answered = features[ANSWER_NODE] != ""
        classes = self._classes.lookup(features[ANSWER_NODE])
        chains = tf.gather(self._chains, tf.maximum(classes, 0))
        # A node this model doesn't know still is an answer: give it a chain that no prediction can share.
        unknown = tf.concat([tf.fill([tf.shape(examples)[0], 1], tf.constant(-1, tf.int64)), tf.zeros_like(chains[:, 1:])], 1)
        rules = features[RULE_NODES]
        nodes = self._nodes.lookup(rules.values)
        known = nodes >= 0
        places = tf.stack([tf.boolean_mask(rules.indices[:, 0], known), tf.boolean_mask(nodes, known)], 1)
        shape = tf.stack([tf.shape(examples, tf.int64)[0], tf.constant(self._num_nodes, tf.int64)])
        targets = tf.minimum(tf.scatter_nd(places, tf.ones([tf.shape(places)[0]]), shape), 1.0)
        return {
            "answer_class": classes,
            "answer_chain": tf.where((classes >= 0)[:, None], chains, unknown),
            "answer_weight": tf.cast(answered, tf.float32),
            "rule_targets": targets,
            "rule_weight": tf.cast(tf.reduce_any(targets > 0, axis=1), tf.float32),
        }

    def signatures(self) -> dict[str, Any]:
        """Returns every signature by name, ready for `tf.saved_model.save`."""

        @tf.function
        def predict_products(**fields: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._top(self._named(fields))

        named = predict_products.get_concrete_function(**self.product_specs())
        names = ("serving_default", "embed", "classify", "score_all", "transform_features")
        return {**{name: getattr(self, name) for name in names}, "predict_products": named}


def _sparse_column(value: tf.Tensor, present: tf.Tensor) -> tf.SparseTensor:
    rows = tf.where(present)
    indices = tf.concat([rows, tf.zeros_like(rows)], 1)
    return tf.SparseTensor(indices, tf.boolean_mask(value, present), tf.stack([tf.shape(value, tf.int64)[0], tf.constant(1, tf.int64)]))


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    return rounded(unit_length(in_doubles(vectors)))


def _softmax(logits: tf.Tensor) -> tf.Tensor:
    return rounded(tf.nn.softmax(in_doubles(logits)))


def _sigmoid(logits: tf.Tensor) -> tf.Tensor:
    return rounded(tf.sigmoid(in_doubles(logits)))
