"""A small tree and judged products on it, for tests of the stages after training."""

from __future__ import annotations

import random
from typing import Any

from schemas.taxonomy import Node, Taxonomy


def shop_taxonomy() -> Taxonomy:
    """Returns three roots, depth 3, exclusive inner nodes, and one inner node that is not exclusive (`women`)."""
    return Taxonomy(
        [
            Node("shoes", "", "Shoes", True),
            Node("sneakers", "shoes", "Sneakers", True),
            Node("boots", "shoes", "Boots", True),
            Node("rubber-boots", "boots", "Wellies", True),
            Node("clothes", "", "Clothes", True),
            Node("women", "clothes", "Women", False),
            Node("dresses", "women", "Dresses", True),
            Node("skirts", "women", "Skirts", True),
            Node("bags", "", "Bags", True),
        ]
    )


def judged_products(taxonomy: Taxonomy, count: int, seed: int = 0, answered: float = 0.9, ruled: float = 0.6) -> list[dict[str, Any]]:
    """Returns labelled test products; titles name the right node most of the time, and another one else."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        node_id = rng.choice(taxonomy.exclusive_ids)
        named = node_id if rng.random() < 0.7 else rng.choice(taxonomy.ids)
        product: dict[str, Any] = {
            "id": f"p{number}",
            "title": f"Nice {taxonomy.node(named).name} {number % 40}",
            "shop": f"shop {rng.randrange(3)}",
            "split": "test",
        }
        if rng.random() < 0.5:
            product["brand"] = "Acme"
        if rng.random() < answered:
            product |= {"answer_node": node_id, "category_depth": taxonomy.depth(node_id)}
        if rng.random() < ruled:
            product["rule_nodes"] = [taxonomy[i].id for i in taxonomy.chain(named)]
        found.append(product)
    return found
