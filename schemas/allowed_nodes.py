"""Says which nodes a product may still be at, given what people said of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.label_event import IS, NOT, UNDER, LabelEvent
from schemas.taxonomy import Taxonomy

ANYWHERE = -1
TELLING_KINDS = (IS, UNDER, NOT)


@dataclass(frozen=True)
class AllowedNodes:
    """The exclusive nodes of one subtree, but for those of some subtrees inside it; or one node alone.

    Attributes:
        node: number of the node where only one is left, else `ANYWHERE`.
        under: number of the node whose subtree it is in, `ANYWHERE` for the whole tree.
        excluded: numbers of nodes inside `under` whose subtrees it isn't in, ascending, none inside another.
    """

    node: int = ANYWHERE
    under: int = ANYWHERE
    excluded: tuple[int, ...] = ()


class TreeRanges:
    """A tree as ranges of numbers, for combining what people said.

    >>> from schemas.taxonomy import Node
    >>> tree = TreeRanges(Taxonomy([Node("s", "", "Shoes", False), Node("k", "s", "Kids", True), Node("m", "s", "Men", True)]))
    >>> tree.both(AllowedNodes(under=0), AllowedNodes(excluded=(1,)))
    AllowedNodes(node=2, under=-1, excluded=())

    Args:
        taxonomy: the tree.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._ends, self._exclusive = taxonomy.subtree_ends, taxonomy.exclusive
        self._size = len(taxonomy)

    def said(self, kind: str, node: int) -> AllowedNodes | None:
        """Returns what an answer of this kind about this node leaves; None where it leaves nothing.

        A product that isn't at a node isn't below it either, since whatever is below a node belongs to it.
        """
        if kind == IS:
            return AllowedNodes(node)
        return self._settled(node, ()) if kind == UNDER else self._settled(ANYWHERE, (node,))

    def both(self, one: AllowedNodes, other: AllowedNodes) -> AllowedNodes | None:
        """Returns what is left where both hold; None where nothing is."""
        for fixed, rest in ((one, other), (other, one)):
            if fixed.node >= 0:
                return fixed if self.holds(rest, fixed.node) else None
        if not (self._inside(one.under, other.under) or self._inside(other.under, one.under)):
            return None
        under = max(one.under, other.under)  # The one inside the other has the higher number, and the whole tree -1.
        return self._settled(under, (*one.excluded, *other.excluded))

    def holds(self, allowed: AllowedNodes, node: int) -> bool:
        """Returns whether a product may be at the node."""
        if allowed.node >= 0:
            return node == allowed.node
        return self._inside(node, allowed.under) and not any(self._inside(node, each) for each in allowed.excluded)

    def left(self, allowed: AllowedNodes) -> list[int]:
        """Returns the numbers of the exclusive nodes a product may be at, ascending."""
        return [node for node in self._exclusive if self.holds(allowed, node)]

    def _settled(self, under: int, excluded: Sequence[int]) -> AllowedNodes | None:
        if any(self._inside(under, node) for node in excluded):
            return None
        inside = sorted({node for node in excluded if self._inside(node, under)})
        outermost = tuple(node for node in inside if not any(other != node and self._inside(node, other) for other in inside))
        left = self._count(under) - sum(map(self._count, outermost))
        if left < 1:
            return None
        return AllowedNodes(self._only(under, outermost)) if left == 1 else AllowedNodes(under=under, excluded=outermost)

    def _inside(self, node: int, other: int) -> bool:
        """Returns whether a subtree lies in another; every one lies in the whole tree, and that only in itself."""
        return other < 0 or other <= node < self._ends[other]

    def _range(self, node: int) -> tuple[int, int]:
        start, end = (0, self._size) if node < 0 else (node, self._ends[node])
        return bisect_left(self._exclusive, start), bisect_left(self._exclusive, end)

    def _count(self, node: int) -> int:
        first, last = self._range(node)
        return last - first

    def _only(self, under: int, excluded: Sequence[int]) -> int:
        first, last = self._range(under)
        return next(node for node in self._exclusive[first:last] if not any(self._inside(node, other) for other in excluded))


@dataclass(frozen=True)
class Narrowed:
    """What several answers about one product add up to.

    Attributes:
        allowed: what is left; None where no answer says anything.
        events: those that count, the latest first.
        contradicted: how many earlier answers a later one contradicts.
    """

    allowed: AllowedNodes | None
    events: tuple[LabelEvent, ...]
    contradicted: int


def narrowed(said: Sequence[tuple[LabelEvent, AllowedNodes]], tree: TreeRanges) -> Narrowed:
    """Returns the intersection of answers, latest first: one that leaves nothing together with later ones doesn't count."""
    allowed: AllowedNodes | None = None
    events: list[LabelEvent] = []
    for event, one in said:
        merged = one if allowed is None else tree.both(allowed, one)
        if merged is not None:
            allowed = merged
            events.append(event)
    return Narrowed(allowed, tuple(events), len(said) - len(events))
