"""Decides which rows of a feed are broken, and which ids are sent twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.demo.offers import Offer
from pipeline.demo.shops import NETWORK_A, NETWORK_B, NETWORK_C
from schemas import product as names

FAULT_RATE, TWICE_RATE = 0.018, 0.007
FEW_FIELDS, MANY_FIELDS, NO_ID, NO_TEXT = "few_fields", "many_fields", "no_id", "no_text"
CUT_LINE, BAD_BYTES, NOT_AN_OBJECT, BROKEN_XML = "cut_line", "bad_bytes", "not_an_object", "broken_xml"
# What can go wrong in which network's format. Every byte is Latin-1, so bytes that don't decode need UTF-8.
FAULTS = {
    NETWORK_A: (FEW_FIELDS, MANY_FIELDS, NO_ID),
    NETWORK_B: (NO_ID, NO_TEXT, BROKEN_XML),
    NETWORK_C: (CUT_LINE, BAD_BYTES, NO_ID, NOT_AN_OBJECT),
}


@dataclass(frozen=True)
class FeedRow:
    """One row of a feed. `fault` is empty where the row can be used; `stale` rows are sent again later, corrected."""

    offer: Offer
    fault: str = ""
    stale: bool = False


def feed_rows(offers: Iterable[Offer], rng: np.random.Generator) -> list[FeedRow]:
    """Returns the rows of the offers in order, some of them broken, some of them preceded by an outdated one."""
    rows: list[FeedRow] = []
    corrections: list[FeedRow] = []
    for offer in offers:
        chance = rng.random()
        if chance < FAULT_RATE:
            faults = FAULTS[offer.shop.network]
            rows.append(FeedRow(offer, faults[int(rng.integers(len(faults)))]))
        elif chance < FAULT_RATE + TWICE_RATE:
            rows.append(FeedRow(_outdated(offer), stale=True))
            corrections.append(FeedRow(offer))
        else:
            rows.append(FeedRow(offer))
    return rows + corrections


def _outdated(offer: Offer) -> Offer:
    texts = {**offer.texts, names.TITLE: f"{offer.texts[names.TITLE]} (old)"}
    return replace(offer, texts=texts, price_cents=offer.price_cents * 2)
