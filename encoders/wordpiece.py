"""Cuts texts into the word pieces of an uncased BERT vocabulary, inside a graph, with TensorFlow's own operations alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from encoders.code_points import NUM_CODE_POINTS, spelling
from schemas.errors import EncoderError

UNKNOWN, FIRST, LAST = "[UNK]", "[CLS]", "[SEP]"
_MARKS = ("[PAD]", UNKNOWN, FIRST, LAST, "[MASK]")
_INSIDE = "##"  # What a piece that doesn't begin a word begins with.
_MAX_WORD_LETTERS = 100
_MAX_BYTES = 16_384
# A mark in a text is one piece. It is hidden behind a letter of private use, which a feed's own text can't smuggle in.
_HIDDEN = 0xE000
_NOTHING = 0xE0FF


@functools.cache
def _spellings() -> tuple[bytes, ...]:
    return tuple(spelling(code_point).encode() for code_point in range(NUM_CODE_POINTS))


class WordPiece(tf.Module):
    """The tokenizer of `bert-base-uncased` and its like: lower case, accents off, longest piece first.

    Args:
        vocabulary: the pieces in the order of their ids.
        place: where it was read, for errors.

    Raises:
        EncoderError: a mark such as [UNK] is missing.

    Source:
        Devlin et al. 2019, NAACL; Wu et al. 2016, arXiv:1609.08144, section 4.1.
    """

    def __init__(self, vocabulary: Sequence[str], place: str = "vocabulary") -> None:
        super().__init__(name="wordpiece")
        ids = {piece: number for number, piece in enumerate(vocabulary)}
        missing = [mark for mark in (UNKNOWN, FIRST, LAST) if mark not in ids]
        if missing:
            raise EncoderError(f"{place}: the vocabulary lacks {missing[0]}. Expected one piece a line, as BERT's vocab.txt.")
        self.first, self.last, self._unknown = ids[FIRST], ids[LAST], ids[UNKNOWN]
        self._marks = [mark for mark in _MARKS if mark in ids]
        spellings = list(_spellings())
        for number, mark in enumerate(self._marks):
            spellings[_HIDDEN + number] = f" {mark} ".encode()
        self._spellings = tf.constant([*spellings, b""])  # The last stands for every code point above.
        keys = tf.constant([piece.encode() for piece in ids])
        values = tf.constant(list(ids.values()), tf.int32)
        self._ids = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1, name="pieces")
        self._longest = min(_MAX_WORD_LETTERS, max(len(piece.removeprefix(_INSIDE)) for piece in ids))

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the ids of the pieces of each text, int32 `[n, (pieces)]`, without [CLS] and [SEP].

        Args:
            texts: string `[n]`; bytes that aren't UTF-8, and all after the first 16,384 bytes of a text, are left out.
        """
        words = tf.strings.split(self._spelt(texts))
        unique, places = tf.unique(words.values)
        # A word of the vocabulary is its own longest piece, so only the others are cut.
        whole = self._ids.lookup(unique)
        cut = tf.reshape(tf.where(whole < 0), [-1])
        known = tf.reshape(tf.where(whole >= 0), [-1])
        pieces = tf.concat([tf.RaggedTensor.from_tensor(tf.gather(whole, known)[:, None]), self._cut(tf.gather(unique, cut))], 0)
        order = tf.math.invert_permutation(tf.concat([known, cut], 0))
        return words.with_values(tf.gather(pieces, tf.gather(order, places))).merge_dims(1, 2)

    def _spelt(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.substr(texts, 0, _MAX_BYTES)
        texts = tf.strings.regex_replace(texts, f"[{chr(_HIDDEN)}-{chr(_HIDDEN + len(_MARKS) - 1)}]", chr(_NOTHING))
        for number, mark in enumerate(self._marks):
            texts = tf.strings.regex_replace(texts, rf"\[{mark[1:-1]}\]", chr(_HIDDEN + number))
        code_points = tf.strings.unicode_decode(texts, "UTF-8")
        letters = code_points.with_values(tf.gather(self._spellings, tf.minimum(code_points.values, NUM_CODE_POINTS)))
        return tf.strings.reduce_join(letters, axis=-1)

    def _cut(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Returns the pieces of words that aren't in the vocabulary, int32 `[w, (pieces)]`; [UNK] where no pieces make the word."""
        lengths = tf.strings.length(words, "UTF8_CHAR")  # [w]
        rows = tf.range(tf.size(words))

        def step(step_number, active, starts, failed, found_rows, found_ids):  # type: ignore[no-untyped-def]
            ids, taken = self._longest_pieces(tf.gather(words, active), starts)
            fits = taken > 0
            found_rows = found_rows.write(step_number, tf.boolean_mask(active, fits))
            found_ids = found_ids.write(step_number, tf.boolean_mask(ids, fits))
            failed = tf.concat([failed, tf.boolean_mask(active, ~fits)], 0)
            ends = starts + taken
            more = fits & (ends < tf.gather(lengths, active))
            return step_number + 1, tf.boolean_mask(active, more), tf.boolean_mask(ends, more), failed, found_rows, found_ids

        arrays = [tf.TensorArray(tf.int32, 0, dynamic_size=True, infer_shape=False, element_shape=[None]) for _ in range(2)]
        too_long = tf.boolean_mask(rows, lengths > _MAX_WORD_LETTERS)
        active = tf.boolean_mask(rows, lengths <= _MAX_WORD_LETTERS)
        ragged = tf.TensorSpec([None], tf.int32)
        _, _, _, failed, found_rows, found_ids = tf.while_loop(
            lambda _, active, *__: tf.size(active) > 0,
            step,
            (0, active, tf.zeros_like(active), too_long, arrays[0].write(0, rows[:0]), arrays[1].write(0, rows[:0])),
            shape_invariants=(tf.TensorSpec([], tf.int32), ragged, ragged, ragged, tf.TensorShape(None), tf.TensorShape(None)),
        )
        return self._in_order(tf.size(words), failed, found_rows.concat(), found_ids.concat())

    def _in_order(self, num_words: tf.Tensor, failed: tf.Tensor, found_rows: tf.Tensor, found_ids: tf.Tensor) -> tf.RaggedTensor:
        is_whole = tf.tensor_scatter_nd_update(tf.fill([num_words], True), failed[:, None], tf.zeros_like(failed, tf.bool))
        kept = tf.gather(is_whole, found_rows)
        all_rows = tf.concat([tf.boolean_mask(found_rows, kept), failed], 0)
        all_ids = tf.concat([tf.boolean_mask(found_ids, kept), tf.fill(tf.shape(failed), self._unknown)], 0)
        order = tf.argsort(all_rows, stable=True)  # Pieces were found from left to right, and stay so.
        in_order = tf.cast(tf.gather(all_rows, order), tf.int64)
        return tf.RaggedTensor.from_value_rowids(tf.gather(all_ids, order), in_order, tf.cast(num_words, tf.int64), validate=False)

    def _longest_pieces(self, words: tf.Tensor, starts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the id and length of the longest piece at `starts` of each word, length 0 where there is none."""
        count = self._longest
        ends = tf.tile(tf.range(1, count + 1)[None], [tf.size(words), 1])  # [w, count]
        parts = tf.strings.substr(tf.repeat(words[:, None], count, 1), tf.repeat(starts[:, None], count, 1), ends, "UTF8_CHAR")
        ids = self._ids.lookup(tf.where((starts > 0)[:, None], tf.strings.join([_INSIDE, parts]), parts))
        # Past the end of a word substr gives the rest again, so a length counts only up to there.
        lengths = tf.minimum(ends, (tf.strings.length(words, "UTF8_CHAR") - starts)[:, None])
        taken = tf.reduce_max(tf.where(ids >= 0, lengths, 0), 1)
        best = tf.gather(ids, tf.maximum(taken - 1, 0), batch_dims=1)
        return best, taken
