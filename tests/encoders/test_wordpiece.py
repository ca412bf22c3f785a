"""Holds the tokenizer in the graph to what the original makes of the same texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.wordpiece import WordPiece
from schemas.errors import EncoderError
from tests.support.tiny_bert import PIECES

GOLDEN = Path(__file__).with_name("golden") / "word_pieces.jsonl"
TOKENIZER = WordPiece(PIECES)
IN_GRAPH = tf.function(TOKENIZER, input_signature=[tf.TensorSpec([None], tf.string)])


def pieces(*texts):
    return [[PIECES[i] for i in row] for row in IN_GRAPH(tf.constant([t if isinstance(t, bytes) else t.encode() for t in texts])).to_list()]


def test_every_text_is_cut_as_the_original_cuts_it():
    rows = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    assert len(rows) > 400
    found = IN_GRAPH(tf.constant([row["text"].encode() for row in rows])).to_list()
    assert [ids for ids, row in zip(found, rows, strict=True) if ids != row["ids"]] == []


def test_the_longest_piece_wins_and_the_rest_goes_on_inside_the_word():
    assert pieces("Shoes", "boot.", "dressing") == [["shoe", "##s"], ["boot", "."], ["dress", "##ing"]]


def test_a_word_that_no_pieces_make_is_unknown_as_a_whole():
    assert pieces("shoeß", "ш nice") == [["[UNK]"], ["[UNK]", "nice"]]


def test_texts_without_words_have_no_pieces():
    assert pieces("", " \t\n", "\x00\x07") == [[], [], []]
    assert IN_GRAPH(tf.constant([], tf.string)).to_list() == []


def test_bytes_that_are_no_text_are_left_out():
    assert pieces(b"ni\xffce \xc3") == [["nice"]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_a_text_is_cut_the_same_whatever_stands_beside_it(texts):
    assert pieces(*texts) == [pieces(text)[0] for text in texts]


@pytest.mark.parametrize("mark", ["[UNK]", "[CLS]", "[SEP]"])
def test_a_vocabulary_without_a_mark_is_refused(mark):
    with pytest.raises(EncoderError, match=rf"vocab.txt: the vocabulary lacks \{mark[:-1]}\]"):
        WordPiece([piece for piece in PIECES if piece != mark], "vocab.txt")
