"""Counts what is in a demo catalogue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CatalogueSummary:
    """How much of everything there is.

    `products` are those that can be used; `titleless` ones, without a title, are among them; `rows` are all rows of all feeds.
    """

    products: int
    rows: int
    broken: int
    titleless: int
    twice: int
    articles: int
    shops: int
    feeds: int
    pictures: int
    nodes: int
    answer_nodes: int
    depth: int
    rules: int
    dev: int
    test: int
    events: int
