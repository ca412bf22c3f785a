"""Asks about products that a committee of models disagrees about, by two measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from components.sampling.contract import FloatArray, IntArray, PathOf, RankedStrategy, register
from components.sampling.nodes import CodeArray, node_codes
from components.sampling.wording import named
from components.scored_pool import COMMITTEE_NODES, COMMITTEE_PROBABILITIES, ScoredPool
from schemas.errors import SamplingError

_BLOCK_PRODUCTS = 512


def vote_entropies(votes: CodeArray) -> FloatArray:
    """Returns how evenly the votes of a committee are spread, in nats: 0 (one voice) to the logarithm of the members.

    >>> vote_entropies(np.array([[3, 3, 3, 3], [3, 3, 1, 1]], np.int32)).round(3) + 0.0
    array([0.   , 0.693])

    Args:
        votes: int `[num_products, members]`, each member's best guess.

    Returns:
        float64 `[num_products]`.

    Source:
        Dagan and Engelson 1995, ICML, "Committee-based sampling for training probabilistic classifiers".
    """
    shares = (votes[:, :, None] == votes[:, None, :]).mean(axis=2)  # [num_products, members]
    entropies: FloatArray = -np.log(shares).mean(axis=1)
    return entropies


def consensus_divergences(codes: CodeArray, probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """Returns the mean Kullback-Leibler divergence of the members from their mean, in nats: 0 where all say the same.

    It is relative to the k best nodes of each member: a node that a member doesn't list counts as 0 with it, and what each
    leaves over counts as one further node.

    >>> codes = np.array([[[0, 1], [0, 1]], [[0, 1], [1, 0]]], np.int32)
    >>> consensus_divergences(codes, np.array([[[0.9, 0.1], [0.9, 0.1]], [[0.9, 0.1], [0.9, 0.1]]])).round(3) + 0.0
    array([0.   , 0.368])

    Args:
        codes: int `[num_products, members, k]`, nodes by number, from 0.
        probabilities: float `[num_products, members, k]`.

    Returns:
        float64 `[num_products]`, NaN where a probability isn't finite.

    Source:
        McCallum and Nigam 1998, ICML, "Employing EM and pool-based active learning for text classification".
    """
    num_products, members, k = codes.shape
    num_nodes = int(codes.max()) + 1 if codes.size else 1
    found = np.empty(num_products)
    for start in range(0, num_products, _BLOCK_PRODUCTS):
        likely = np.asarray(probabilities[start : start + _BLOCK_PRODUCTS], np.float64)
        size = len(likely)
        cells = (np.arange(size)[:, None] * num_nodes + codes[start : start + size].reshape(size, -1)).reshape(-1)
        consensus = np.bincount(cells, likely.reshape(-1) / members, size * num_nodes)[cells].reshape(size, members, k)
        rest = np.maximum(1 - likely.sum(axis=2), 0)  # [size, members]
        known = _divergence(likely, consensus).sum(axis=2) + _divergence(rest, rest.mean(axis=1, keepdims=True))
        found[start : start + size] = np.where(np.isfinite(likely).all(axis=(1, 2)), known.mean(axis=1), np.nan)
    return np.maximum(found, 0.0)


def _divergence(probabilities: FloatArray, consensus: FloatArray) -> FloatArray:
    present = probabilities > 0
    ratio = np.divide(probabilities, consensus, out=np.ones_like(probabilities), where=present & (consensus > 0))
    return np.where(present, probabilities * np.log(ratio), 0.0)


def _in_blocks(name: str, pool: ScoredPool, candidates: IntArray, score: Callable[[ScoredPool, IntArray], FloatArray]) -> FloatArray:
    """Scores candidates a block at a time, so that no copy of the committee's columns is made."""
    members = pool.need("committee_nodes").shape[1]
    pool.need("committee_probabilities")
    if members < 2:
        raise SamplingError(
            f"strategy {name!r} needs a committee of 2 models or more, the pool was scored by {max(members, 1)}. "
            "Set scoring.committee to earlier versions and score it again."
        )
    blocks = [score(pool, candidates[start : start + 65_536]) for start in range(0, len(candidates), 65_536)]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _votes(pool: ScoredPool, candidates: IntArray) -> FloatArray:
    finite = np.isfinite(pool.need("committee_probabilities")[candidates, :, 0]).all(axis=1)
    return np.where(finite, vote_entropies(node_codes(pool.need("committee_nodes")[candidates, :, 0])[1]), np.nan)


def _divergences(pool: ScoredPool, candidates: IntArray) -> FloatArray:
    codes = node_codes(pool.need("committee_nodes")[candidates])[1]
    return consensus_divergences(codes, pool.need("committee_probabilities")[candidates])


def _vote_entropy(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator) -> FloatArray:
    del rng
    return _in_blocks("vote_entropy", pool, candidates, _votes)


def _consensus_divergence(pool: ScoredPool, candidates: IntArray, rng: np.random.Generator) -> FloatArray:
    del rng
    return _in_blocks("consensus_divergence", pool, candidates, _divergences)


def _explain_votes(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    votes = Counter(pool.need("committee_nodes")[row, :, 0].tolist())
    named_votes = [f"{path_of(str(node))} ({count} of {votes.total()})" for node, count in votes.most_common(3)]
    return f"models vote for {' and '.join(named_votes)}"


def _explain_divergence(pool: ScoredPool, row: int, path_of: PathOf) -> str:
    nodes, likely = pool.need("committee_nodes")[row], pool.need("committee_probabilities")[row]
    best: dict[str, float] = {}
    for node, probability in zip(nodes[:, 0].tolist(), likely[:, 0].tolist(), strict=True):
        best[str(node)] = max(best.get(str(node), 0.0), probability)
    says = [named(path_of(node), probability) for node, probability in best.items()][:3]
    if len(says) == 1:
        return f"models agree on {path_of(next(iter(best)))}, but from {100 * likely[:, 0].min():.0f} to {100 * likely[:, 0].max():.0f} %"
    return f"models differ: {' or '.join(says)}"


_COLUMNS = (COMMITTEE_NODES, COMMITTEE_PROBABILITIES)
register(
    [
        RankedStrategy("vote_entropy", _vote_entropy, _explain_votes, _COLUMNS),
        RankedStrategy("consensus_divergence", _consensus_divergence, _explain_divergence, _COLUMNS),
    ]
)
