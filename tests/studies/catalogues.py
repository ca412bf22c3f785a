"""A frozen catalogue made without a pipeline, and a tiny catalogue folder for the real one."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np

from schemas.taxonomy import Node, Taxonomy
from studies.frozen_catalogue import NO_GOLD, NOT_IN_TREE, FrozenCatalogue
from tests.few_shot.catalogue import LEAVES, TOPS, OneRule, catalogue

NUM_PRODUCTS = 600
# The last products: one whose truth left the tree, one that nobody knows.
OUTSIDE, UNKNOWN = NUM_PRODUCTS - 1, NUM_PRODUCTS - 2


def taxonomy() -> Taxonomy:
    """Returns a tree of two levels; its leaves are the classes of `tests.few_shot.catalogue`."""
    tops = [Node(f"top{top}", "", f"Top {top}", False) for top in range(TOPS)]
    leaves = [Node(f"leaf{leaf}", f"top{leaf // LEAVES}", f"Leaf {leaf}", True) for leaf in range(TOPS * LEAVES)]
    return Taxonomy([*tops, *leaves])


def frozen_catalogue(twins: int = 100) -> FrozenCatalogue:
    """Returns 400 dev products, of which the first `twins` come in pairs of one group, and 200 test products."""
    made, tree = catalogue(NUM_PRODUCTS), taxonomy()
    made.products.groups[1:twins:2] = made.products.groups[0:twins:2]
    true_nodes = np.array([tree.index(f"leaf{leaf}") for leaf in made.truth], np.int64)
    true_nodes[1:twins:2] = true_nodes[0:twins:2]
    true_nodes[[OUTSIDE, UNKNOWN]] = NOT_IN_TREE, NO_GOLD
    return FrozenCatalogue(
        name="made-up",
        digest="0" * 16,
        taxonomy=tree,
        features=made.frozen(),
        product_ids=[f"p{row}" for row in range(NUM_PRODUCTS)],
        titles=[f"title {row}" for row in range(NUM_PRODUCTS)],
        is_test=np.arange(NUM_PRODUCTS) >= 400,
        true_nodes=true_nodes,
        missing=0,
    )


def rule_of(frozen: FrozenCatalogue) -> OneRule:
    """Returns a rule that knows every product's class."""
    return OneRule(frozen.true_classes)


def write_case(folder: Path, num_products: int = 240) -> Path:
    """Writes a catalogue folder: nine leaves under three roots, rules for a third of them, a third of the products to judge."""
    rng = random.Random(0)
    roots = {"Shoes": ("Sneakers", "Boots", "Sandals"), "Bags": ("Backpacks", "Wallets", "Suitcases"), "Home": ("Lamps", "Chairs", "Vases")}
    rows, leaves = ["id\tparent_id\tname\texclusive"], []
    for root, names in roots.items():
        rows.append(f"{root.lower()}\t\t{root}\t0")
        rows += [f"{name.lower()}\t{root.lower()}\t{name}\t1" for name in names]
        leaves += [name.lower() for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "taxonomy.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    ruled = leaves[::3]
    said = [f"r{k}\t{leaf}\ttitle\t{leaf[:-1]}\t0" for k, leaf in enumerate(ruled)]
    (folder / "rules.tsv").write_text("\n".join(["rule_id\tnode_id\tfield\tphrase\tveto", *said]) + "\n", encoding="utf-8")
    gold = ["product_id\tnode_id\tsplit"]
    with gzip.open(folder / "feed.jsonl.gz", "wt", encoding="utf-8") as feed:
        for number in range(num_products):
            leaf = leaves[number % len(leaves)]
            named = leaf[:-1] if rng.random() < 0.6 else f"{leaf[:3]}like"
            title = f"{rng.choice(('red', 'blue', 'grand', 'mini'))} {named} {leaf[:2]}{rng.randrange(4)} model {number}"
            product = {"id": f"p{number}", "title": title, "brand": f"brand{number % 7}", "merchant_category": f"all > {leaf[:4]}"}
            feed.write(json.dumps(product | ({"description": f"A {named} for you"} if number % 2 else {})) + "\n")
            gold.append(f"p{number}\t{leaf}\t{'test' if number // len(leaves) % 3 == 0 else 'dev'}")
    (folder / "gold.tsv").write_text("\n".join(gold) + "\n", encoding="utf-8")
    return folder
