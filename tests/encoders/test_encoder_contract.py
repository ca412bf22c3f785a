"""Every kind of encoder keeps what `encoders.contract` promises."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from encoders.contract import num_empty
from encoders.descriptions import IMAGE
from encoders.kinds import KINDS, describe_encoder
from encoders.registry import load_encoder
from schemas.errors import EncoderError
from schemas.settings import ENCODER_KINDS
from tests.support.hostile_images import BAD, GOOD, TRANSCODED

TEXTS = [b"Nice red shoes", b"bag " * 90, "ш 漢 é".encode(), b"x" * 40_000]
NOTHING = {"text": [b"", b" \n\t", b"\x00\x07", b"\xff\xff"], "image": [content for content, _ in BAD.values()]}
HOSTILE = {"text": [b"[CLS]" * 900, b"\xc3(" * 20, "\u202e\u0301".encode() * 500, b"\x00" * 99], "image": list(TRANSCODED.values())}


# inception_v3 differs from mobilenet_v2 in nothing but the network, and costs ten times as much; it has a test of its own below.
@pytest.fixture(scope="module", params=["minilm", "mobilenet"])
def loaded(request):
    return request.getfixturevalue(request.param).encoder


@pytest.fixture(scope="module")
def call(loaded):
    in_graph = tf.function(loaded.__call__, input_signature=[tf.TensorSpec([None], tf.string)])
    return lambda values: in_graph(tf.constant(values, tf.string)).numpy()


def good(loaded):
    return list(GOOD.values()) if loaded.description.reads == IMAGE else TEXTS


def test_the_settings_know_every_kind():
    assert set(KINDS) == set(ENCODER_KINDS)


def test_what_says_something_has_unit_length(loaded, call):
    found = call(good(loaded))
    assert found.shape == (len(good(loaded)), loaded.description.size) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert int(num_empty(tf.constant(found))) == 0


def test_what_says_nothing_is_zeros(loaded, call):
    values = NOTHING[loaded.description.reads]
    found = call(values)
    assert not found.any()
    assert int(num_empty(tf.constant(found))) == len(values)


def test_no_values_give_no_rows(loaded, call):
    assert call([]).shape == (0, loaded.description.size)


def test_hostile_values_fail_nothing_and_change_no_neighbour(loaded, call):
    kind = loaded.description.reads
    values = [value for four in zip(good(loaded), HOSTILE[kind], NOTHING[kind], strict=False) for value in four]
    mixed, alone = call(values), call(good(loaded))
    assert np.isfinite(mixed).all()
    np.testing.assert_allclose(mixed[::3], alone[: len(values[::3])], atol=1e-5)


def test_a_saved_model_says_the_same_through_both_loaders(loaded, call, tmp_path):
    module = tf.Module()
    module.encoder = loaded
    module.serve = tf.function(
        lambda values: {"vectors": loaded(values)}, input_signature=[tf.TensorSpec([None], tf.string, name="values")]
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    values = [*good(loaded)[:3], *NOTHING[loaded.description.reads][:3]]
    expected = call(values)
    again = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](values=tf.constant(values))["vectors"].numpy()
    np.testing.assert_allclose(again, expected, atol=1e-5)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path)).signature_def["serving_default"]
        once_more = session.run(signature.outputs["vectors"].name, {signature.inputs["values"].name: values})
    np.testing.assert_allclose(once_more, expected, atol=1e-5)


@pytest.mark.slow
def test_inception_v3_encodes_a_picture_too(tmp_path):
    keras.utils.set_random_seed(0)
    network = keras.applications.InceptionV3(input_shape=(299, 299, 3), include_top=False, weights=None, pooling="avg")
    network.save_weights(tmp_path / "inception.weights.h5")
    encoder = load_encoder("inception_v3", tmp_path)
    assert (encoder.description.reads, encoder.description.size) == (IMAGE, 2048)
    found = encoder(tf.constant([GOOD["jpeg"], b"", GOOD["png"]])).numpy()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, 1], atol=1e-5)


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(EncoderError, match="'word2vec' is unknown. Known: minilm, mobilenet_v2, inception_v3"):
        describe_encoder("word2vec", tmp_path)
