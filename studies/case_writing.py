"""Writes a configured catalogue whose truth is known as the folder that studies read."""

import pipeline.quiet  # noqa: F401, I001 - must come before Beam

import argparse
import gzip
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from components.feeds.products import ProductBatch, read_batches
from components.product_ingest import is_test, read_split
from pipeline.commands.batch import read_truth
from pipeline.inputs import network_feeds, resolved
from schemas.errors import CatalogueError
from schemas.grouping import group_key, split_of
from schemas.product import DEV, ID, TEST
from schemas.rules import load_rules, write_rules
from schemas.settings import Settings
from schemas.settings_loader import load_settings
from schemas.taxonomy import Taxonomy, load_taxonomy, write_taxonomy
from studies.corruption import Products

FEED, TAXONOMY, RULES, GOLD = "feed.jsonl.gz", "taxonomy.tsv", "rules.tsv", "gold.tsv"


def case(args: argparse.Namespace) -> int:
    """Does what `aisle study case` was asked, and returns the exit code."""
    folder: Path = args.out.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CatalogueError(f"{folder}: this isn't an empty folder. Name one that is empty or isn't there yet with --out.")
    settings = resolved(load_settings(args.config, args.overrides))
    # Of an id that was sent twice ingest keeps the last row, and so does this.
    batches = list(_read(settings))
    products = {product[ID]: dict(product) for batch in batches for product in batch.products}
    tree = load_taxonomy(Path(settings.taxonomy.path))
    truth = _truth(args.truth, tree)
    splits = _splits([product for product_id, product in products.items() if product_id in truth], settings)
    if not splits:
        raise CatalogueError(f"{args.truth}: names none of the {len(products):,} products of the feeds. Give the truth about these.")
    rules = load_rules(Path(settings.rules.path), tree) if settings.rules.path else []
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        write_feed(list(products.values()), partial)
        write_taxonomy(partial / TAXONOMY, tree)
        write_rules(partial / RULES, rules)
        (partial / GOLD).write_text(_gold(truth, splits), encoding="utf-8")
        partial.replace(folder)
    except OSError as error:
        raise CatalogueError(f"{folder}: can't be written: {error.strerror}. Name a folder you may write to with --out.") from None
    num_dev = sum(split == DEV for split in splits.values())
    sys.stdout.write(
        f"{len(products):,} products, the truth known of {len(splits):,}: {num_dev:,} dev, {len(splits) - num_dev:,} test\n"
        f"{sum(len(batch.refused) for batch in batches):,} rows refused, as a run refuses them; "
        f"{len(truth) - len(splits):,} products of the truth aren't in the feeds; pictures stay where they are\n"
        f"next: aisle study replay --case {folder} --out replay.jsonl\n"
    )
    return 0


def _truth(path: Path, tree: Taxonomy) -> dict[str, str]:
    truth = read_truth(path)
    for product_id, node_id in truth.items():
        if tree.resolve(node_id) not in tree:
            raise CatalogueError(f"{path}: the node {node_id!r} of product {product_id!r} isn't in the taxonomy. Name one of its nodes.")
    return truth


def _splits(products: Products, settings: Settings) -> dict[str, str]:
    """Returns the split of each product by its id, as ingest with these settings decides it."""
    share, seed = settings.ingest.test_share, settings.run.seed
    if not settings.ingest.split:
        return {product[ID]: split_of(group_key(product), share, seed) for product in products}
    test_ids = read_split(settings.ingest.split)
    return {product[ID]: TEST if is_test(product[ID], test_ids) else DEV for product in products}


def _gold(truth: Mapping[str, str], splits: Mapping[str, str]) -> str:
    rows = (f"{product_id}\t{truth[product_id]}\t{split}\n" for product_id, split in splits.items())
    return "product_id\tnode_id\tsplit\n" + "".join(rows)


def feed_products(settings: Settings) -> Products:
    """Returns the rows of the feeds that can be used, cleaned as ingest cleans them; the settings are `resolved`.

    Raises:
        AisleError: a feed can't be read.
    """
    return [dict(product) for batch in _read(settings) for product in batch.products]


def _read(settings: Settings) -> Iterator[ProductBatch]:
    for feeds in network_feeds(settings):
        for file in feeds.files:
            yield from read_batches(feeds.network, feeds.settings, file)


def write_feed(products: Products, folder: Path) -> None:
    """Writes the products as a case's feed, the same bytes for the same products; the folder is made if it isn't there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FEED).open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, compresslevel=1) as stream:
        for product in products:
            stream.write((json.dumps(product, ensure_ascii=False) + "\n").encode())
