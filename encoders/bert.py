"""Runs a BERT encoder on ragged ids, its dense layers on real tokens only."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from encoders.bert_checkpoint import BertArrays

_MASKED = -1e9
_Layer = tuple[tf.Variable, tf.Variable]


class Bert(tf.Module):
    """The encoder of BERT without its pooler, in float32.

    Weights are variables: as constants they would double the memory of a loaded model and stand in its graph file.

    Args:
        arrays: the checkpoint.

    Raises:
        EncoderError: an array is missing or has another shape than the others ask for.

    Source:
        Devlin et al. 2019, NAACL; Wang et al. 2020, NeurIPS (MiniLM).
    """

    def __init__(self, arrays: BertArrays) -> None:
        super().__init__(name="bert")
        self.sizes = sizes = arrays.sizes
        self._words = _variable(arrays("embeddings.word_embeddings.weight", sizes.pieces, sizes.hidden), "words")
        positions = arrays("embeddings.position_embeddings.weight", sizes.positions, sizes.hidden)
        # All of a text is of segment 0, so its vector is added to every position once and for all.
        kinds = arrays("embeddings.token_type_embeddings.weight", 2, sizes.hidden)
        self._positions = _variable(positions + kinds[0], "positions")
        self._norm = _norm(arrays, "embeddings")
        self._blocks = [_Block(arrays, f"encoder.layer.{number}") for number in range(sizes.layers)]

    def __call__(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Returns the vector of every token, float32 `[num_tokens, hidden]`, in the order of `ids.values`.

        Args:
            ids: int32 `[windows, (tokens)]`, every window of 1 to `positions` tokens, marks included.
        """
        rows = ids.value_rowids()  # [num_tokens]
        columns = tf.range(tf.size(rows, tf.int64)) - tf.gather(ids.row_splits, rows)
        width = ids.bounding_shape()[1]
        # Where each place of the padded square finds its token; a place without one reads the first and is masked.
        places = tf.scatter_nd(tf.stack([rows, columns], 1), tf.range(tf.size(rows)), tf.stack([ids.nrows(), width]))
        mask = tf.where(tf.sequence_mask(ids.row_lengths(), width), 0.0, _MASKED)[:, None, None]  # [windows, 1, 1, width]
        x = _normalised(tf.gather(self._words, ids.values) + tf.gather(self._positions, columns), self._norm, self.sizes.epsilon)
        for block in self._blocks:
            x = block(x, places, rows * width + columns, mask)
        return x


class _Block(tf.Module):
    def __init__(self, arrays: BertArrays, name: str) -> None:
        super().__init__(name=name.rpartition(".")[0].replace(".", "_"))
        sizes = arrays.sizes
        self._heads, self._epsilon = sizes.heads, sizes.epsilon
        parts = [_dense(arrays, f"{name}.attention.self.{part}", sizes.hidden, sizes.hidden) for part in ("query", "key", "value")]
        scale = (sizes.hidden // sizes.heads) ** -0.5
        parts[0] = (parts[0][0] * scale, parts[0][1] * scale)
        kernels, biases = zip(*parts, strict=True)
        self._attended = _layer(np.concatenate(kernels, axis=-1), np.concatenate(biases, axis=-1), "attended")
        self._out = _layer(*_dense(arrays, f"{name}.attention.output.dense", sizes.hidden, sizes.hidden), "out")
        self._up = _layer(*_dense(arrays, f"{name}.intermediate.dense", sizes.hidden, sizes.inner), "up")
        self._down = _layer(*_dense(arrays, f"{name}.output.dense", sizes.inner, sizes.hidden), "down")
        self._norms = [_norm(arrays, f"{name}.attention.output"), _norm(arrays, f"{name}.output")]

    def __call__(self, x: tf.Tensor, places: tf.Tensor, tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        attended = _through(self._attention(_through(x, self._attended), places, tokens, mask), self._out)
        x = _normalised(x + attended, self._norms[0], self._epsilon)
        inner = tf.nn.gelu(_through(x, self._up), approximate=False)
        return _normalised(x + _through(inner, self._down), self._norms[1], self._epsilon)

    def _attention(self, parts: tf.Tensor, places: tf.Tensor, tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Mixes the tokens of each window; the only step that needs the padded square."""
        windows, width, hidden = tf.shape(places)[0], tf.shape(places)[1], parts.shape[1] // 3
        square = tf.reshape(tf.gather(parts, places), [windows, width, 3, self._heads, hidden // self._heads])
        query, key, value = tf.unstack(tf.transpose(square, [2, 0, 3, 1, 4]))  # each [windows, heads, width, hidden / heads]
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + mask)
        mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
        return tf.gather(tf.reshape(mixed, [-1, hidden]), tokens)


def _variable(array: np.ndarray, name: str) -> tf.Variable:
    return tf.Variable(array, trainable=False, dtype=tf.float32, name=name)


def _layer(kernel: np.ndarray, bias: np.ndarray, name: str) -> _Layer:
    return _variable(kernel, f"{name}_kernel"), _variable(bias, f"{name}_bias")


def _dense(arrays: BertArrays, name: str, size_in: int, size_out: int) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(arrays(f"{name}.weight", size_out, size_in).T), arrays(f"{name}.bias", size_out)


def _norm(arrays: BertArrays, name: str) -> _Layer:
    hidden = arrays.sizes.hidden
    return _layer(arrays(f"{name}.LayerNorm.weight", hidden), arrays(f"{name}.LayerNorm.bias", hidden), "norm")


def _through(x: tf.Tensor, layer: _Layer) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(x, layer[0]), layer[1])


def _normalised(x: tf.Tensor, norm: _Layer, epsilon: float) -> tf.Tensor:
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon) * norm[0] + norm[1]
