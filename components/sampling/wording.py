"""Words what the exclusive head guesses, for the reasons that labellers read."""

from __future__ import annotations

from components.sampling.contract import PathOf
from components.scored_pool import ScoredPool


def guess(pool: ScoredPool, row: int, rank: int, path_of: PathOf) -> str:
    """Returns a guess for a product as the node's path and its probability; rank 0 is the best guess."""
    return named(path_of(str(pool.need("exclusive_nodes")[row, rank])), float(pool.need("exclusive_probabilities")[row, rank]))


def named(path: str, probability: float) -> str:
    """Returns a path with a probability in whole per cent.

    >>> named("Shoes > Boots", 0.412)
    'Shoes > Boots (41 %)'
    """
    return f"{path} ({100 * probability:.0f} %)"
