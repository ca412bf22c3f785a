"""Reads Google Shopping feeds: RSS items or Atom entries, with or without the `g:` prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

from components.feeds.contract import FeedOptions, RawRow, RefusedRow, shorten
from schemas.errors import CatalogueError

# Google's names for our fields, used where a network maps no columns.
GOOGLE_COLUMNS = {
    "id": "g:id",
    "title": "g:title",
    "brand": "g:brand",
    "category": "g:google_product_category",
    "merchant_category": "g:product_type",
    "description": "g:description",
    "gender": "g:gender",
    "size": "g:size",
    "colour": "g:color",
    "price": "g:price",
    "image": "g:image_link",
}
_ITEMS = ("item", "entry")
_ITEM_START = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?(?:item|entry)[\s>]")
_CHUNK_BYTES = 1 << 18
_LONGEST_START = 64


class _ForbiddenEntity(Exception):
    """The document declares entities of its own, the way to blow up or to read other files."""


class _Parser:
    """Collects the items of one stretch of XML; one per stretch, because expat stops for good at an error."""

    def __init__(self, encoding: str | None, ancestors: list[str]) -> None:
        self.items: list[dict[str, str] | None] = []
        self.inside = False
        self.unclosed = 0
        self.ancestors: list[str] = []
        self.encoding = encoding
        self.error_offset = 0
        self._level = 0
        self._fields: dict[str, str] = {}
        self._parts: list[str] = []
        self._name = ""
        self._expat = expat.ParserCreate(encoding)
        self._expat.buffer_text = True
        self._expat.UseForeignDTD(True)  # So that an undefined &nbsp; is skipped, not an error.
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._parts.append
        self._expat.XmlDeclHandler = self._declaration
        self._expat.EntityDeclHandler = self._forbid
        self._expat.ExternalEntityRefHandler = _skip_external
        self._expat.SkippedEntityHandler = self._skipped_entity
        self._fed = 0
        if ancestors:
            self.feed("".join(f"<{name}>" for name in ancestors).encode("ascii", "ignore"))

    def feed(self, data: bytes, last: bool = False) -> None:
        """Parses on; raises ExpatError with `error_offset` relative to `data`."""
        before, self._fed = self._fed, self._fed + len(data)
        try:
            self._expat.Parse(data, last)
        except expat.ExpatError:
            self.error_offset = max(0, self._expat.ErrorByteIndex - before)
            raise

    def take(self) -> list[dict[str, str] | None]:
        """Returns the items since the last call; None is one that was never closed."""
        items, self.items = self.items, []
        return items

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.inside:
            if _local(name) in _ITEMS:
                self.inside, self._level, self._fields = True, 0, {}
            else:
                self.ancestors.append(name)
            return
        if self._level == 0 and _local(name) in _ITEMS:
            self.items.append(None)
            self.unclosed += 1
            self._fields = {}
            return
        self._level += 1
        if self._level == 1:
            self._name = name
            self._parts.clear()

    def _end(self, name: str) -> None:
        if not self.inside:
            self.ancestors.pop()
            self._parts.clear()
        elif self._level == 0:
            self.items.append(self._fields)
            self.inside = False
        else:
            if self._level == 1:
                text = "".join(self._parts)
                if text and not text.isspace():
                    self._fields.setdefault(_local(self._name), text)
                self._parts.clear()
            elif self._level == 2:
                self._parts.clear()
            self._level -= 1

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        self.encoding = self.encoding or encoding

    def _skipped_entity(self, name: str, is_parameter: int) -> None:
        self._parts.append(f"&{name};")

    def _forbid(self, *_: Any) -> None:
        raise _ForbiddenEntity


def _skip_external(*_: Any) -> int:
    return 1


def _local(name: str) -> str:
    return name[name.rfind(":") + 1 :]


def read_google_xml(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the items of a feed. Columns are the elements' names, `g:id` or `id` alike; the first filled one counts.

    Where the XML is broken, the item it broke in is refused with the place, and reading goes on at the next item. HTML's
    entities (`&nbsp;`) are let through though XML doesn't know them. Elements inside elements (shipping) are skipped.

    Raises:
        CatalogueError: the document declares its own entities, or its encoding is unknown.
    """
    columns = [_local(column) for column in options.columns]
    for number, found in enumerate(_items(stream, feed, options), 1):
        if isinstance(found, str):
            yield RefusedRow(feed, number, "", "row", found, "a well-formed item")
        else:
            yield RawRow(number, [found.get(column) for column in columns])


def _items(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[dict[str, str] | str]:
    """Yields each item's fields, or what was found where one is broken."""
    parser = _Parser(None if options.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else options.encoding, [])
    start = 0  # Offset of `data` in the file.
    data, last = b"", False
    while not last:
        data = stream.read(_CHUNK_BYTES)
        last = not data
        while True:
            try:
                parser.feed(data, last)
                error = ""
            except expat.ExpatError as problem:
                error = f"{expat.ErrorString(problem.code)} at byte {start + parser.error_offset}"
                _check_encoding(problem, feed)
            except _ForbiddenEntity:
                raise CatalogueError(f"{feed}: the document declares entities of its own, which isn't safe. Remove its DOCTYPE.") from None
            except LookupError:
                raise CatalogueError(f"{feed}: its XML declaration names an unknown encoding. Set the network's encoding.") from None
            for item in parser.take():
                yield "an item that is never closed" if item is None else item
            if not error or (parser.unclosed and not parser.inside):
                break  # An unclosed item, refused already, leaves the end tags after the last item unmatched.
            yield shorten(error)
            data, start = _next_item(data, parser.error_offset, start, stream)
            if not data:
                return
            last = False
            parser = _Parser(parser.encoding, parser.ancestors)
        start += len(data)


def _check_encoding(problem: expat.ExpatError, feed: str) -> None:
    if problem.code == expat.errors.codes[expat.errors.XML_ERROR_UNKNOWN_ENCODING]:
        raise CatalogueError(f"{feed}: its XML declaration names an unknown encoding. Set the network's encoding.") from None


def _next_item(data: bytes, offset: int, start: int, stream: BinaryIO) -> tuple[bytes, int]:
    """Reads on to the start of the next item: what follows, empty at the end of the file, and where that is in the file."""
    position = offset + 1
    while True:
        match = _ITEM_START.search(data, max(0, position))
        if match:
            return data[match.start() :], start + match.start()
        more = stream.read(_CHUNK_BYTES)
        if not more:
            return b"", start
        kept = data[-_LONGEST_START:] if len(data) - position > _LONGEST_START else data[max(0, position) :]
        start, data, position = start + len(data) - len(kept), kept + more, 0
