"""Lets products teach what names and rules take them for, so that words which name no node count before anybody answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from few_shot.evidence import CENTROIDS, LinearEvidence
from few_shot.frozen import FrozenFeatures
from few_shot.learner import distinct_products, learn
from few_shot.sparse_expert import fit_separators

SEPARATORS = "self-trained: separators"
SELF_TRAINED = (SEPARATORS, CENTROIDS)
_STARTS = {SEPARATORS: 2.0, CENTROIDS: 1.0}
_PRODUCTS, _PASSES = 6_000, 5
# A guess is worth a tenth of an answer at most: separators that follow every wrong one repeat it.
_COST = 0.1
_LIKELIEST = 3  # Classes of a product that it moves the centroids of.
# A table of columns and classes is mostly of weights so small that to leave them out changes scores by a thousandth.
_SMALLEST = {SEPARATORS: 0.005, CENTROIDS: 0.001}


def self_trained(features: FrozenFeatures, among: np.ndarray, seed: int) -> FrozenFeatures:
    """Returns the features with two more pieces of evidence, learnt from what the model without answers says of products.

    Self-training (Scudder 1965) from names and rules: "Belle Gambe" is no node's name, but most of its products name boots, so that one
    which says nothing else is likely to be a boot. Separators keep apart what is often confused and know how common a class is; centroids
    (Rocchio 1971) hold every class for equally common, which finds rare ones. Nobody's answer is looked at, so that what was learnt
    stays as it is whatever people answer, and answers judge it like all other evidence.

    Args:
        features: n products, and what is known of them without answers; evidence of an earlier call is replaced.
        among: int64, numbers of the products to learn from; one of each near-duplicate group, a sample where there are thousands.
        seed: of the sample and of the order of rows.
    """
    features = replace(features, known=[evidence for evidence in features.known if evidence.name not in SELF_TRAINED])
    if not features.known and not features.rules.names:
        return features
    rows = distinct_products(features.products.groups, among, _PRODUCTS, seed)
    if not len(rows):
        return features
    model = learn(features, np.full(len(features.products.groups), -1), seed, unanswered=among)
    likely = model.probabilities(features.products, features.rules, rows)
    bag = features.products.bag[rows]
    columns = np.unique(bag.indices)
    tables = {SEPARATORS: _separators(bag[:, columns], likely, seed), CENTROIDS: _centroids(bag[:, columns], likely)}
    taught = [
        LinearEvidence(name, _STARTS[name], on_bag=_sparse(table, columns, bag.shape[1], _SMALLEST[name])) for name, table in tables.items()
    ]
    return replace(features, known=[*features.known, *taught])


def _separators(bag: sp.csr_matrix, likely: np.ndarray, seed: int) -> np.ndarray:
    """Returns separators of the likeliest classes, a product as heavy as it is sure; float32 `[num_columns, C]`.

    Their intercepts are about the same for all and left out, so that a class that nothing was taken for isn't held back.
    """
    sets = np.zeros(likely.shape, bool)
    sets[np.arange(len(likely)), likely.argmax(axis=1)] = True
    found: np.ndarray = fit_separators(bag, sets, _PASSES, seed, _COST, row_weights=likely.max(axis=1))[:-1]
    return found


def _centroids(bag: sp.csr_matrix, likely: np.ndarray) -> np.ndarray:
    """Returns the directions of the classes' mean products, float32 `[num_columns, C]`, zeros where there are none."""
    count = min(_LIKELIEST, likely.shape[1])
    kept = np.argpartition(-likely, count - 1, axis=1)[:, :count]
    weights = np.zeros_like(likely)
    np.put_along_axis(weights, kept, np.take_along_axis(likely, kept, axis=1) * likely.max(axis=1, keepdims=True), axis=1)
    sums = np.asarray(bag.T @ weights)
    lengths = np.sqrt((sums**2).sum(axis=0))
    found: np.ndarray = sums / np.where(lengths > 0, lengths, 1.0)
    return found


def _sparse(table: np.ndarray, columns: np.ndarray, num_columns: int, smallest: float) -> sp.csr_matrix:
    """Returns the weights of some columns as a table of all, `[num_columns, C]`, without the smallest."""
    places = np.nonzero(np.abs(table) >= smallest)
    return sp.csr_matrix((table[places], (columns[places[0]], places[1])), shape=(num_columns, table.shape[1]), dtype=np.float32)
