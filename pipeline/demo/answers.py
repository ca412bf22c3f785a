"""Says what people have answered before the demo's first run: a few dev products, and every test product."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.demo.breakage import FeedRow
from pipeline.demo.feeds import NETWORKS, fields_of
from schemas.cleaning import clean_product
from schemas.grouping import group_key, split_of
from schemas.label_event import IS, LabelEvent
from schemas.product import DEV, TEST
from schemas.settings import IngestSettings, RunSettings

NUM_DEV_ANSWERS = 300
LABELLER = "demo-expert"
# 2024-01-01 00:00 UTC: before any answer of a real clock.
_FIRST_ANSWER_MS = 1_704_067_200_000


def split_by_product(rows: Iterable[FeedRow]) -> dict[str, str]:
    """Returns the split of each product that can be used, as a run with default settings makes it, in the order of the rows."""
    test_share, seed = IngestSettings().test_share, RunSettings().seed
    splits: dict[str, str] = {}
    for row in rows:
        if row.fault:
            continue
        network = NETWORKS[row.offer.shop.network]
        product = clean_product(fields_of(row), category_separator=network.category_separator, decimal_comma=network.decimal_comma)
        splits[row.offer.id] = split_of(group_key(product), test_share, seed)
    return splits


def first_answers(truth: Mapping[str, str], splits: Mapping[str, str], rng: np.random.Generator) -> list[LabelEvent]:
    """Returns `NUM_DEV_ANSWERS` answers about random dev products and one about each test product, in order of time."""
    dev = [product_id for product_id, split in splits.items() if split == DEV]
    picked = [dev[i] for i in rng.choice(len(dev), size=min(NUM_DEV_ANSWERS, len(dev)), replace=False)]
    judged = [product_id for product_id, split in splits.items() if split == TEST]
    return _events([*picked, *judged], truth, rng)


def _events(product_ids: Sequence[str], truth: Mapping[str, str], rng: np.random.Generator) -> list[LabelEvent]:
    durations = 1_500 + rng.gamma(2.0, 1_500.0, size=len(product_ids)).astype(int)
    moments = _FIRST_ANSWER_MS + durations.cumsum()
    return [
        LabelEvent(
            event_id=f"demo-{number:05d}",
            answered_at_ms=int(moment),
            labeller=LABELLER,
            product_id=product_id,
            kind=IS,
            node_id=truth[product_id],
            duration_ms=int(duration),
            shown={"strategy": "random"},
        )
        for number, (product_id, moment, duration) in enumerate(zip(product_ids, moments, durations, strict=True), 1)
    ]
