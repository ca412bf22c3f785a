"""Stocks the demo's shops: draws articles, decides which shops offer each, and numbers the offers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.demo.articles import Article, ArticleSource
from pipeline.demo.brands import Brand, invent_brands
from pipeline.demo.offers import Offer, ShopDesk
from pipeline.demo.shops import SHOPS
from pipeline.demo.tree import DemoTree

_NUM_BRANDS = 150
# An article is offered by 1 / _ONE_SHOP_SHARE shops on average, fewer where few sell such things.
_ONE_SHOP_SHARE = 0.38
_MAX_PICTURES = 2500
_PICTURE_SUFFIX = ".jpg"


@dataclass(frozen=True)
class Stock:
    """Everything on offer: offers in the order of their numbers, which article each picture shows, and who makes what."""

    offers: list[Offer]
    pictures: dict[str, Article]
    brands: list[Brand]


def stock_shops(tree: DemoTree, num_products: int, rng: np.random.Generator) -> Stock:
    """Returns `num_products` offers, near-duplicate offers of one article included."""
    brands = invent_brands(tree, _NUM_BRANDS, rng)
    source = ArticleSource(tree, brands, rng)
    desks = [ShopDesk(shop, tree, rng) for shop in SHOPS]
    sellers = {node_id: [desk for desk in desks if node_id in desk.sold] for node_id in tree.answers}
    album = _Album()
    offers: list[Offer] = []
    number = 0
    while len(offers) < num_products:
        number += 1
        article = source.draw(number)
        for desk in _sellers_of(article, sellers[article.node_id], rng)[: num_products - len(offers)]:
            letter = desk.shop.network[0].upper()
            offers.append(desk.offer(f"{letter}-{len(offers) + 1:06d}", article, album.picture_of(article)))
    return Stock(offers, album.pictures, brands)


def _sellers_of(article: Article, desks: list[ShopDesk], rng: np.random.Generator) -> list[ShopDesk]:
    count = min(int(rng.geometric(_ONE_SHOP_SHARE)), len(desks))
    return [desks[i] for i in rng.choice(len(desks), size=count, replace=False)]


class _Album:
    """Gives each article a picture of its own while there is room, then one of the same category and colour."""

    def __init__(self) -> None:
        self.pictures: dict[str, Article] = {}
        self._of_article: dict[int, str] = {}
        self._alike: dict[tuple[str, str], str] = {}

    def picture_of(self, article: Article) -> str:
        path = self._of_article.get(article.number)
        if path is None:
            path = self._new(article) if len(self.pictures) < _MAX_PICTURES else self._alike.get((article.node_id, article.colour), "")
            self._of_article[article.number] = path
        return path

    def _new(self, article: Article) -> str:
        path = f"images/{len(self.pictures) + 1:04d}{_PICTURE_SUFFIX}"
        self.pictures[path] = article
        return self._alike.setdefault((article.node_id, article.colour), path) and path
