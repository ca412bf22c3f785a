"""Finds groups of products that one answer may settle, and picks those to ask about. NumPy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from components.sampling.clustering import clusters_of
from components.sampling.contract import FloatArray, IntArray, PathOf, first_of_each
from components.sampling.nodes import node_codes
from components.scored_pool import EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, ScoredPool
from schemas.group_answers import EXAMPLES
from schemas.product import BRAND, MERCHANT_CATEGORY, SHOP, TITLE
from schemas.text import fold

SHOP_CATEGORY, HEAD_NOUN, BRAND_NOUN, CLUSTER = "shop_category", "head_noun", "brand_noun", "cluster"
COLUMNS = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, TITLE, BRAND, SHOP, MERCHANT_CATEGORY)
# Fewer titles are asked one by one as fast. More members than this are seldom of one node, and a batch must stay small.
MIN_TITLES, MAX_MEMBERS = 8, 2_000
_CLUSTER_PRODUCTS, _CLUSTERED = 25, 10_000
_WORDS = {SHOP_CATEGORY: "of one category of a shop", HEAD_NOUN: "whose title ends alike", BRAND_NOUN: "of one brand and kind",
          CLUSTER: "that look alike to the model"}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Products that share something.

    Attributes:
        kind: what, one of `GROUPINGS`.
        key: the value they share, for people; of a cluster the id of its first product.
        rows: int64, of the pool, ascending.
    """

    kind: str
    key: str
    rows: IntArray

    @property
    def question(self) -> str:
        """The id of the question about it: the same whenever it is found again."""
        return "q-" + blake2b(f"{self.kind}\0{self.key}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass(frozen=True)
class PickedGroup:
    """A group to ask about.

    Attributes:
        group: its products.
        examples: int64 `[<=5]`, rows drawn at random among its titles, so that they speak for the others.
        score: expected worth of the answer.
        reason: one sentence for the labeller.
    """

    group: Group
    examples: IntArray
    score: float
    reason: str


def find_groups(pool: ScoredPool, rows: IntArray, titles: IntArray, rng: np.random.Generator) -> list[Group]:
    """Returns groups of at least eight different titles and at most 2,000 products; a product may be in several.

    Args:
        pool: with `fields`, of which any may be missing, and embeddings for clusters.
        rows: int `[n]`, of products that may be asked about.
        titles: int `[n]`, equal for products that are asked about once.
        rng: starts the clusters.
    """
    found = []
    for kind, keys in _keys(pool, rows, rng):
        members: dict[str, list[int]] = {}
        for place, key in enumerate(keys):
            if key:
                members.setdefault(key, []).append(place)
        for key, places in members.items():
            if len(places) <= MAX_MEMBERS and len(set(titles[places].tolist())) >= MIN_TITLES:
                found.append(Group(kind, key, np.sort(rows[places])))
    return found


def _keys(pool: ScoredPool, rows: IntArray, rng: np.random.Generator) -> Iterator[tuple[str, Sequence[str]]]:
    texts = {name: _folded(pool.fields.get(name), rows) for name in (TITLE, BRAND, SHOP, MERCHANT_CATEGORY)}
    nouns = head_nouns(texts[TITLE])
    yield SHOP_CATEGORY, _joined(texts[SHOP], texts[MERCHANT_CATEGORY], needs_first=False)
    yield HEAD_NOUN, nouns
    yield BRAND_NOUN, _joined(texts[BRAND], nouns)
    if pool.embeddings is not None and len(rows) >= 2 * _CLUSTER_PRODUCTS:
        looked_at = np.sort(rng.choice(len(rows), min(len(rows), _CLUSTERED), replace=False))
        vectors = np.asarray(pool.embeddings[rows[looked_at]], np.float32)
        clusters = clusters_of(vectors, len(looked_at) // _CLUSTER_PRODUCTS, rng)
        first = {int(cluster): str(pool.need("product_ids")[rows[at]]) for at, cluster in zip(looked_at[::-1], clusters[::-1], strict=True)}
        keys = [""] * len(rows)
        for at, cluster in zip(looked_at.tolist(), clusters.tolist(), strict=True):
            keys[at] = first[cluster]
        yield CLUSTER, keys


def _folded(column: npt.NDArray[np.object_] | None, rows: IntArray) -> list[str]:
    return [""] * len(rows) if column is None else [fold(text or "") for text in column[rows].tolist()]


def _joined(first: Sequence[str], second: Sequence[str], needs_first: bool = True) -> list[str]:
    return [f"{a}, {b}" if a and b else "" if needs_first or not b else b for a, b in zip(first, second, strict=True)]


def head_nouns(titles: Sequence[str]) -> list[str]:
    """Returns the last word of each folded title that several titles hold, without words that hold a digit; empty for none.

    >>> head_nouns(["acme running shoes 42", "bolt shoes", "acme trail shoes xk9", "lamp"])
    ['shoes', 'shoes', 'shoes', '']
    """
    words = [[word for word in title.split() if len(word) > 2 and not any(letter.isdigit() for letter in word)] for title in titles]
    documents = Counter(word for each in words for word in set(each))
    common = {word for word, count in documents.items() if count >= min(MIN_TITLES, 3)}
    return [next((word for word in reversed(each) if word in common), "") for each in words]


def pick_groups(
    pool: ScoredPool,
    groups: Sequence[Group],
    titles: IntArray,
    count: int,
    rng: np.random.Generator,
    path_of: PathOf,
    asked: frozenset[str] = frozenset(),
) -> list[PickedGroup]:
    """Returns the groups whose answer is worth most, best first; no product is in two of them.

    The worth of a group is the root of its titles, times how unsure the model is of each, times how likely two of its products
    are of one node by what the model says.

    Args:
        pool: read with `COLUMNS`.
        groups: as `find_groups` returns them.
        titles: int `[num_products]`, equal for products that are asked about once.
        count: most groups wanted.
        rng: draws examples, and decides between equal groups.
        path_of: node id to what people call it.
        asked: ids of questions that were asked before.
    """
    names, codes = node_codes(pool.need("exclusive_nodes"))
    likely = np.asarray(pool.need("exclusive_probabilities"), np.float64)
    taken = np.zeros(len(likely), bool)
    order = rng.permutation(len(groups))
    scores = [0.0 if groups[at].question in asked else _worth(groups[at].rows, titles, codes, likely)[0] for at in order]
    picked: list[PickedGroup] = []
    for at in np.argsort(-np.array(scores), kind="stable").tolist():
        if len(picked) == count or scores[at] <= 0:
            break
        group = groups[order[at]]
        if taken[group.rows].any():
            continue
        taken[group.rows] = True
        shuffled = rng.permutation(group.rows)
        examples = shuffled[first_of_each(titles[shuffled])][:EXAMPLES]
        score, guess = _worth(group.rows, titles, codes, likely)
        about = f"{len(group.rows)} products {_WORDS[group.kind]}, perhaps all {path_of(names[guess])}: one answer for all"
        picked.append(PickedGroup(group, examples, score, about))
    return picked


def _worth(rows: IntArray, titles: IntArray, codes: npt.NDArray[np.int32], likely: FloatArray) -> tuple[float, int]:
    """Returns the worth of a group's answer, and the number of its likeliest node."""
    sums = np.bincount(codes[rows].ravel(), likely[rows].ravel())
    means = sums / len(rows)
    unsure = float((1.0 - likely[rows, 0]).mean())
    return float(np.sqrt(len(np.unique(titles[rows]))) * unsure * (means**2).sum()), int(means.argmax())


GROUPINGS = (SHOP_CATEGORY, HEAD_NOUN, BRAND_NOUN, CLUSTER)
