"""Finds the most similar of given products exactly: in a slice of the vectors, or among candidates."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from similarity.arrays import BoolArray, FloatArray, IntArray, Ranked
from similarity.vectors import ProductVectors

_DECODED_ROWS = 4_096  # Measured: 2 MB of float32 at dimension 128 is decoded and scored out of the cache.
_SCORES_HELD = 1 << 24  # 64 MB of float32.
_MAXIMA_OF = 64
_FEW = 4  # Below a quarter of a slice, taking the allowed rows costs less than scoring all.
_buffers = threading.local()  # Fresh memory for every block would cost more than the arithmetic.


def best_in_slice(products: ProductVectors, unit: FloatArray, rows: slice, k: int, allowed: BoolArray | None) -> list[Ranked]:
    """Returns the best of a slice for each query, none of which a mask excludes.

    Args:
        products: what is searched.
        unit: float32 `[num_queries, dimension]`, of unit length.
        rows: the slice.
        k: how many, at most as many as are allowed.
        allowed: bool `[rows]`, False for products that mustn't be found; None allows all.
    """
    if allowed is not None:
        inside = np.flatnonzero(allowed)
        if len(inside) * _FEW < len(allowed):
            return [best_of(products, query, inside + rows.start, k) for query in unit]
    count = rows.stop - rows.start
    found: list[Ranked] = []
    block = max(1, _SCORES_HELD // max(1, count))
    for start in range(0, len(unit), block):
        scores = _scores(products, unit[start : start + block], rows)  # [block, rows]
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        pairs = zip(unit[start : start + block], scores, strict=True)
        found.extend(_ranked(products, query, row, rows.start, k) for query, row in pairs)
    return found


def best_of(products: ProductVectors, query: FloatArray, positions: IntArray, k: int) -> Ranked:
    """Returns the best of some rows, which must be in ascending order, for one query `[dimension]`."""
    if products.codes is None:
        scores = products.take(positions) @ query
        columns = top(scores, k)
        return positions[columns], scores[columns]
    approximate = np.empty(len(positions), np.float32)
    for start in range(0, len(positions), _DECODED_ROWS):
        block = slice(start, start + _DECODED_ROWS)
        np.dot(_decoded(products.codes.codes[positions[block]]), query, out=approximate[block])
    approximate *= products.codes.scales[positions]
    return _ranked_again(products, query, approximate, positions.__getitem__, k)


def top(scores: FloatArray, k: int) -> IntArray:
    """Returns where the k largest of `[num_products]` scores stand, largest first, equal ones by place.

    The k-th largest of the maxima of groups is no larger than the k-th largest score, so only what reaches it is sorted. A group holds
    scores from all over: similar products stand beside each other, and groups of neighbours would have few large maxima.
    """
    if k < 1:
        return np.zeros(0, np.int64)
    if len(scores) >= 2 * k * _MAXIMA_OF:
        whole = len(scores) // _MAXIMA_OF * _MAXIMA_OF
        maxima = scores[:whole].reshape(_MAXIMA_OF, -1).max(axis=0)
        near = np.flatnonzero(scores >= np.partition(maxima, len(maxima) - k)[len(maxima) - k])
    elif k < len(scores):
        near = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
    else:
        near = np.arange(len(scores))
    best: IntArray = near[np.argsort(-scores[near], kind="stable")[:k]]
    return best


def _scores(products: ProductVectors, unit: FloatArray, rows: slice) -> FloatArray:
    """Returns float32 `[num_queries, rows]`, off by no more than the codes' errors with int8 storage."""
    if products.codes is None:
        vectors = products.vectors[rows]
        return np.asarray(vectors @ unit[0])[None] if len(unit) == 1 else np.asarray(unit @ vectors.T)
    codes = products.codes.codes[rows]
    found = np.empty((len(unit), len(codes)), np.float32)
    for start in range(0, len(codes), _DECODED_ROWS):
        decoded = _decoded(codes[start : start + _DECODED_ROWS])
        if len(unit) == 1:
            np.dot(decoded, unit[0], out=found[0, start : start + len(decoded)])
        else:
            found[:, start : start + len(decoded)] = unit @ decoded.T
    found *= products.codes.scales[rows]
    return found


def _decoded(codes: npt.NDArray[np.int8]) -> FloatArray:
    """Returns at most `_DECODED_ROWS` rows of codes as float32, in a buffer that this thread's next call overwrites."""
    buffer: FloatArray | None = getattr(_buffers, "decoded", None)
    if buffer is None or buffer.shape[1] != codes.shape[1]:
        buffer = _buffers.decoded = np.empty((_DECODED_ROWS, codes.shape[1]), np.float32)
    found = buffer[: len(codes)]
    np.copyto(found, codes)
    return found


def _ranked(products: ProductVectors, query: FloatArray, scores: FloatArray, start: int, k: int) -> Ranked:
    if products.codes is not None:
        return _ranked_again(products, query, scores, lambda columns: columns + start, k)
    columns = top(scores, k)
    return columns + start, scores[columns]


def _ranked_again(
    products: ProductVectors, query: FloatArray, approximate: FloatArray, row_of: Callable[[IntArray], IntArray], k: int
) -> Ranked:
    """Returns the truly best k, given similarities of rounded vectors: all that can be among them are compared exactly.

    The k best roughly have a k-th true similarity; whatever can't reach it even with its largest error stays unread.

    Args:
        products: what is searched.
        query: float32 `[dimension]`.
        approximate: float32 `[num_scored]`.
        row_of: says which rows of the products stand at places of `approximate`; a list of all would take twice its memory.
        k: how many.
    """
    codes = products.codes
    first = top(approximate, k)
    if codes is None or not len(first):
        return row_of(first), approximate[first]
    bound = float((products.take(row_of(first)) @ query).min())
    slack = float(codes.error_ratio) * float(codes.scales.max()) + 1e-5
    near = np.flatnonzero(approximate >= bound - slack)
    near = near[approximate[near] + codes.errors(row_of(near)) >= bound]
    exact = products.take(row_of(near)) @ query
    columns = top(exact, k)
    return row_of(near[columns]), exact[columns]
