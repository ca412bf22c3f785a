"""Writes the demo's feeds: one file a shop, each network in its own format, columns and separators."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from pipeline.demo.breakage import BAD_BYTES, BROKEN_XML, CUT_LINE, FEW_FIELDS, MANY_FIELDS, NO_ID, NO_TEXT, NOT_AN_OBJECT, FeedRow
from pipeline.demo.shops import NETWORK_A, NETWORK_B, NETWORK_C, Shop
from schemas import product as names
from schemas.settings import NetworkSettings
from schemas.text import fold

# What a run must be told about each network; `configuration.py` writes it down.
NETWORKS: dict[str, NetworkSettings] = {
    NETWORK_A: NetworkSettings(
        format="csv",
        feeds=("feeds/alpha/*.csv",),
        columns={
            names.ID: "artikelnr",
            names.SHOP: "haendler",
            names.TITLE: "bezeichnung",
            names.BRAND: "marke",
            names.CATEGORY: "kategorie",
            names.MERCHANT_CATEGORY: "warengruppe",
            names.DESCRIPTION: "beschreibung",
            names.GENDER: "zielgruppe",
            names.SIZE: "groesse",
            names.COLOUR: "farbe",
            names.PRICE: "preis",
            names.IMAGE: "bild",
        },
        encoding="latin-1",
        delimiter=";",
        category_separator=">",
        decimal_comma=True,
    ),
    NETWORK_B: NetworkSettings(
        format="google_xml",
        feeds=("feeds/bravo/*.xml", "feeds/bravo/*.xml.gz"),
        columns={
            names.ID: "g:id",
            names.SHOP: "g:custom_label_0",
            names.TITLE: "g:title",
            names.BRAND: "g:brand",
            names.CATEGORY: "g:google_product_category",
            names.MERCHANT_CATEGORY: "g:product_type",
            names.DESCRIPTION: "g:description",
            names.GENDER: "g:gender",
            names.SIZE: "g:size",
            names.COLOUR: "g:color",
            names.PRICE: "g:price",
            names.IMAGE: "g:image_link",
        },
        category_separator=">",
    ),
    NETWORK_C: NetworkSettings(
        format="jsonl",
        feeds=("feeds/charlie/*.jsonl", "feeds/charlie/*.jsonl.gz"),
        columns={
            names.ID: "sku",
            names.SHOP: "merchant",
            names.TITLE: "name",
            names.BRAND: "maker",
            names.CATEGORY: "department",
            names.MERCHANT_CATEGORY: "shop_path",
            names.DESCRIPTION: "text",
            names.GENDER: "target_group",
            names.SIZE: "dimension",
            names.COLOUR: "tint",
            names.PRICE: "amount",
            names.IMAGE: "picture",
        },
        category_separator="//",
    ),
}
_SEPARATORS = {NETWORK_A: " > ", NETWORK_B: " > ", NETWORK_C: " // "}
# What a row that can't be used leaves empty.
_EMPTY_BY_FAULT: dict[str, tuple[str, ...]] = {NO_ID: (names.ID,), NO_TEXT: names.DESCRIBING_FIELDS}
_SUFFIXES = {NETWORK_A: ".csv", NETWORK_B: ".xml", NETWORK_C: ".jsonl"}


def feed_path(shop: Shop) -> str:
    """Returns where a shop's feed is, relative to the catalogue's folder."""
    words = "-".join(fold(shop.name).split())
    return f"feeds/{shop.network}/{words}{_SUFFIXES[shop.network]}{'.gz' if shop.gz else ''}"


def write_feed(folder: Path, shop: Shop, rows: Sequence[FeedRow]) -> Path:
    """Writes one shop's feed and returns its path."""
    path = folder / feed_path(shop)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _WRITERS[shop.network](shop, rows)
    # Neither the time nor the name goes into the file, so that a seed always gives the same bytes.
    path.write_bytes(gzip.compress(content, mtime=0) if shop.gz else content)
    return path


def fields_of(row: FeedRow) -> dict[str, str]:
    """Returns the row's text for each product field, as its network writes it, before any fault but missing ones."""
    offer, network = row.offer, row.offer.shop.network
    separator = offer.shop.separator or _SEPARATORS[network]
    fields = {name: "" for name in NETWORKS[network].columns}
    fields |= {names.ID: offer.id, names.SHOP: offer.shop.name, names.PRICE: _price(offer.price_cents, network)}
    fields |= dict(offer.texts) | {name: separator.join(levels) for name, levels in offer.paths.items()}
    return fields | dict.fromkeys(_EMPTY_BY_FAULT.get(row.fault, ()), "")


def _price(cents: int, network: str) -> str:
    whole, rest = divmod(cents, 100)
    if network == NETWORK_A:
        return f"{whole:,}".replace(",", ".") + f",{rest:02d}"
    return f"{whole}.{rest:02d} EUR" if network == NETWORK_B else f"{whole}.{rest:02d}"


def _columns_of(row: FeedRow) -> dict[str, str]:
    columns: Mapping[str, str] = NETWORKS[row.offer.shop.network].columns
    fields = fields_of(row)
    return {column: fields[name] for name, column in columns.items()}


def _csv_content(shop: Shop, rows: Sequence[FeedRow]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(NETWORKS[shop.network].columns.values())
    for row in rows:
        values = list(_columns_of(row).values())
        if row.fault == FEW_FIELDS:
            values = values[:5]
        elif row.fault == MANY_FIELDS:
            values[3:3] = ["Sonderposten", "B-Ware"]
        writer.writerow(values)
    return text.getvalue().encode("latin-1", "xmlcharrefreplace")


def _xml_content(shop: Shop, rows: Sequence[FeedRow]) -> bytes:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0">',
        "<channel>",
        f"<title>{escape(shop.name)}</title>",
        "<description>Demo feed</description>",
    ]
    for row in rows:
        lines.append(_xml_item(row))
    return "\n".join([*lines, "</channel>", "</rss>", ""]).encode()


def _xml_item(row: FeedRow) -> str:
    values = {column: value for column, value in _columns_of(row).items() if value}
    item = "<item>" + "".join(f"<{tag}>{escape(value)}</{tag}>" for tag, value in values.items()) + "</item>"
    return item.replace("</g:title>", " for < 10 & more</g:title>", 1) if row.fault == BROKEN_XML else item


def _jsonl_content(shop: Shop, rows: Sequence[FeedRow]) -> bytes:
    return b"".join(_json_line(row) + b"\n" for row in rows)


def _json_line(row: FeedRow) -> bytes:
    columns = NETWORKS[row.offer.shop.network].columns
    values: dict[str, object] = {column: value for column, value in _columns_of(row).items() if value}
    # This network writes numbers as numbers, and says null for some things it doesn't know.
    values[columns[names.PRICE]] = row.offer.price_cents / 100
    if row.offer.article.number % 3 == 0:
        values.setdefault(columns[names.BRAND], None)
    if row.fault == NOT_AN_OBJECT:
        return json.dumps(list(values.values()), ensure_ascii=False).encode()
    line = json.dumps(values, ensure_ascii=False).encode()
    if row.fault == CUT_LINE:
        return line[: len(line) * 2 // 3].rstrip(b"\xc3")
    if row.fault == BAD_BYTES:
        return line.replace(b'"name": "', b'"name": "\xff\xfe\xe9', 1)
    return line


_WRITERS: dict[str, Callable[[Shop, Sequence[FeedRow]], bytes]] = {
    NETWORK_A: _csv_content,
    NETWORK_B: _xml_content,
    NETWORK_C: _jsonl_content,
}
