"""A model whose features read encoded vectors says the same of raw strings, of vectors, and of both."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.encoding import EncodingCounts, ExampleEncoder, load_field_encoders
from encoders.kinds import describe_encoder
from schemas.errors import FeatureError
from schemas.features import DENSE, TEXT, Feature, FeatureConfig, with_vectors
from schemas.product import IMAGE_BYTES
from tests.support.examples import example
from tests.support.hostile_images import JPEG
from tests.support.tiny_bert import HIDDEN, write_tiny_bert
from tests.trainer_module.catalogue import products, taxonomy
from tests.trainer_module.rounds import run_round, training_config
from trainer_module.vector_inputs import VectorInputs

pytestmark = pytest.mark.slow
WORDS = FeatureConfig((Feature("words", TEXT, ("title",)),))


def plan(name, weights, field, most=128):
    found = describe_encoder("minilm", weights, most)
    return {
        "name": name, "kind": "minilm", "field": field, "weights": str(weights), "max_tokens": most,
        "reads": found.reads, "size": found.size, "digest": found.digest,
    }  # fmt: skip


@pytest.fixture(scope="module")
def round_(tmp_path_factory):
    root = tmp_path_factory.mktemp("vectors")
    weights = write_tiny_bert(root / "bert")
    plans = [plan("title_vector", weights, "title"), plan("text_vector", weights, "description", most=8)]
    config = with_vectors(WORDS, {item["name"]: item["size"] for item in plans})
    encoder = ExampleEncoder(load_field_encoders(plans, None), None)
    raw = [example(row).SerializeToString() for row in products(60)]
    rows = []
    for row, record in zip(products(60), encoder.encode(raw, EncodingCounts(), ""), strict=True):
        parsed = tf.train.Example.FromString(record).features.feature
        rows.append({**row, **{item["name"]: list(parsed[item["name"]].float_list.value) for item in plans}})
    custom = training_config(root, config, taxonomy(), encoders=plans)
    return run_round(root, config, rows, custom), rows, plans


@pytest.fixture(scope="module")
def signatures(round_):
    return tf.saved_model.load(str(round_[0].model)).signatures


def without_vectors(row, plans):
    return {name: value for name, value in row.items() if name not in {item["name"] for item in plans}}


def served(signatures, rows):
    serialized = tf.constant([example(row).SerializeToString() for row in rows])
    return {name: value.numpy() for name, value in signatures["serving_default"](examples=serialized).items()}


def same(left, right):
    assert set(left) == set(right)
    for name, value in left.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, right[name], atol=1e-5, err_msg=name)


def test_vectors_given_and_vectors_made_in_the_graph_say_the_same(round_, signatures):
    _, rows, plans = round_
    bare = [without_vectors(row, plans) for row in rows]
    whole = served(signatures, rows)
    same(whole, served(signatures, bare))
    same(whole, served(signatures, [row if k % 2 else alone for k, (row, alone) in enumerate(zip(rows, bare, strict=True))]))
    fields = {name: tf.constant([row.get(name) or "" for row in rows]) for name in ("title", "description")}
    named = {name: value.numpy() for name, value in signatures["predict_products"](**fields).items()}
    same(whole, named)


def test_the_vectors_matter(round_, signatures):
    _, rows, _ = round_
    other = [{**row, "title_vector": [-1.0] * HIDDEN} for row in rows]
    assert abs(served(signatures, rows)["exclusive_probabilities"] - served(signatures, other)["exclusive_probabilities"]).max() > 1e-3


def test_a_model_says_which_products_had_something_to_encode(round_, signatures):
    found = served(signatures, [{"id": "a", "title": "bag"}, {"id": "b"}, {"id": "c", "description": "the bag"}, {}])
    assert found["has_title_vector"].tolist() == [True, False, False, False]
    assert found["has_text_vector"].tolist() == [False, False, True, False]


def test_raw_strings_are_all_that_a_request_needs(signatures):
    specs = signatures["predict_products"].structured_input_signature[1]
    assert {name: (spec.dtype, spec.shape.rank) for name, spec in specs.items()} == dict.fromkeys(("title", "description"), (tf.string, 1))


def test_the_model_describes_its_encoders(round_):
    result, _, plans = round_
    model = json.loads((result.model / "assets.extra" / "model.json").read_text(encoding="utf-8"))
    assert [(item["name"], item["field"], item["size"], item["digest"]) for item in model["encoders"]] == [
        (item["name"], item["field"], HIDDEN, item["digest"]) for item in plans
    ]


def test_a_picture_is_encoded_from_its_bytes_unless_its_vector_is_given(tmp_path):
    keras.utils.set_random_seed(0)
    network = keras.applications.MobileNetV2(input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=None, pooling="avg")
    network.save_weights(tmp_path / "mobilenet.weights.h5")
    found = describe_encoder("mobilenet_v2", tmp_path)
    picture = {
        "name": "picture", "kind": "mobilenet_v2", "field": "image", "weights": str(tmp_path), "max_tokens": 1,
        "reads": "image", "size": found.size, "digest": found.digest,
    }  # fmt: skip
    vectors = VectorInputs([picture], FeatureConfig((Feature("picture", DENSE, ("picture",), dimensions=found.size),)))
    assert vectors.sources(["title"]) == ["title", IMAGE_BYTES]
    files = tf.sparse.from_dense(tf.constant([[JPEG], [b""], [JPEG[:99]], [JPEG]]))
    given = tf.SparseTensor([[3, 0], [3, 1]], tf.constant([3.0, 4.0]), [4, 2])
    raw, said = vectors.filled({IMAGE_BYTES: files, "picture": given})
    rows = tf.sparse.to_dense(raw["picture"]).numpy()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 0, 0, 5], atol=1e-4)
    assert rows[3, :3].tolist() == [3, 4, 0]
    assert said["has_picture"].numpy().tolist() == [True, False, False, True]


def test_a_vector_nobody_reads_gets_a_feature_of_its_own():
    read = FeatureConfig((*WORDS, Feature("mine", DENSE, ("title_vector",), dimensions=16, scale=0.5)))
    found = with_vectors(read, {"title_vector": 16, "picture": 1280})
    assert [(feature.name, feature.fields, feature.dimensions) for feature in found][1:] == [
        ("mine", ("title_vector",), 16),
        ("picture", ("picture",), 1280),
    ]
    with pytest.raises(FeatureError, match="features.mine: title_vector has 384 dimensions, found 16. Set dimensions to 384"):
        with_vectors(read, {"title_vector": 384})
    with pytest.raises(FeatureError, match="features.words: an encoder has this name, too"):
        with_vectors(WORDS, {"words": 16})
