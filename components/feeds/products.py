"""Turns a network's feed into cleaned products, by the network's mapping."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from components.feeds.contract import FeedOptions, FeedReader, RawRow, RefusedRow, shorten
from components.feeds.delimited import read_delimited
from components.feeds.files import open_feed
from components.feeds.google_xml import GOOGLE_COLUMNS, read_google_xml
from components.feeds.json_lines import read_json_lines
from components.feeds.parquet import read_parquet
from schemas.cleaning import MAX_ID_LENGTH, Problem, Product, as_text, clean_price, clean_vector, text_cleaner
from schemas.errors import CatalogueError
from schemas.image_place import EXPECTED as IMAGE_EXPECTED
from schemas.image_place import leaves_catalogue
from schemas.product import (
    CATEGORY,
    DESCRIBING_FIELDS,
    DESCRIPTION,
    FIELDS,
    ID,
    IMAGE,
    MERCHANT_CATEGORY,
    NETWORK,
    PRICE,
    REQUIRED_FIELDS,
    SHOP,
    TITLE,
)
from schemas.settings import NetworkSettings

READERS: dict[str, FeedReader] = {
    "csv": read_delimited,
    "tsv": read_delimited,
    "jsonl": read_json_lines,
    "google_xml": read_google_xml,
    "parquet": read_parquet,
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_DESCRIBING = frozenset(DESCRIBING_FIELDS)
_ALL_DIFFERENT = (ID, TITLE, DESCRIPTION, IMAGE)
# A cache of thousands of values must hold no long ones.
_LONGEST_CACHED = 500
# Codecs that aren't for texts of any length: they take time by the square of it, or refuse everything.
_NO_ENCODINGS = ("idna", "punycode", "undefined")


@dataclass
class ProductBatch:
    """Some rows of one feed: `rows` read in all; `blanked` are values left out of products that stay, each with its row."""

    rows: int = 0
    products: list[Product] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    blanked: list[tuple[int, Problem]] = field(default_factory=list)


class NetworkMapping:
    """Makes a product of a raw row; one per network.

    Raises:
        CatalogueError: a mapping to an unknown field, none for `id` or for any that describes it, or an unknown encoding.
    """

    def __init__(self, network: str, settings: NetworkSettings, dense: Mapping[str, int] | None = None) -> None:
        self._place = f"networks.{network}"
        dense = dense or {}
        columns = dict(settings.columns) or self._default_columns(settings, dense)
        self._check(columns, settings, dense)
        self._constants = self._clean_constants(settings, network)
        self._dense = {name: size for name, size in dense.items() if name in columns}
        self.fields = tuple(columns)
        self.options = FeedOptions(
            columns=tuple(columns.values()),
            optional=frozenset() if settings.columns else frozenset(columns.values()) - {ID, TITLE},
            encoding=settings.encoding,
            delimiter=settings.delimiter or _DELIMITERS.get(settings.format, ","),
        )
        self._texts = [
            (position, name, _cleaner(name, settings.category_separator), " > " if name in (CATEGORY, MERCHANT_CATEGORY) else ", ")
            for position, name in enumerate(columns)
            if name != PRICE and name not in self._dense
        ]
        self._numbers = [(position, name) for position, name in enumerate(columns) if name == PRICE or name in self._dense]
        self._decimal_comma = settings.decimal_comma
        self._required = {name: columns.get(name, name) for name in REQUIRED_FIELDS}

    @property
    def shop(self) -> str:
        """The shop that every row without one belongs to, `''` where none is set."""
        return str(self._constants.get(SHOP, ""))

    @staticmethod
    def _default_columns(settings: NetworkSettings, dense: Mapping[str, int]) -> dict[str, str]:
        if settings.format == "google_xml":
            return {**GOOGLE_COLUMNS, **{name: name for name in dense}}
        return {name: name for name in (*FIELDS, *dense) if name not in settings.constants}

    def _check(self, columns: Mapping[str, str], settings: NetworkSettings, dense: Mapping[str, int]) -> None:
        known = (*FIELDS, *dense)
        for name in (*columns, *settings.constants):
            if name not in known:
                raise CatalogueError(f"{self._place}: {name!r} isn't a field of a product. Known: {', '.join(known)}.")
        for name in REQUIRED_FIELDS:
            if name not in columns:
                raise CatalogueError(f"{self._place}.columns: {name} must be mapped to a column. Found: {', '.join(columns)}.")
        if _DESCRIBING.isdisjoint(columns):
            raise CatalogueError(
                f"{self._place}.columns: none of {', '.join(DESCRIBING_FIELDS)} is mapped to a column. Map title at least."
            )
        if len(settings.delimiter) > 1 or settings.delimiter in ("\n", "\r", "\0", '"'):
            raise CatalogueError(f"{self._place}.delimiter: {settings.delimiter!r} must be one character, such as ';'.")
        if not _is_for_text(settings.encoding):
            raise CatalogueError(f"{self._place}.encoding: {settings.encoding!r} is unknown. Use utf-8, latin-1 or cp1252.")

    def _clean_constants(self, settings: NetworkSettings, network: str) -> Product:
        cleaned: Product = {}
        for name, value in {NETWORK: network, **settings.constants}.items():
            if name == PRICE:
                cleaned.update(self._constant_price(value, settings))
            elif text := text_cleaner(name, settings.category_separator)(as_text(value)):
                cleaned[name] = text
        return cleaned

    def _constant_price(self, value: str, settings: NetworkSettings) -> Product:
        try:
            price = clean_price(value, settings.decimal_comma)
        except ValueError as error:
            raise CatalogueError(f"{self._place}.constants: price {value!r} can't be used. Expected {error}.") from None
        return {} if price is None else {PRICE: price}

    def product(self, raw: RawRow, feed: str, blanked: list[tuple[int, Problem]]) -> Product | RefusedRow:
        """Returns the cleaned product, or why the row can't be used. Values that can't be read are added to `blanked`."""
        product: Product = {}
        values = raw.values
        for position, name, cleaner, separator in self._texts:
            value = values[position]
            if value is None or value == "":
                continue
            text = cleaner(value if value.__class__ is str else as_text(value, separator))
            if text:
                product[name] = text
        outside = product.pop(IMAGE) if IMAGE in product and leaves_catalogue(product[IMAGE]) else ""  # type: ignore[arg-type]
        for name, constant in self._constants.items():
            if name not in product:
                product[name] = constant
        if ID not in product or len(product[ID]) > MAX_ID_LENGTH or _DESCRIBING.isdisjoint(product):  # type: ignore[arg-type]
            return self._refused(raw, feed, product)
        if outside:
            blanked.append((raw.row, Problem(IMAGE, shorten(outside), IMAGE_EXPECTED)))
        for position, name in self._numbers:
            value = values[position]
            if value is not None and value != "":
                self._add_number(product, name, value, raw.row, blanked)
        return product

    def _add_number(self, product: Product, name: str, value: Any, row: int, blanked: list[tuple[int, Problem]]) -> None:
        try:
            cleaned = clean_price(value, self._decimal_comma) if name == PRICE else clean_vector(value, self._dense[name])
        except ValueError as error:
            blanked.append((row, Problem(name, shorten(as_text(value)), str(error))))
            product.pop(name, None)
            return
        if cleaned is not None:
            product[name] = cleaned

    def _refused(self, raw: RawRow, feed: str, product: Product) -> RefusedRow:
        shop = str(product.get(SHOP, ""))
        for name, column in self._required.items():
            if name not in product:
                found = as_text(raw.values[self.fields.index(name)]) if name in self.fields else ""
                return RefusedRow(feed, raw.row, shop, name, shorten(found), f"a text that says something in column {column!r}")
        if len(str(product[ID])) > MAX_ID_LENGTH:
            return RefusedRow(feed, raw.row, shop, ID, shorten(str(product[ID])), f"at most {MAX_ID_LENGTH} characters")
        image = as_text(raw.values[self.fields.index(IMAGE)]) if IMAGE in self.fields else ""
        if text_cleaner(IMAGE)(image):  # It was left out, else it would describe the row.
            return RefusedRow(feed, raw.row, shop, IMAGE, shorten(image), IMAGE_EXPECTED)
        title = as_text(raw.values[self.fields.index(TITLE)]) if TITLE in self.fields else ""
        return RefusedRow(feed, raw.row, shop, TITLE, shorten(title), f"something in at least one of {', '.join(DESCRIBING_FIELDS)}")

    def with_shop(self, refused: RefusedRow) -> RefusedRow:
        """Returns the refused row with the network's shop where the row's own is unknown."""
        return refused if refused.shop or not self.shop else refused._replace(shop=self.shop)


def _is_for_text(encoding: str) -> bool:
    try:
        "a".encode(encoding)  # Refuses hex and other codecs that aren't for texts.
        return codecs.lookup(encoding).name not in _NO_ENCODINGS
    except (LookupError, ValueError):
        return False


def _cleaner(name: str, category_separator: str) -> Callable[[str], str]:
    cleaner = text_cleaner(name, category_separator)
    if name in _ALL_DIFFERENT:
        return cleaner
    cached = lru_cache(maxsize=8192)(cleaner)  # Brands, shops, sizes and categories come again and again.
    return lambda text: cached(text) if len(text) <= _LONGEST_CACHED else cleaner(text)


def read_batches(
    network: str, settings: NetworkSettings, path: str | Path, batch_rows: int = 1000, dense: Mapping[str, int] | None = None
) -> Iterator[ProductBatch]:
    """Yields the products and refused rows of one feed, `batch_rows` rows at a time, in the order of the file.

    Raises:
        CatalogueError: the feed as a whole can't be read, or the mapping doesn't fit it. Names file and column.
    """
    mapping = NetworkMapping(network, settings, dense)
    feed = str(path)
    with open_feed(path) as stream:
        rows = READERS[settings.format](stream, feed, mapping.options)
        # One row as the file holds it at a time: cleaned ones are short.
        while (batch := _clean_batch(mapping, feed, islice(rows, batch_rows))).rows:
            yield batch


def _clean_batch(mapping: NetworkMapping, feed: str, rows: Iterator[RawRow | RefusedRow]) -> ProductBatch:
    batch = ProductBatch()
    for row in rows:
        batch.rows += 1
        found = mapping.product(row, feed, batch.blanked) if isinstance(row, RawRow) else mapping.with_shop(row)
        if isinstance(found, RefusedRow):
            batch.refused.append(found)
        else:
            batch.products.append(found)
            batch.row_numbers.append(row.row)
    return batch


def read_products(
    network: str, settings: NetworkSettings, path: str | Path, batch_rows: int = 1000, dense: Mapping[str, int] | None = None
) -> Iterator[tuple[list[Product], list[RefusedRow]]]:
    """Yields `(products, refused rows)` of one feed, `batch_rows` rows at a time, as `read_batches` does."""
    for batch in read_batches(network, settings, path, batch_rows, dense):
        yield batch.products, batch.refused
