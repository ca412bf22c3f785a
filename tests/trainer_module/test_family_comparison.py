"""The family that is most accurate on answers it hasn't seen wins, and nothing else decides."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf

from trainer_module.family_comparison import compare_families
from trainer_module.training_data import TrainingData
from trainer_module.zoo.contract import NetworkOutputs


def products(count: int) -> TrainingData:
    """Products whose column is their class, two a group."""
    classes = np.arange(count) % 4
    bag = sp.csr_matrix((np.ones(count, np.float32), (np.arange(count), classes)), shape=(count, 4))
    nothing = sp.csr_matrix((count, 4), dtype=np.float32)
    groups = np.random.default_rng(0).integers(0, 2**62, count)
    groups[1::2] = groups[::2]
    return TrainingData(bag, np.zeros((count, 0), np.int64), np.zeros((count, 0), np.float32), classes, nothing, groups)


class Column:
    """Says a product's column, or for a share of the columns another one."""

    def __init__(self, num_right: int) -> None:
        self._table = np.eye(4, dtype=np.float32)
        self._table[num_right:] = np.roll(self._table[num_right:], 1, axis=1)

    def __call__(self, inputs, training=False):
        found = tf.sparse.sparse_dense_matmul(inputs.bag, tf.constant(self._table))
        return NetworkOutputs(found, found, found)


def test_the_most_accurate_family_wins_on_answers_it_has_not_seen():
    data, seen = products(4000), {}

    def fitted(family, taught):
        seen[family] = taught
        return Column({"poor": 2, "good": 4}[family])

    found = compare_families(["poor", "good"], data, fitted)
    assert found.winner == "good"
    assert found.scores["good"]["accuracy"] == 1.0
    assert found.scores["poor"]["accuracy"] == pytest.approx(0.5, abs=0.05)
    held = np.flatnonzero(seen["good"].answers < 0)
    assert found.num_judged == len(held) > 500
    assert not set(data.groups[held]) & set(data.groups[seen["good"].answers >= 0])


def test_of_equal_families_the_first_wins():
    assert compare_families(["first", "second"], products(4000), lambda family, taught: Column(3)).winner == "first"


@pytest.mark.parametrize(("families", "count"), [(["alone"], 4000), (["first", "second"], 40)])
def test_without_a_rival_or_with_few_answers_nothing_is_fitted(families, count):
    found = compare_families(families, products(count), lambda family, taught: pytest.fail("was fitted"))
    assert (found.winner, found.num_judged) == (families[0], 0)
