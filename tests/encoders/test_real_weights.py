"""Holds the encoders to real weights, where this machine has them: AISLE_MINILM names a folder, MobileNetV2's lie beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from encoders.batch_encoding import encode_texts
from encoders.bert_checkpoint import BertArrays, read_vocabulary
from encoders.registry import load_encoder
from encoders.wordpiece import WordPiece
from tests.support.hostile_images import encoded, picture
from tests.support.plain_bert import sentence_vector

MINILM = Path(os.environ.get("AISLE_MINILM", "weights/minilm"))
MOBILENET = Path(__file__).parents[3] / "shared" / "data" / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"
TITLES = ["Alisha Solid Women's Cycling Shorts", "FabHomeDecor™ Fabric Double Sofa Bed", "Crème brûlée dish, 6 pcs", "x²-1000 ½ l"]


@pytest.fixture(scope="module")
def minilm():
    if not MINILM.is_dir():
        pytest.skip(f"no weights of all-MiniLM-L6-v2 in {MINILM}; AISLE_MINILM names another folder")
    return load_encoder("minilm", MINILM)


def test_vectors_are_those_of_plain_arithmetic(minilm):
    vocabulary = read_vocabulary(MINILM)
    first, last = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
    ids = WordPiece(vocabulary)(tf.constant([title.encode() for title in TITLES])).to_list()
    arrays, heads = load_file(str(MINILM / "model.safetensors")), BertArrays(MINILM).sizes.heads
    expected = [sentence_vector(arrays, [[first, *row, last]], heads) for row in ids]
    np.testing.assert_allclose(encode_texts(minilm, TITLES), expected, atol=1e-6)


def test_what_means_the_same_is_near(minilm):
    running, jogging, sofa = encode_texts(minilm, ["running shoes for men", "jogging sneaker, gents", "leather sofa, three seats"])
    assert running @ jogging > running @ sofa + 0.2


def test_a_picture_is_nearer_to_itself_smaller_than_to_another():
    if not MOBILENET.exists():
        pytest.skip(f"no MobileNetV2 weights at {MOBILENET}")
    encoder = load_encoder("mobilenet_v2", MOBILENET)
    files = [encoded(picture(400, 400), "JPEG"), encoded(picture(400, 400).resize((300, 300)), "PNG"), encoded(picture(9, 9), "PNG")]
    one, same, other = encoder(tf.constant(files)).numpy()
    assert one @ same > 0.8 and one @ same > one @ other + 0.1
