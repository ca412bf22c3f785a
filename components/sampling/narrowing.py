"""Narrows many candidates to one of each group and what a super-linear method can bear, and fills a batch up with the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.sampling.contract import FloatArray, IntArray, fair_order, first_of_each


def numbers_of(names: npt.NDArray[Any]) -> IntArray:
    """Returns equal numbers from 0 for equal names, and one of its own for each that is None or empty.

    >>> numbers_of(np.array(["a", None, "b", "a", ""], dtype=object))
    array([0, 3, 1, 0, 4])
    """
    encoded = pa.array(names, pa.string(), from_pandas=True).dictionary_encode()
    codes: IntArray = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    nameless = (codes < 0) | (names == "")
    codes[nameless] = len(encoded.dictionary) + np.arange(nameless.sum())
    return codes


def drawn_places(groups: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """Returns at most `most` places drawn at random, one of each group, in random order.

    >>> sorted(drawn_places(np.array([7, 7, 8]), 5, np.random.default_rng(0)))[-1]
    2
    """
    order = rng.permutation(len(groups))
    return order[first_of_each(groups[order])][:most]


def best_places(scores: FloatArray, groups: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """Returns the `most` places of the highest scores, one of each group, best first.

    >>> best_places(np.array([0.1, 0.9, 0.8]), np.array([1, 2, 2]), 2, np.random.default_rng(0))
    array([1, 0])
    """
    order = fair_order(scores, rng)
    return order[first_of_each(groups[order])][:most]


def filled_up(places: IntArray, scores: FloatArray, groups: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Returns the places and as many of the best others as `count` asks for, in falling order of score, one of each group.

    >>> filled_up(np.array([2]), np.array([0.5, 0.9, 0.7, 0.1]), np.array([1, 2, 3, 4]), 3, np.random.default_rng(0))
    array([1, 2, 0])
    """
    if len(places) < count:
        others = np.flatnonzero(~np.isin(groups, groups[places]))
        places = np.concatenate([places, others[best_places(scores[others], groups[others], count - len(places), rng)]])
    return places[fair_order(scores[places], rng)]
