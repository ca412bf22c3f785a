"""Makes scored pools in memory for tests of sampling."""

import numpy as np

from components.scored_pool import EXCLUSIVE_ENTROPY, EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, PoolManifest, ScoredPool

ALL = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EXCLUSIVE_ENTROPY)


def make_pool(rng, num_products, num_nodes=6, equal=False, columns=ALL, groups=None, answered=None, splits=None):
    """Returns a pool of products p0, p1, ... in groups g0, g1, ..., all open unless told otherwise."""
    scores = rng.normal(size=(num_products, num_nodes))
    if equal:
        scores[:] = scores[:1]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    found = {
        EXCLUSIVE_NODES: np.array([f"n{i}" for i in range(num_nodes)], dtype=object)[order],
        EXCLUSIVE_PROBABILITIES: np.take_along_axis(probabilities, order, axis=1).astype(np.float32),
        EXCLUSIVE_ENTROPY: (-(probabilities * np.log(probabilities)).sum(axis=1)).astype(np.float32),
    }
    default_groups = [f"g{i}" for i in range(num_products)]
    return ScoredPool(
        manifest=PoolManifest(num_products, 4, num_nodes, num_nodes, "model", "candidate", 0),
        product_ids=np.array([f"p{i}" for i in range(num_products)], dtype=object),
        splits=np.array(["dev"] * num_products if splits is None else splits, dtype=object),
        groups=np.array(default_groups if groups is None else groups, dtype=object),
        answered=np.zeros(num_products, bool) if answered is None else np.array(answered, bool),
        **{name: found[name] for name in columns if name in found},
    )
