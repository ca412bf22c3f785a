"""Holds the category tree as the arrays a graph needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.taxonomy import Taxonomy, node_fingerprint


@dataclass(frozen=True)
class Tree:
    """The N nodes in tree order, and the C of them that are exclusive.

    Attributes:
        node_ids: N ids.
        exclusive: int64 `[C]`, the exclusive nodes' numbers.
        parents: int64 `[N]`, N at a root.
        ancestry: float32 `[N, C]`, 1 where the node is the class or one of its ancestors.
        chains: int64 `[C, D]`, fingerprints from the root down, 0-padded.
    """

    node_ids: list[str]
    exclusive: np.ndarray
    parents: np.ndarray
    ancestry: np.ndarray
    chains: np.ndarray

    @property
    def exclusive_ids(self) -> list[str]:
        """The C ids of the exclusive nodes."""
        return [self.node_ids[i] for i in self.exclusive]


def tree_of(taxonomy: Taxonomy) -> Tree:
    """Returns the arrays of a taxonomy."""
    num_nodes = len(taxonomy)
    ancestry = np.zeros([num_nodes, len(taxonomy.exclusive)], np.float32)
    chains = np.zeros([len(taxonomy.exclusive), max(taxonomy.depths)], np.int64)
    for k, node_id in enumerate(taxonomy.exclusive_ids):
        chain = taxonomy.chain(node_id)
        ancestry[chain, k] = 1
        chains[k, : len(chain)] = [node_fingerprint(taxonomy.ids[i]) for i in chain]
    parents = np.array([num_nodes if parent < 0 else parent for parent in taxonomy.parents], np.int64)
    return Tree(taxonomy.ids, np.array(taxonomy.exclusive, np.int64), parents, ancestry, chains)
