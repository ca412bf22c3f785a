"""Answers a batch as a person would who knows the truth, with a chosen share of wrong answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from schemas.errors import LabelError
from schemas.group_answers import MIXED, GroupQuestion, member_events
from schemas.label_event import CANNOT_TELL, IS, NOT, UNDER, LabelEvent
from schemas.taxonomy import Taxonomy

_MIN_DURATION_MS, _TYPICAL_DURATION_MS = 600, 2_500
# A wrong answer is a suggestion that sounds right, if there is one, this often.
_MISLED_RATE = 0.7


class SimulatedLabeller:
    """A labeller that looks answers up.

    Whether an answer is wrong depends on the seed and the product alone, so the same product gets the same answer in
    whichever batch it comes.

    >>> labeller = SimulatedLabeller({"p1": "shoes"})
    >>> [(event.product_id, event.kind, event.node_id) for event in labeller.answer([{"product_id": "p1"}, {"product_id": "p2"}], "b1", 0)]
    [('p1', 'is', 'shoes'), ('p2', 'cannot_tell', '')]

    Args:
        truth: product id to the node it belongs to; other products are answered `cannot_tell`.
        wrong_answer_rate: share of answers that name another node of the truth, from 0 to 1.
        seed: of which answers are wrong.
        labeller: the name answers are given under.
        unsure_rate: share of answers that only say `under` a broader node, from 0 to 1.
        broader: node id to the broader one, as `broader_nodes` returns them; a node that isn't there is always named.
        yes_or_no_rate: share of products, from 0 to 1, of which the labeller is only asked whether the first suggestion is right: where it
            isn't, the answer is that it is `not` there.

    Raises:
        LabelError: a rate out of range, or wrong answers wanted where the truth has one node only.
    """

    def __init__(
        self,
        truth: Mapping[str, str],
        wrong_answer_rate: float = 0.0,
        seed: int = 0,
        labeller: str = "simulated",
        unsure_rate: float = 0.0,
        broader: Mapping[str, str] | None = None,
        yes_or_no_rate: float = 0.0,
    ) -> None:
        for what, rate in (("wrong answer", wrong_answer_rate), ("unsure", unsure_rate), ("yes-or-no", yes_or_no_rate)):
            if not 0.0 <= rate <= 1.0:
                raise LabelError(f"{what} rate {rate} is out of range. Choose 0 to 1.")
        self._truth = truth
        self._unsure_rate, self._broader = unsure_rate, broader or {}
        self._yes_or_no_rate = yes_or_no_rate
        self._rate = wrong_answer_rate
        self._seed = seed
        self._labeller = labeller
        self._nodes = sorted(set(truth.values()))
        if wrong_answer_rate > 0 and len(self._nodes) < 2:
            raise LabelError("a truth of one node has no wrong answers. Set the wrong answer rate to 0.")

    def answer(self, items: Iterable[Mapping[str, Any]], batch_id: str, started_at_ms: int) -> Iterator[LabelEvent]:
        """Yields one label event an item of the batch, in order; each answer starts when the one before ended.

        Args:
            items: as in `batch.jsonl` (docs/contracts.md); `product_id` must be there, the rest may; `strategy` and `version`
                of the batch are kept as shown where an item carries them.
            batch_id: of the batch.
            started_at_ms: when the labeller saw the first item.
        """
        now_ms = started_at_ms
        for item in items:
            product_id = str(item["product_id"])
            rng = np.random.default_rng(_number(f"{self._seed}\0{product_id}"))
            duration_ms = _MIN_DURATION_MS + int(_TYPICAL_DURATION_MS * rng.gamma(2.0, 0.5))
            now_ms += duration_ms
            node_id = self._node(product_id, item, rng)
            kind = IS if node_id else CANNOT_TELL
            if node_id in self._broader and rng.random() < self._unsure_rate:
                kind, node_id = UNDER, self._broader[node_id]
            suggested = suggested_nodes(item)[:1]
            if kind == IS and suggested and suggested != [node_id] and rng.random() < self._yes_or_no_rate:
                kind, node_id = NOT, suggested[0]
            yield LabelEvent(
                event_id=f"sim-{_number(f'{batch_id}{self._labeller}{product_id}{started_at_ms}'):032x}",
                answered_at_ms=now_ms,
                labeller=self._labeller,
                product_id=product_id,
                kind=kind,
                node_id=node_id,
                group=str(item.get("group") or ""),
                duration_ms=duration_ms,
                shown=_shown(item, batch_id),
            )

    def answer_group(self, asked: GroupQuestion, taxonomy: Taxonomy, now_ms: int) -> list[LabelEvent]:
        """Returns the events of an answer about a group, given after a look at its examples.

        Args:
            asked: the question.
            taxonomy: the tree.
            now_ms: when the answer is given.
        """
        looked_at = list(self.answer(({"product_id": product_id} for product_id in asked.examples), asked.batch, now_ms))
        kind, node_id = group_answer([event.node_id for event in looked_at], taxonomy)
        answer = {
            "event_id": f"sim-{_number(f'{asked.batch}{self._labeller}{asked.question}{now_ms}'):032x}",
            "answered_at_ms": looked_at[-1].answered_at_ms,
            "labeller": self._labeller,
            "kind": kind,
            "node_id": node_id,
            "duration_ms": looked_at[-1].answered_at_ms - now_ms,
        }
        return member_events(answer, asked)

    def _node(self, product_id: str, item: Mapping[str, Any], rng: np.random.Generator) -> str:
        right = self._truth.get(product_id, "")
        if not right or rng.random() >= self._rate:
            return right
        suggested = [node_id for node_id in suggested_nodes(item) if node_id != right]
        if suggested and rng.random() < _MISLED_RATE:
            return suggested[0]
        others = [node_id for node_id in self._nodes if node_id != right]
        return others[int(rng.integers(len(others)))]


def broader_nodes(taxonomy: Taxonomy, depth: int = 2) -> dict[str, str]:
    """Returns for each node below a root the ancestor at this depth; for one no deeper, its parent."""
    chains = {node_id: taxonomy.chain(node_id)[:-1][:depth] for node_id in taxonomy.ids}
    return {node_id: taxonomy[chain[-1]].id for node_id, chain in chains.items() if chain}


def group_answer(node_ids: Sequence[str], taxonomy: Taxonomy) -> tuple[str, str]:
    """Returns what a person says of a group after a look at the nodes of its examples: kind and node id.

    The node where all are of one, `under` the lowest node that holds all if that is below a root, else `mixed`.

    >>> from schemas.taxonomy import Node
    >>> paths = [("c", ""), ("s", "c"), ("k", "s"), ("m", "s")]
    >>> tree = Taxonomy([Node(name, parent, name, True) for name, parent in paths])
    >>> group_answer(["k", "k"], tree), group_answer(["k", "m"], tree), group_answer(["k", "c"], tree)
    (('is', 'k'), ('under', 's'), ('mixed', ''))
    """
    if not node_ids or not all(node_ids):
        return MIXED, ""
    if len(set(node_ids)) == 1:
        return IS, node_ids[0]
    chains = [taxonomy.chain(node_id) for node_id in node_ids]
    shared = [numbers[0] for numbers in zip(*chains, strict=False) if len(set(numbers)) == 1]
    return (UNDER, taxonomy[shared[-1]].id) if len(shared) > 1 else (MIXED, "")


def suggested_nodes(item: Mapping[str, Any]) -> list[str]:
    """Returns the node ids suggested for an item of a batch, best first."""
    return [str(suggestion["node_id"]) for suggestion in item.get("suggestions") or () if suggestion.get("node_id")]


def _shown(item: Mapping[str, Any], batch_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {name: item.get(name) for name in ("strategy", "stream", "version")}
    shown |= {"batch": batch_id, "suggestions": suggested_nodes(item)}
    return {name: value for name, value in shown.items() if value}


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
