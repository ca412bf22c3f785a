"""Numbers the nodes that columns name, counts their answers, and takes products node by node."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.sampling.contract import FloatArray, IntArray, fair_order
from components.scored_pool import ScoredPool

CodeArray = npt.NDArray[np.int32]
_BLOCK_VALUES = 1_000_000


def node_codes(nodes: npt.NDArray[np.object_]) -> tuple[list[str], CodeArray]:
    """Returns the distinct node ids in order, and for every place which of them stands there.

    Their order is that of the ids, so that numbers don't depend on which product comes first.

    >>> node_codes(np.array([["shoes", "bags"], ["bags", "hats"]], dtype=object))
    (['bags', 'hats', 'shoes'], array([[2, 0],
           [0, 1]], dtype=int32))

    Args:
        nodes: object (str) of any shape.
    """
    flat, codes = nodes.reshape(-1), np.empty(nodes.size, np.int32)
    numbers: dict[str, int] = {}
    for start in range(0, len(flat), _BLOCK_VALUES):
        block = pa.array(flat[start : start + _BLOCK_VALUES], pa.string()).dictionary_encode()
        known = np.array([numbers.setdefault(node, len(numbers)) for node in block.dictionary.to_pylist()], np.int32)
        codes[start : start + len(block)] = known[block.indices.to_numpy()]
    names = sorted(numbers)
    place = np.empty(len(names), np.int32)
    place[[numbers[name] for name in names]] = np.arange(len(names), dtype=np.int32)
    return names, (place[codes] if len(codes) else codes).reshape(nodes.shape)


def answers_by_node(pool: ScoredPool, names: list[str]) -> FloatArray:
    """Returns float64 `[len(names)]`, how many answers people gave each node; an answer for near-duplicates counts once.

    Where nobody says which node an answered product is at, its best guess stands in.
    """
    rows = np.flatnonzero(np.asarray(pool.need("answered"), bool))
    nodes = pool.need("exclusive_nodes")[rows, 0]
    if pool.answer_nodes is not None:
        said = pool.answer_nodes[rows]
        nodes = np.where(said == None, nodes, said)  # noqa: E711 - element by element.
    groups = [None] * len(rows) if pool.groups is None else pool.groups[rows].tolist()
    answers = {(group or int(row), node) for group, row, node in zip(groups, rows, nodes.tolist(), strict=True)}
    counts = Counter(node for _, node in answers)
    return np.array([counts.get(name, 0) for name in names], np.float64)


@dataclass(frozen=True)
class Taken:
    """What `take_by_node` took, in order.

    Attributes:
        places: int64 `[num_taken]`, of the candidates.
        scores: float64 `[num_taken]`, how urgent each was, never rising.
        nodes: int64 `[num_taken]`, for which node each was taken.
    """

    places: IntArray
    scores: FloatArray
    nodes: IntArray


def take_by_node(
    places: npt.NDArray[np.integer],
    nodes: npt.NDArray[np.integer],
    values: FloatArray,
    asked: FloatArray,
    urgency: Callable[[int, float, float], float],
    groups: IntArray,
    count: int,
    rng: np.random.Generator,
) -> Taken:
    """Takes the most urgent product, makes its node less urgent, and goes on; a product may stand in the queues of several nodes.

    Args:
        places: int `[num_pairs]`, candidates.
        nodes: int `[num_pairs]`, the node whose queue the candidate stands in.
        values: float `[num_pairs]`; the highest of a node comes first.
        asked: float `[num_nodes]`, questions about a node so far; left as it is.
        urgency: node, value and questions so far to how urgent it is; it must not rise with questions, nor fall with the value.
        groups: int `[num_candidates]`; one candidate of each is taken at most.
        count: most candidates taken.
        rng: decides between equal values, and between equally urgent nodes.
    """
    order = fair_order(values, rng)
    order = order[np.argsort(nodes[order], kind="stable")]
    ends = np.cumsum(np.bincount(nodes, minlength=len(asked)))
    heads = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    asked, tie = asked.copy(), rng.permutation(len(asked))

    def entry(node: int) -> tuple[float, int, int]:
        return -urgency(node, float(values[order[heads[node]]]), float(asked[node])), int(tie[node]), node

    heap = [entry(node) for node in range(len(asked)) if heads[node] < ends[node]]
    heapq.heapify(heap)
    taken: list[tuple[int, float, int]] = []
    done: set[int] = set()
    while heap and len(taken) < count:
        negative, _, node = heapq.heappop(heap)
        place = int(places[order[heads[node]]])
        heads[node] += 1
        if int(groups[place]) not in done:
            done.add(int(groups[place]))
            taken.append((place, -negative, node))
            asked[node] += 1
        if heads[node] < ends[node]:
            heapq.heappush(heap, entry(node))
    columns = np.array(taken, np.float64).reshape(len(taken), 3)
    return Taken(columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2].astype(np.int64))
