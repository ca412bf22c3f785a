"""Hand-made layouts, trees and training data, for tests that need no transform graph."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from schemas.features import CATEGORICAL, MULTI_HOT, NUMERIC, TEXT, Feature, FeatureConfig
from schemas.taxonomy import Taxonomy
from tests.support.shop import shop_taxonomy
from trainer_module.layout import Layout
from trainer_module.training_data import TrainingData
from trainer_module.tree import Tree, tree_of

TREE: Tree = tree_of(shop_taxonomy())
NUM_NODES, NUM_CLASSES = len(TREE.node_ids), len(TREE.exclusive)


def layout(tokens: int = 20, brands: int = 4) -> Layout:
    """Returns a text, an embedded category and a number."""
    config = FeatureConfig(
        (
            Feature("title", TEXT, ("title",), weighting=MULTI_HOT),
            Feature("brand", CATEGORICAL, ("brand",), dimensions=3),
            Feature("price", NUMERIC, ("price",)),
        )
    )
    return Layout(config, {"title": [f"t{k}" for k in range(tokens)], "brand": [f"b{k}" for k in range(brands)]})


def separable(count: int = 200, seed: int = 0, answered: float = 1.0, ruled: float = 0.5, tree: Taxonomy | None = None) -> TrainingData:
    """Returns products whose token number `class` gives the answer away, among random tokens."""
    taxonomy = tree or shop_taxonomy()
    arrays, rng = tree_of(taxonomy), np.random.default_rng(seed)
    classes = rng.integers(0, len(arrays.exclusive), count)
    width = layout().num_columns
    dense = np.zeros((count, width), np.float32)
    dense[np.arange(count), classes] = 1.0
    dense[np.arange(count), rng.integers(len(arrays.exclusive), width, count)] = 0.5
    has_rule = rng.random(count) < ruled
    rules = arrays.ancestry.T[classes] * has_rule[:, None]
    return TrainingData(
        bag=sp.csr_matrix(dense),
        categories=rng.integers(-1, 4, (count, 1)),
        numbers=rng.normal(size=(count, 2)).astype(np.float32),
        answers=np.where(rng.random(count) < answered, classes, -1),
        rules=sp.csr_matrix(rules.astype(np.float32)),
        groups=rng.integers(0, 2**62, count),
    )
