"""Leaves out the titles of some products, as shops do whose feeds say what a thing is in other fields only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pipeline.demo.breakage import FeedRow
from pipeline.demo.offers import Offer
from schemas import product as names

# A description isn't counted: it may be a placeholder, which says nothing.
_TELLING = (names.BRAND, names.IMAGE)


def leave_out_titles(rows: Iterable[FeedRow], rng: np.random.Generator) -> list[FeedRow]:
    """Returns the rows in order, some without a title, as often as their shops do; something else still describes each of those.

    Broken rows keep theirs, where some faults show, and so do outdated ones, which say there that they are.
    """
    return [
        replace(row, offer=_without_title(row.offer)) if _may_lose_title(row) and rng.random() < row.offer.shop.missing_title_rate else row
        for row in rows
    ]


def is_titleless(row: FeedRow) -> bool:
    """Returns whether a row is a product that can be used and has no title."""
    return not row.fault and not row.offer.texts[names.TITLE]


def _may_lose_title(row: FeedRow) -> bool:
    offer = row.offer
    return not row.fault and not row.stale and (any(offer.texts[name] for name in _TELLING) or any(offer.paths.values()))


def _without_title(offer: Offer) -> Offer:
    return replace(offer, texts={**offer.texts, names.TITLE: ""})
