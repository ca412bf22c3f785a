"""Writes a tiny SavedModel with every signature of docs/contracts.md, so that stages are tested without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from schemas.product import ANSWER_NODE, BRAND, CATEGORY, DESCRIPTION, GENDER, MERCHANT_CATEGORY, PRICE, RULE_NODES, SIZE, TITLE
from schemas.taxonomy import Taxonomy, node_fingerprint
from schemas.text import fold

EMBEDDING_DIMENSION = 8
STRING_INPUTS = (TITLE, BRAND, CATEGORY, MERCHANT_CATEGORY, DESCRIPTION, GENDER, SIZE)
_BUCKETS = 4096
_NOISE = 0.2
_CLASSIFY = "tensorflow/serving/classify"


def write_toy_model(folder: Path, taxonomy: Taxonomy, seed: int = 0, top_k: int = 10) -> None:
    """Writes a model that finds a product whose title or brand holds a node's name, and otherwise guesses by `seed`.

    Deterministic: the same taxonomy, seed and strings give the same scores. No training, no vocabulary: words are
    hashed. `folder` becomes the SavedModel itself (`saved_model.pb` directly below it); for an artifact `Model` pass
    `Path(uri) / "Format-Serving"`.

    Args:
        folder: where to write; parents are made.
        taxonomy: its tree order is the order of the outputs.
        seed: of the noise added to every weight; two seeds give two models that disagree sometimes.
        top_k: nodes returned by `serving_default`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = _ToyModel(taxonomy, seed, top_k)
    signatures = {name: getattr(model, name) for name in _SIGNATURES}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    _name_classify_method(folder / "saved_model.pb")
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    (extra / "model.json").write_text(json.dumps(_description(taxonomy, top_k), ensure_ascii=False), encoding="utf-8")


_SIGNATURES = ("serving_default", "predict_products", "embed", "score_all", "transform_features", "classify")


def _description(taxonomy: Taxonomy, top_k: int) -> dict[str, Any]:
    nodes = [{"id": n.id, "parent_id": n.parent_id, "name": n.name, "exclusive": n.exclusive} for n in taxonomy]
    return {
        "nodes": nodes,
        "family": "toy",
        "embedding_dimension": EMBEDDING_DIMENSION,
        "top_k": top_k,
        "features": {"strings": list(STRING_INPUTS), "numeric": [PRICE], "dense": {}},
        "taxonomy_sha256": taxonomy.sha256,
    }


def _name_classify_method(path: Path) -> None:
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    saved.meta_graphs[0].signature_def["classify"].method_name = _CLASSIFY
    path.write_bytes(saved.SerializeToString(deterministic=True))


def _buckets(words: list[str]) -> np.ndarray:
    return tf.strings.to_hash_bucket_fast(tf.constant(words), _BUCKETS).numpy()


