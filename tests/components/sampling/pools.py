"""Makes scored pools in memory for tests of sampling."""

import dataclasses

import numpy as np

from components.scored_pool import (
    COMMITTEE_NODES,
    COMMITTEE_PROBABILITIES,
    EMBEDDING,
    EXCLUSIVE_ENTROPY,
    EXCLUSIVE_NODES,
    EXCLUSIVE_PROBABILITIES,
    PoolManifest,
    ScoredPool,
)
from schemas.product import ANSWER_NODE

ALL = (
    *(EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EXCLUSIVE_ENTROPY, EMBEDDING),
    *(COMMITTEE_NODES, COMMITTEE_PROBABILITIES, ANSWER_NODE),
)
ATTRIBUTES = {EMBEDDING: "embeddings", ANSWER_NODE: "answer_nodes"}
MEMBERS, DIMENSION = 3, 4


def make_pool(
    rng,
    num_products,
    num_nodes=6,
    equal=False,
    columns=ALL,
    groups=None,
    answered=None,
    splits=None,
    titles=None,
    answers=None,
    shops=None,
    top_k=None,
):
    """Returns a pool of products p0, p1, ... in groups g0, g1, ..., all open unless told otherwise."""
    scores = rng.normal(size=(num_products, MEMBERS, num_nodes))
    embeddings = rng.normal(size=(num_products, DIMENSION))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    if equal:
        scores[:], embeddings[:] = scores[:1], embeddings[:1]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    order = np.argsort(-probabilities, axis=2, kind="stable")[:, :, : top_k or num_nodes]
    nodes = np.array([f"n{i}" for i in range(num_nodes)], dtype=object)[order]
    likely = np.take_along_axis(probabilities, order, axis=2).astype(np.float32)
    own = probabilities[:, 0]
    found = {
        EXCLUSIVE_NODES: nodes[:, 0].copy(),
        EXCLUSIVE_PROBABILITIES: likely[:, 0].copy(),
        EXCLUSIVE_ENTROPY: (-(own * np.log(own)).sum(axis=1)).astype(np.float32),
        EMBEDDING: embeddings.astype(np.float32),
        COMMITTEE_NODES: nodes,
        COMMITTEE_PROBABILITIES: likely,
        ANSWER_NODE: np.full(num_products, None, dtype=object) if answers is None else np.array(answers, dtype=object),
    }
    default_groups = [f"g{i}" for i in range(num_products)]
    is_answered = [False] * num_products if answers is None else [node is not None for node in answers]
    return ScoredPool(
        manifest=PoolManifest(num_products, DIMENSION, num_nodes, num_nodes, "model", "candidate", 0, committee=MEMBERS),
        product_ids=np.array([f"p{i}" for i in range(num_products)], dtype=object),
        splits=np.array(["dev"] * num_products if splits is None else splits, dtype=object),
        groups=np.array(default_groups if groups is None else groups, dtype=object),
        answered=np.array(is_answered if answered is None else answered, bool),
        title_keys=None if titles is None else np.array(titles, dtype=object),
        fields={} if shops is None else {"shop": np.array(shops, dtype=object)},
        **{ATTRIBUTES.get(name, name): found[name] for name in columns if name in found},
    )


def reordered(pool, order):
    """Returns the same products as another feed order has them."""
    names = [field.name for field in dataclasses.fields(pool) if field.name not in ("manifest", "fields")]
    columns = {name: getattr(pool, name)[order] for name in names if getattr(pool, name) is not None}
    return dataclasses.replace(pool, **columns, fields={name: column[order] for name, column in pool.fields.items()})
