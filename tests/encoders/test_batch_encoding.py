"""Many texts are encoded once each, and never again while the cache has them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from encoders.batch_encoding import BatchEncoder, encode_texts
from encoders.descriptions import Description
from encoders.vector_cache import VectorCache


@dataclass
class Counting:
    """An encoder of one number a text, its length, that keeps what it was asked."""

    asked: list[list[bytes]] = field(default_factory=list)
    description: Description = Description("counting", "text", 1, "one")

    def __call__(self, values):
        def note(texts):
            self.asked.append(texts.tolist())
            return np.array([[len(text)] for text in texts], np.float32).reshape(-1, 1)

        return tf.ensure_shape(tf.numpy_function(note, [values], tf.float32), [None, 1])


def test_each_different_text_is_encoded_once_and_every_row_gets_its_vector():
    encoder = Counting()
    texts = ["bb", "a", "", "bb", "dddd", "a", "bb"]
    found = encode_texts(encoder, texts)
    assert found[:, 0].tolist() == [len(text) for text in texts]
    assert encoder.asked == [[b"dddd", b"bb", b"a"]]


def test_texts_of_like_length_share_a_batch():
    encoder = Counting()
    BatchEncoder(encoder, at_once=2)([b"a", b"ccccc", b"bb", b"dddddd", b"e"])
    assert encoder.asked == [[b"dddddd", b"ccccc"], [b"bb", b"a"], [b"e"]]


def test_no_texts_give_no_rows_and_ask_nothing():
    encoder = Counting()
    assert encode_texts(encoder, []).shape == (0, 1)
    assert not encode_texts(encoder, ["", ""]).any()
    assert encoder.asked == []


def test_what_the_cache_has_is_never_encoded_again(tmp_path):
    cache, encoder = VectorCache(tmp_path / "vectors.sqlite"), Counting()
    first = BatchEncoder(encoder, cache)([b"shoe", b"bag", b"shoe"])
    assert (first.num_unique, first.num_cached) == (2, 0)
    again = Counting()
    second = BatchEncoder(again, VectorCache(tmp_path / "vectors.sqlite"))([b"boots", b"shoe", b"", b"bag"])
    assert (second.num_unique, second.num_cached) == (3, 2)
    assert again.asked == [[b"boots"]]
    assert second.vectors[:, 0].tolist() == [5, 4, 0, 3]
    other = Counting(description=Description("counting", "text", 1, "other weights"))
    BatchEncoder(other, cache)([b"shoe"])
    assert other.asked == [[b"shoe"]]


def test_a_real_encoder_and_its_cache_agree_to_the_bit(minilm, tmp_path):
    cache = VectorCache(tmp_path / "vectors.sqlite")
    texts = ["Nice red shoes", "bag", "", "bag", "é" * 40]
    found = encode_texts(minilm.encoder, texts, cache)
    np.testing.assert_array_equal(encode_texts(minilm.encoder, texts[::-1], cache)[::-1], found)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 1, 1], atol=1e-5)
