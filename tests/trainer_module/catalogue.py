"""A few dozen products, a tree and a feature config with every kind and weighting, for tests of training."""

from __future__ import annotations

import random
from typing import Any

from schemas.features import (
    CATEGORICAL,
    CHARACTERS,
    COUNTS,
    DENSE,
    MULTI_HOT,
    NUMERIC,
    ONE_HOT,
    SEQUENCE,
    TEXT,
    TF_IDF,
    Feature,
    FeatureConfig,
)
from schemas.taxonomy import Node, Taxonomy
from tests.support.shop import shop_taxonomy

VECTOR_SIZE = 300  # longer than any SIMD register
EVERY_FEATURE = FeatureConfig(
    (
        Feature("hot", TEXT, ("title",), weighting=MULTI_HOT),
        Feature("counts", TEXT, ("merchant_category",), tokens=CHARACTERS, ngrams=(1, 2), values=60, weighting=COUNTS, scale=0.7),
        Feature("tf_idf", TEXT, ("title", "description"), ngrams=(1, 2), weighting=TF_IDF, scale=0.3),
        Feature("words", TEXT, ("title",), weighting=SEQUENCE, max_tokens=4, minimum_count=2),
        Feature("characters", TEXT, ("title",), tokens=CHARACTERS, ngrams=(2, 3), weighting=TF_IDF),
        Feature("character_sequence", TEXT, ("title",), tokens=CHARACTERS, ngrams=(1, 1), weighting=SEQUENCE),
        Feature("colour", TEXT, ("colour",), weighting=TF_IDF),  # no product has one
        Feature("brand", CATEGORICAL, ("brand",), values=5, dimensions=3),
        Feature("shelf", CATEGORICAL, ("category", "gender"), encoding=ONE_HOT, scale=0.5),
        Feature("size", CATEGORICAL, ("size",), dimensions=2),  # no product has one
        Feature("price", NUMERIC, ("price",)),
        Feature("plain_price", NUMERIC, ("price",), logarithm=False, scale=3.0),
        Feature("picture", DENSE, ("image_vector",), dimensions=VECTOR_SIZE, scale=0.9),
    )
)


def taxonomy() -> Taxonomy:
    """Returns the shop's tree."""
    return shop_taxonomy()


def changed_taxonomy() -> Taxonomy:
    """Returns the shop's tree a round later: a node gone, a node new, and the order of the roots turned."""
    kept = [node for node in shop_taxonomy() if node.id not in ("bags", "skirts")]
    return Taxonomy([Node("hats", "", "Hats", True), Node("bags", "", "Bags", True), *kept])


def products(count: int, seed: int = 0, tree: Taxonomy | None = None) -> list[dict[str, Any]]:
    """Returns labelled dev products whose titles name their node; every optional field is missing now and then."""
    rng = random.Random(seed)
    tree = tree or taxonomy()
    return [_product(f"p{number}", rng, tree) for number in range(count)]


def _product(product_id: str, rng: random.Random, tree: Taxonomy) -> dict[str, Any]:
    node_id = rng.choice(tree.exclusive_ids)
    name = tree.node(node_id).name
    chain = [tree[i].id for i in tree.chain(node_id)]
    found: dict[str, Any] = {
        "id": product_id,
        "title": f"{rng.choice(['Nice', 'Crème', 'ÄRMEL', 'nice nice'])} {name} {rng.randrange(9)}",
        "group": f"g{rng.randrange(10_000)}",
        "split": "dev",
    }
    optional: dict[str, Any] = {
        "description": " ".join(rng.choice(["soft", "red", "wool", name, "新しい", "2-pack"]) for _ in range(rng.randrange(1, 30))),
        "brand": rng.choice(["Acme", "ACME", "Bolt & Co", "Zoë", "Rare 1", "Rare 2", "Rare 3"]),
        "category": name,
        "merchant_category": f"Shop > {name} > {rng.randrange(3)}",
        "gender": rng.choice(["women", "men"]),
        "price": round(rng.uniform(1, 300), 2),
        "image_vector": [rng.gauss(0, 1) for _ in range(VECTOR_SIZE)],
        "answer_node": node_id,
        "rule_nodes": chain,
    }
    return {**found, **{field: value for field, value in optional.items() if rng.random() < 0.8}}
