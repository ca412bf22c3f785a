"""Writes a whole demo catalogue to a folder: feeds, pictures, tree, rules, truth, first answers and configuration."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from pipeline.demo.answers import first_answers, split_by_product
from pipeline.demo.breakage import FeedRow, feed_rows
from pipeline.demo.configuration import configuration_text
from pipeline.demo.feeds import write_feed
from pipeline.demo.missing_titles import is_titleless, leave_out_titles
from pipeline.demo.pictures import draw_pictures
from pipeline.demo.readme import readme_text
from pipeline.demo.rules import write_down_rules
from pipeline.demo.stock import stock_shops
from pipeline.demo.summary import CatalogueSummary
from pipeline.demo.tree import demo_tree
from schemas.errors import CatalogueError
from schemas.label_event import write_label_events
from schemas.product import DEV, TEST
from schemas.rules import write_rules
from schemas.taxonomy import write_taxonomy

DEFAULT_PRODUCTS, MIN_PRODUCTS, MAX_PRODUCTS = 6000, 50, 1_000_000
CONFIGURATION, TAXONOMY, RULES, TRUTH, EVENTS, README = (
    "aisle.yaml", "taxonomy.tsv", "rules.tsv", "truth.tsv", "label_events.jsonl", "README.md",
)  # fmt: skip
_FOLDERS = ("feeds", "images")
_OWN = {CONFIGURATION, TAXONOMY, RULES, TRUTH, EVENTS, README, *_FOLDERS}
Progress = Callable[[str], None]


def write_demo_catalogue(
    folder: Path,
    *,
    num_products: int = DEFAULT_PRODUCTS,
    seed: int = 0,
    force: bool = False,
    progress: Progress = lambda step: None,
) -> CatalogueSummary:
    """Writes a catalogue and returns what is in it; the same seed and number give the same bytes.

    Args:
        folder: where to; made if it isn't there.
        num_products: offers, broken ones included.
        seed: of every random choice.
        force: replace an earlier demo catalogue in the folder. Files that a catalogue doesn't have stay.
        progress: told each step as it starts.

    Raises:
        CatalogueError: the folder isn't empty, can't be written, or the number is out of range.
    """
    if not MIN_PRODUCTS <= num_products <= MAX_PRODUCTS:
        raise CatalogueError(f"--products {num_products} is out of range. Choose {MIN_PRODUCTS} to {MAX_PRODUCTS}.")
    try:
        _make_room(folder, force)
        return _write(folder, num_products, seed, progress)
    except OSError as error:
        raise CatalogueError(f"{folder}: can't be written: {error.strerror}. Name a folder you may write to.") from error


def _run_name(num_products: int, seed: int) -> str:
    """Other catalogues have other names, so that the products and answers of one never end in the folders of another."""
    return "demo" if (num_products, seed) == (DEFAULT_PRODUCTS, 0) else f"demo-{num_products}-{seed}"


def _make_room(folder: Path, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise CatalogueError(f"{folder}: this is a file. Name a folder that is empty or isn't there yet.")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if found and not force:
        raise CatalogueError(f"{folder}: the folder isn't empty. Name an empty one, or replace the catalogue in it with --force.")
    if found and not _is_catalogue(found):
        raise CatalogueError(f"{folder}: --force only replaces a demo catalogue, and this isn't one. Name an empty folder.")
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)


def _is_catalogue(found: set[str]) -> bool:
    """A whole catalogue, whatever else is in the folder; or what an interrupted one left, and nothing else."""
    return found >= _OWN or found <= _OWN


def _write(folder: Path, num_products: int, seed: int, progress: Progress) -> CatalogueSummary:
    # Each part has its own stream of chance, so that a change in one leaves the others as they are.
    stock_rng, rows_rng, rules_rng, answers_rng, pictures_rng, titles_rng = np.random.default_rng(seed).spawn(6)
    tree = demo_tree()
    progress("products")
    stock = stock_shops(tree, num_products, stock_rng)
    rows = leave_out_titles(feed_rows(stock.offers, rows_rng), titles_rng)
    progress("feeds")
    num_feeds = _write_feeds(folder, rows)
    progress("rules and answers")
    rules = write_down_rules(tree, stock.brands, Counter(offer.node_id for offer in stock.offers), rules_rng)
    write_taxonomy(folder / TAXONOMY, tree.taxonomy)
    write_rules(folder / RULES, rules)
    splits, num_events = _write_answers(folder, rows, answers_rng)
    progress("pictures")
    num_pictures = draw_pictures(folder, stock.pictures, tree, pictures_rng)
    summary = CatalogueSummary(
        products=len(splits),
        rows=len(rows),
        broken=sum(bool(row.fault) for row in rows),
        titleless=sum(map(is_titleless, rows)),
        twice=sum(row.stale for row in rows),
        articles=len({offer.article.number for offer in stock.offers}),
        shops=len({offer.shop.name for offer in stock.offers}),
        feeds=num_feeds,
        pictures=num_pictures,
        nodes=len(tree.taxonomy),
        answer_nodes=len(tree.answers),
        depth=max(tree.taxonomy.depths),
        rules=len(rules),
        dev=sum(split == DEV for split in splits.values()),
        test=sum(split == TEST for split in splits.values()),
        events=num_events,
    )
    (folder / CONFIGURATION).write_text(configuration_text(_run_name(num_products, seed)), encoding="utf-8")
    (folder / README).write_text(readme_text(summary, seed), encoding="utf-8")
    return summary


def _write_answers(folder: Path, rows: Sequence[FeedRow], rng: np.random.Generator) -> tuple[dict[str, str], int]:
    """Writes the truth and the first answers; returns the split of each usable product, and how many answers there are."""
    truth = {row.offer.id: row.offer.node_id for row in rows if not row.fault}
    lines = "".join(f"{product_id}\t{node_id}\n" for product_id, node_id in truth.items())
    (folder / TRUTH).write_text(f"product_id\tnode_id\n{lines}", encoding="utf-8")
    splits = split_by_product(rows)
    return splits, write_label_events(folder / EVENTS, first_answers(truth, splits, rng))


def _write_feeds(folder: Path, rows: Sequence[FeedRow]) -> int:
    by_shop = sorted(rows, key=lambda row: row.offer.shop.name)
    groups = [(shop, list(shop_rows)) for shop, shop_rows in groupby(by_shop, key=lambda row: row.offer.shop)]
    return len([write_feed(folder, shop, shop_rows) for shop, shop_rows in groups])
