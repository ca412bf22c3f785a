"""Adds up what people said of one product alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.allowed_nodes import TELLING_KINDS, AllowedNodes, Narrowed, TreeRanges, narrowed
from schemas.group_answers import meaning
from schemas.label_event import SKIP, LabelEvent
from schemas.taxonomy import Taxonomy


@dataclass(frozen=True)
class OwnAnswers:
    """What events about one product add up to.

    Attributes:
        found: the nodes that are left, and the events that say so.
        unread: the latest event where it says nothing of the tree's nodes, so that nothing is left to say; else None.
    """

    found: Narrowed
    unread: LabelEvent | None


def added_up(said: Sequence[LabelEvent], tree: TreeRanges, taxonomy: Taxonomy) -> OwnAnswers:
    """Returns what the events about one product add up to, a later one before an earlier one.

    "Cannot tell" and "bad data" end what was said before. A word that can't be read counts for nothing, but where it is the latest no
    earlier one is put in its place.

    >>> from schemas.taxonomy import Node
    >>> taxonomy = Taxonomy([Node("s", "", "Shoes", False), Node("k", "s", "Kids", True), Node("m", "s", "Men", True)])
    >>> said = [LabelEvent("e1", 1, "ann", "p", "under", "s"), LabelEvent("e2", 2, "bob", "p", "not", "k")]
    >>> added_up(said, TreeRanges(taxonomy), taxonomy).found.allowed
    AllowedNodes(node=2, under=-1, excluded=())

    Args:
        said: in order, none of them taken back.
        tree: of the taxonomy.
        taxonomy: the tree.
    """
    telling: list[tuple[LabelEvent, AllowedNodes]] = []
    unread = None
    for event in reversed([event for event in said if event.kind != SKIP]):
        allowed = meaning(event, tree, taxonomy)
        if allowed is not None:
            telling.append((event, allowed))
        elif not telling:
            unread = event
        if event.kind not in TELLING_KINDS or unread:
            break
    return OwnAnswers(narrowed(telling, tree), unread)
