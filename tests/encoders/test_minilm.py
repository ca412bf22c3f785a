"""Holds the sentence encoder to a plain computation of the same, and to its own promises."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from encoders.bert_checkpoint import VERSION
from encoders.kinds import describe_encoder
from encoders.registry import load_encoder, load_planned
from schemas.errors import EncoderError
from tests.support.plain_bert import sentence_vector
from tests.support.tiny_bert import HEADS, HIDDEN, PIECES, POSITIONS, arrays, write_tiny_bert

CLS, SEP = PIECES.index("[CLS]"), PIECES.index("[SEP]")
WINDOW = POSITIONS - 2
SENTENCES = ["Nice red shoe", "bag", "the women, the leather boots.", "ш", "zx81 " * 9]


def vectors(encoder, texts):
    return encoder(tf.constant([text.encode() for text in texts], tf.string)).numpy()


def ids(*names):
    return [PIECES.index(name) for name in names]


def test_a_vector_is_the_mean_of_the_tokens_as_plain_arithmetic_has_it(minilm):
    found = vectors(minilm.encoder, ["Nice red shoes", "ш, bag"])
    for row, window in zip(found, (ids("nice", "red", "shoe", "##s"), ids("[UNK]", ",", "bag")), strict=True):
        np.testing.assert_allclose(row, sentence_vector(arrays(0, len(PIECES)), [[CLS, *window, SEP]], HEADS), atol=1e-5)


@pytest.mark.parametrize(("num_words", "lengths"), [(WINDOW, [WINDOW]), (WINDOW + 1, [20, 19]), (3 * WINDOW, [WINDOW] * 3)])
def test_a_long_text_is_the_mean_over_even_windows(minilm, num_words, lengths):
    words = [PIECES.index(name) for name in np.resize(["nice", "bag", "the", "red", "skirt"], num_words)]
    text = " ".join(PIECES[word] for word in words)
    starts = np.cumsum([0, *lengths])
    windows = [[CLS, *words[start:end], SEP] for start, end in zip(starts[:-1], starts[1:], strict=True)]
    expected = sentence_vector(arrays(0, len(PIECES)), windows, HEADS)
    np.testing.assert_allclose(vectors(minilm.encoder, [text])[0], expected, atol=1e-5)


def test_what_comes_after_the_last_token_read_changes_nothing(minilm):
    short = load_encoder("minilm", minilm.weights, max_tokens=3)
    found = vectors(short, ["nice red bag", "nice red bag the leather boot", "nice red"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert abs(found[0] - found[2]).max() > 1e-3
    assert short.description.digest != minilm.encoder.description.digest


def test_hundreds_of_texts_give_what_each_gives_alone(minilm):
    texts = [" ".join(SENTENCES[: 1 + number % 5]) + " bag" * (number % 7) for number in range(300)]
    together = vectors(minilm.encoder, texts)
    for number in (0, 63, 64, 150, 299):
        np.testing.assert_allclose(together[number], vectors(minilm.encoder, [texts[number]])[0], atol=1e-5)


def test_vectors_change_only_with_the_version(minilm):
    # Caches go by the version. If this fails because vectors changed on purpose, raise VERSION and write the numbers anew.
    assert VERSION == "minilm 1"
    golden = [0.223217, 0.452859, 0.000576, 0.234567]
    np.testing.assert_allclose(vectors(minilm.encoder, ["Nice red leather boots, 42."])[0, :4], golden, atol=1e-5)


def test_two_encoders_of_one_model_share_its_weights(minilm):
    plans = [
        {"name": name, "kind": "minilm", "weights": str(minilm.weights), "max_tokens": most}
        | {"digest": describe_encoder("minilm", minilm.weights, most).digest}
        for name, most in (("title", 8), ("description", 64), ("brand", 8))
    ]
    loaded = load_planned(plans)
    assert loaded["title"] is loaded["brand"] is not loaded["description"]
    both = {variable.ref() for name in ("title", "description") for variable in loaded[name].trainable_variables + loaded[name].variables}
    assert len(both) == len(loaded["title"].variables)


def test_weights_that_changed_since_the_plan_are_refused(minilm):
    plan = {"name": "v", "kind": "minilm", "weights": str(minilm.weights), "max_tokens": 8, "digest": "of others"}
    with pytest.raises(EncoderError, match="aren't those this run was planned with"):
        load_planned([plan])


def test_the_description_needs_no_config_where_heads_are_as_usual(tmp_path):
    folder = write_tiny_bert(tmp_path / "bert")
    with_config = describe_encoder("minilm", folder)
    (folder / "config.json").unlink()
    without = describe_encoder("minilm", folder)
    assert (with_config.size, with_config.reads) == (without.size, without.reads) == (HIDDEN, "text")
    assert with_config.digest != without.digest


def change(name, content):
    def act(folder):
        (folder / name).write_bytes(content)

    return act


def change_arrays(**changes):
    def act(folder):
        found = load_file(str(folder / "model.safetensors"))
        found |= {name.replace("__", "."): array for name, array in changes.items()}
        save_file({name: array for name, array in found.items() if array is not None}, str(folder / "model.safetensors"))

    return act


WORDS = "embeddings__word_embeddings__weight"
DAMAGED = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "there is no model.safetensors. Expected a folder with"),
    "no vocabulary": (lambda folder: (folder / "vocab.txt").unlink(), "there is no vocab.txt"),
    "no safetensors": (change("model.safetensors", b"\x80\x04pickle"), "this can't be read"),
    "cut short": (lambda folder: change("model.safetensors", (folder / "model.safetensors").read_bytes()[:9000])(folder), "can't be read"),
    "an array missing": (change_arrays(encoder__layer__1__output__dense__bias=None), "no array 'encoder.layer.1.output.dense.bias'"),
    "another shape": (change_arrays(encoder__layer__0__output__dense__bias=np.zeros(3, np.float32)), r"has shape \[3\], expected \[16\]"),
    "not finite": (change_arrays(**{WORDS: np.full((len(PIECES), HIDDEN), np.nan, np.float32)}), "aren't finite"),
    "no matrix": (change_arrays(**{WORDS: np.zeros(4, np.float32)}), "has 1 axes, expected 2"),
    "more pieces than weights": (change_arrays(**{WORDS: np.zeros((9, HIDDEN), np.float32)}), "pieces, and the weights know 9"),
    "another activation": (change("config.json", json.dumps({"hidden_act": "relu"}).encode()), "hidden_act is 'relu', and only 'gelu'"),
    "odd heads": (change("config.json", b'{"num_attention_heads": 5}'), "num_attention_heads 5 doesn't divide the width 16"),
    "config no JSON": (change("config.json", b"{"), "this isn't JSON"),
    "vocabulary no text": (change("vocab.txt", b"\xff\xfe"), "byte 0 isn't UTF-8"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_weights_are_refused_in_one_line(case, tmp_path):
    damage, message = DAMAGED[case]
    folder = write_tiny_bert(tmp_path / "bert")
    damage(folder)
    with pytest.raises(EncoderError, match=message) as caught:
        load_encoder("minilm", folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
