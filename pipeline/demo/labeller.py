"""Answers a batch as a person would who knows the truth, with a chosen share of wrong answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from schemas.errors import LabelError
from schemas.label_event import CANNOT_TELL, IS, LabelEvent

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

    Raises:
        LabelError: a rate out of range, or wrong answers wanted where the truth has one node only.
    """

    def __init__(self, truth: Mapping[str, str], wrong_answer_rate: float = 0.0, seed: int = 0, labeller: str = "simulated") -> None:
        if not 0.0 <= wrong_answer_rate <= 1.0:
            raise LabelError(f"wrong answer rate {wrong_answer_rate} is out of range. Choose 0 to 1.")
        self._truth = truth
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
            yield LabelEvent(
                event_id=f"sim-{_number(f'{batch_id}{self._labeller}{product_id}{started_at_ms}'):032x}",
                answered_at_ms=now_ms,
                labeller=self._labeller,
                product_id=product_id,
                kind=IS if node_id else CANNOT_TELL,
                node_id=node_id,
                group=str(item.get("group") or ""),
                duration_ms=duration_ms,
                shown=_shown(item, batch_id),
            )

    def _node(self, product_id: str, item: Mapping[str, Any], rng: np.random.Generator) -> str:
        right = self._truth.get(product_id, "")
        if not right or rng.random() >= self._rate:
            return right
        suggested = [node_id for node_id in suggested_nodes(item) if node_id != right]
        if suggested and rng.random() < _MISLED_RATE:
            return suggested[0]
        others = [node_id for node_id in self._nodes if node_id != right]
        return others[int(rng.integers(len(others)))]


def suggested_nodes(item: Mapping[str, Any]) -> list[str]:
    """Returns the node ids suggested for an item of a batch, best first."""
    return [str(suggestion["node_id"]) for suggestion in item.get("suggestions") or () if suggestion.get("node_id")]


def _shown(item: Mapping[str, Any], batch_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {name: item.get(name) for name in ("strategy", "stream", "version")}
    shown |= {"batch": batch_id, "suggestions": suggested_nodes(item)}
    return {name: value for name, value in shown.items() if value}


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
