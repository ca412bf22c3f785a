"""Invents product vectors in noisy clusters over a category tree, for measuring similarity search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.taxonomy import Node, Taxonomy, load_taxonomy
from similarity.product_columns import ProductColumns, columns_from_values
from similarity.vectors import ProductVectors, in_tree_order

_CHILD_SPREAD, _STYLE_SPREAD, _PRODUCT_SPREAD = 0.7, 0.6, 0.5  # Lengths, relative to a root's 1.
_BLOCK_ROWS = 100_000
_STYLES = 20  # Clusters in a node: products of one category come in styles.


def benchmark_tree(path: Path | None) -> Taxonomy:
    """Returns the tree of a taxonomy file, or an invented one of 20 roots, 200 categories and 4,000 leaves."""
    if path is not None:
        return load_taxonomy(path)
    nodes = [Node(f"{root}", "", f"Root {root}", False) for root in range(20)]
    nodes += [Node(f"{root}.{second}", f"{root}", f"Category {second}", False) for root in range(20) for second in range(10)]
    parents = [node.id for node in nodes[20:]]
    nodes += [Node(f"{parent}.{leaf}", parent, f"Leaf {leaf}", True) for parent in parents for leaf in range(20)]
    return Taxonomy(nodes)


def clustered_catalogue(num_products: int, dimension: int, tree: Taxonomy, seed: int) -> ProductVectors:
    """Returns vectors drawn around styles, styles around nodes, and nodes around their parents.

    How many products a leaf holds is drawn from a log-normal distribution: few categories hold most products. Shops and brands
    follow Zipf's law, prices are log-normal.

    Args:
        num_products: how many.
        dimension: of each vector.
        tree: whose leaves they are laid over.
        seed: the same gives the same catalogue.
    """
    rng = np.random.default_rng(seed)
    centres = np.empty((len(tree), dimension), np.float32)
    for number, parent in enumerate(tree.parents):
        direction = _directions(rng, 1, dimension)[0]
        centres[number] = direction if parent < 0 else centres[parent] + _CHILD_SPREAD * direction
    numbers = _leaves_of_products(num_products, tree, rng)
    style_centres = _STYLE_SPREAD * _directions(rng, len(tree) * _STYLES, dimension)
    styles = numbers * _STYLES + rng.integers(0, _STYLES, num_products)
    vectors = centres[numbers]
    for start in range(0, num_products, _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS]
        block += style_centres[styles[start : start + _BLOCK_ROWS]]
        block += _PRODUCT_SPREAD * _directions(rng, len(block), dimension)
    ids = [f"product-{number}" for number in range(num_products)]
    return in_tree_order(vectors, ids, numbers, tree.ids, tree.subtree_ends, _columns(num_products, rng))


def tree_weighted_queries(
    products: ProductVectors, tree: Taxonomy, count: int, seed: int
) -> tuple[npt.NDArray[np.float32], list[range | None]]:
    """Returns products drawn at random, each to be searched in a node drawn evenly from those it is in, the whole index among them.

    So a category is asked for about as often as products are in it, at every depth.
    """
    rng = np.random.default_rng(seed)
    positions = rng.choice(len(products), count, replace=False)
    subtrees: list[range | None] = []
    for position in positions.tolist():
        chain = tree.chain(products.node_id(position))
        pick = int(rng.integers(-1, len(chain)))
        subtrees.append(None if pick < 0 else range(chain[pick], products.subtree_ends[chain[pick]]))
    return np.asarray(products.vectors[positions]), subtrees


def _leaves_of_products(num_products: int, tree: Taxonomy, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    leaves = np.array([number for number, end in enumerate(tree.subtree_ends) if end == number + 1])
    weights = rng.lognormal(0.0, 1.5, len(leaves))
    return np.asarray(leaves[rng.choice(len(leaves), num_products, p=weights / weights.sum())], np.int64)


def _directions(rng: np.random.Generator, count: int, dimension: int) -> npt.NDArray[np.float32]:
    drawn = rng.standard_normal((count, dimension), dtype=np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def _columns(num_products: int, rng: np.random.Generator) -> ProductColumns:
    texts: dict[str, list[str | None]] = {
        "shop": [f"shop-{number}" for number in np.minimum(rng.zipf(1.5, num_products), 200).tolist()],
        "brand": [f"brand-{number}" for number in np.minimum(rng.zipf(1.3, num_products), 5_000).tolist()],
        "gender": [("female", "male", "unisex", None)[number] for number in rng.integers(0, 4, num_products).tolist()],
    }
    return columns_from_values(texts, rng.lognormal(3.5, 0.8, num_products).astype(np.float32))