def _name_weights(taxonomy: Taxonomy, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns word weights `[buckets, C]` and `[buckets, N]`: a node's own words speak for it, its ancestors' a little."""
    rng = np.random.default_rng(seed)
    exclusive = _NOISE * rng.standard_normal((_BUCKETS, len(taxonomy.exclusive))).astype(np.float32)
    rule_based = _NOISE * rng.standard_normal((_BUCKETS, len(taxonomy))).astype(np.float32)
    classes = {node: k for k, node in enumerate(taxonomy.exclusive)}
    for i, node in enumerate(taxonomy):
        words = fold(node.name).split()
        if not words:
            continue
        rows = _buckets(words)
        for j in taxonomy.chain(node.id):
            rule_based[rows, j] += 4.0
        for j in taxonomy.subtree(node.id):
            if j in classes:
                exclusive[rows, classes[j]] += 6.0 if j == i else 1.0
    return exclusive, rule_based


class _ToyModel(tf.Module):
    """Hashed bags of words times fixed weights."""

    def __init__(self, taxonomy: Taxonomy, seed: int, top_k: int) -> None:
        super().__init__()
        exclusive, rule_based = _name_weights(taxonomy, seed)
        rng = np.random.default_rng(seed + 1)
        self.exclusive_weights = tf.Variable(exclusive, trainable=False)
        self.rule_weights = tf.Variable(rule_based, trainable=False)
        self.embedding_weights = tf.Variable(rng.standard_normal((_BUCKETS, EMBEDDING_DIMENSION)).astype(np.float32), trainable=False)
        depth = max(taxonomy.depths)
        chains = np.zeros((len(taxonomy) + 1, depth), np.int64)
        for i, node in enumerate(taxonomy):
            numbers = [node_fingerprint(taxonomy[j].id) for j in taxonomy.chain(node.id)]
            chains[i, : len(numbers)] = numbers
        self.chains = tf.constant(chains)  # [N + 1, D], the last row for "no node"
        self.exclusive_numbers = tf.constant(taxonomy.exclusive, tf.int64)
        self.node_ids = tf.constant(taxonomy.ids)
        self.exclusive_ids = tf.constant(taxonomy.exclusive_ids)
        self.node_table = _table(taxonomy.ids)
        self.class_table = _table(taxonomy.exclusive_ids)
        self.num_nodes, self.top_k = len(taxonomy), top_k

    def _bag(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns bucket numbers and the row each belongs to."""
        folded = tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), r"[^\pL\pN]+", " ")
        words = tf.strings.split(folded)
        return tf.strings.to_hash_bucket_fast(words.values, _BUCKETS), words.value_rowids()

    def _scores(self, title: tf.Tensor, brand: tf.Tensor) -> dict[str, tf.Tensor]:
        buckets, rows = self._bag(tf.strings.join([title, brand], " "))
        size = tf.shape(title, tf.int64)[0]

        def total(weights: tf.Variable) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(tf.gather(weights, buckets), rows, size)

        embedding = total(self.embedding_weights)
        embedding += tf.one_hot(0, EMBEDDING_DIMENSION) * tf.cast(tf.reduce_all(embedding == 0, 1, keepdims=True), tf.float32)
        exclusive = tf.nn.softmax(total(self.exclusive_weights))
        best = tf.gather(self.exclusive_numbers, tf.argmax(exclusive, 1))
        return {
            "exclusive": exclusive,
            "rule_based": tf.sigmoid(total(self.rule_weights) - 2.0),
            "exclusive_chain": tf.gather(self.chains, best),
            "embedding": tf.math.l2_normalize(embedding, 1),
        }

    def _parsed_scores(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {name: tf.io.FixedLenFeature([], tf.string, "") for name in (TITLE, BRAND)}
        fields = tf.io.parse_example(examples, spec)
        return self._scores(fields[TITLE], fields[BRAND])

    def _top(self, scores: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = {"embedding": scores["embedding"]}
        for head, ids in (("exclusive", self.exclusive_ids), ("rule_based", self.node_ids)):
            values, numbers = tf.math.top_k(scores[head], min(self.top_k, ids.shape[0]))
            found[f"{head}_nodes"], found[f"{head}_probabilities"] = tf.gather(ids, numbers), values
        safe = tf.maximum(scores["exclusive"], 1e-30)
        found["exclusive_entropy"] = -tf.reduce_sum(safe * tf.math.log(safe), 1)
        return found

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._top(self._parsed_scores(examples))

    @tf.function(
        input_signature=[
            *(tf.TensorSpec([None], tf.string, name) for name in STRING_INPUTS),
            tf.TensorSpec([None], tf.float32, PRICE),
        ]
    )
    def predict_products(self, title, brand, category, merchant_category, description, gender, size, price):  # type: ignore[no-untyped-def]
        return self._top(self._scores(title, brand))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def embed(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": self._parsed_scores(examples)["embedding"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def score_all(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._parsed_scores(examples)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = self._parsed_scores(inputs)["exclusive"]
        classes = tf.tile(self.exclusive_ids[None, :], [tf.shape(scores)[0], 1])
        return {"classes": classes, "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {
            TITLE: tf.io.FixedLenFeature([], tf.string, ""),
            ANSWER_NODE: tf.io.FixedLenFeature([], tf.string, ""),
            RULE_NODES: tf.io.RaggedFeature(tf.string),
        }
        fields = tf.io.parse_example(examples, spec)
        numbers = self.node_table.lookup(fields[ANSWER_NODE])
        rules = fields[RULE_NODES]
        known = tf.ragged.map_flat_values(self.node_table.lookup, rules)
        hot = tf.one_hot(known.flat_values, self.num_nodes)  # -1 gives a row of zeros
        targets = tf.math.unsorted_segment_max(hot, known.value_rowids(), tf.shape(numbers, tf.int64)[0])
        return {
            "title_length": tf.cast(tf.strings.length(fields[TITLE]), tf.float32),
            "answer_class": self.class_table.lookup(fields[ANSWER_NODE]),
            "answer_chain": tf.gather(self.chains, tf.where(numbers < 0, tf.constant(self.num_nodes, tf.int64), numbers)),
            "answer_weight": tf.cast(fields[ANSWER_NODE] != "", tf.float32),
            "rule_targets": tf.maximum(targets, 0.0),
            "rule_weight": tf.cast(rules.row_lengths() > 0, tf.float32),
        }


def _table(ids: list[str]) -> tf.lookup.StaticHashTable:
    values = tf.range(len(ids), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(ids), values), -1)
