"""Encodes texts with a sentence encoder of the all-MiniLM-L6-v2 class: word pieces, BERT, and the mean of its tokens."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from encoders.bert import Bert
from encoders.bert_checkpoint import VOCABULARY_FILE, BertArrays, read_vocabulary
from encoders.descriptions import Description
from encoders.wordpiece import WordPiece
from schemas.errors import EncoderError

# The model was trained on windows of this many pieces, and a window's cost and memory grow with its square.
_WINDOW_PIECES = 128
_MARKS = 2  # [CLS] and [SEP] around a window.
_WINDOWS_AT_ONCE = 64  # Bounds memory whatever the batch: 64 windows take 150 MB at most.


class MiniLM(tf.Module):
    """Raw texts in, the normalised mean of their tokens' vectors out, as the original does it.

    A text of more than 128 pieces is cut into windows of even length, and the mean goes over the tokens of all of them.

    Args:
        weights: a folder with `model.safetensors`, `vocab.txt` and perhaps `config.json`.
        description: what `kinds.describe_encoder` says of it.
        max_tokens: word pieces read of a text; what comes after them is left out.
        twin: an encoder with the same weights, which are then shared instead of read.

    Raises:
        EncoderError: a file is missing or damaged, or the files aren't of one model.

    Source:
        Reimers and Gurevych 2019, EMNLP (Sentence-BERT); Wang et al. 2020, NeurIPS (MiniLM).
    """

    def __init__(self, weights: Path, description: Description, max_tokens: int, twin: MiniLM | None = None) -> None:
        super().__init__(name=description.kind)
        self.description, self._max_pieces = description, max_tokens
        self._bert: Bert = twin._bert if twin else Bert(BertArrays(weights))
        self._pieces: WordPiece = twin._pieces if twin else _word_pieces(weights, self._bert.sizes.pieces)
        self._window = min(_WINDOW_PIECES, self._bert.sizes.positions - _MARKS)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """See `contract.Encoder`. An empty text, and one with nothing but white space, gives zeros."""
        pieces = self._pieces(values)[:, : self._max_pieces]
        windows, texts = _windows(pieces, self._window)
        marks = (tf.fill([windows.nrows(), 1], mark) for mark in (self._pieces.first, self._pieces.last))
        windows = tf.concat([next(marks), windows, next(marks)], 1)
        # A text's direction is that of its sum: the mean differs by a factor, which the norm takes away.
        sums = tf.math.unsorted_segment_sum(self._window_sums(windows), texts, pieces.nrows())
        return tf.math.l2_normalize(sums, axis=1, epsilon=1e-30)

    def _window_sums(self, windows: tf.RaggedTensor) -> tf.Tensor:
        """Returns the sum of each window's token vectors, `[windows, hidden]`, some windows of like length at a time."""
        order = tf.argsort(windows.row_lengths())
        by_length = tf.gather(windows, order)
        hidden = self._bert.sizes.hidden

        def step(number: tf.Tensor, sums: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            start = (number - 1) * _WINDOWS_AT_ONCE
            part = by_length[start : start + _WINDOWS_AT_ONCE]
            return number + 1, sums.write(number, tf.math.segment_sum(self._bert(part), part.value_rowids()))

        sums = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, hidden])
        count = (tf.size(order) + _WINDOWS_AT_ONCE - 1) // _WINDOWS_AT_ONCE
        # The first element has no rows: without any window there would be nothing to put together.
        start = (tf.constant(1), sums.write(0, tf.zeros([0, hidden])))
        _, sums = tf.while_loop(lambda number, _: number <= count, step, start, parallel_iterations=1)
        return tf.gather(tf.reshape(sums.concat(), [-1, hidden]), tf.math.invert_permutation(order))


def _word_pieces(weights: Path, num_known: int) -> WordPiece:
    place, vocabulary = weights / VOCABULARY_FILE, read_vocabulary(weights)
    if len(vocabulary) > num_known:
        raise EncoderError(f"{place}: {len(vocabulary)} pieces, and the weights know {num_known}. Take both of one model.")
    return WordPiece(vocabulary, str(place))


def _windows(pieces: tf.RaggedTensor, most: int) -> tuple[tf.RaggedTensor, tf.Tensor]:
    """Cuts texts into the fewest windows of at most `most` pieces, as even as can be.

    Returns:
        the windows, `[w, (pieces)]`, and which text each is of, int64 `[w]`.
    """
    lengths = pieces.row_lengths()
    counts = (lengths + most - 1) // most  # 0 for a text without pieces.
    rows = pieces.value_rowids()
    columns = tf.range(tf.size(rows, tf.int64)) - tf.gather(pieces.row_splits, rows)
    inside = columns * tf.gather(counts, rows) // tf.gather(lengths, rows)
    number = tf.gather(tf.cumsum(counts, exclusive=True), rows) + inside
    texts = tf.repeat(tf.range(pieces.nrows()), counts)
    return tf.RaggedTensor.from_value_rowids(pieces.values, number, tf.size(texts, tf.int64), validate=False), texts
