"""Reads Google Shopping feeds: RSS items or Atom entries, with or without the `g:` prefix."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

from components.feeds.contract import FeedOptions, RawRow, RefusedRow, shorten
from components.feeds.lines import MAX_ROW_LENGTH
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
_UTF8 = ("utf-8", "utf8")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Feeds nest items two or three deep, and an item's elements as deep again.
_MAX_DEPTH = 100
# Expat keeps every name it has seen.
_MAX_NAMES = 10_000


class _UnsafeDocument(Exception):
    """What the document does to blow up, or to read other files; none of it can be read over."""


class _TooMuch(Exception):
    """An item, or what is around the items, is too deep or too long."""


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
        self._expat.AttlistDeclHandler = self._forbid
        self._expat.ExternalEntityRefHandler = _skip_external
        self._expat.SkippedEntityHandler = self._skipped_entity
        self._fed = self._item_at = 0
        if ancestors:
            self.feed("".join(f"<{name}>" for name in ancestors).encode(encoding or "utf-8"))

    def feed(self, data: bytes, last: bool = False) -> None:
        """Parses on; raises ExpatError or _TooMuch with `error_offset` relative to `data`."""
        before, self._fed = self._fed, self._fed + len(data)
        try:
            self._expat.Parse(data, last)
            self._check_length()
        except expat.ExpatError:
            self.error_offset = max(0, self._expat.ErrorByteIndex - before)
            raise
        except _TooMuch:
            self.error_offset = max(0, min(self._expat.CurrentByteIndex - before, len(data)))
            raise

    def _check_length(self) -> None:
        if self.inside:
            begun = self._item_at
        else:
            begun = self._expat.CurrentByteIndex
            self._parts.clear()
        if self._fed - begun > MAX_ROW_LENGTH:
            raise _TooMuch(f"an item or tag of more than {MAX_ROW_LENGTH:,} bytes")
        if len(self._expat.intern) > _MAX_NAMES:
            raise _UnsafeDocument(f"has more than {_MAX_NAMES:,} names of elements and attributes")

    def take(self) -> list[dict[str, str] | None]:
        """Returns the items since the last call; None is one that was never closed."""
        items, self.items = self.items, []
        return items

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.inside:
            if _local(name) in _ITEMS:
                self.inside, self._level, self._fields = True, 0, {}
                self._item_at = self._expat.CurrentByteIndex
            else:
                self.ancestors.append(name)
                if len(self.ancestors) > _MAX_DEPTH:
                    raise _TooMuch(f"elements nested over {_MAX_DEPTH} deep")
            return
        if self._level == 0 and _local(name) in _ITEMS:
            self.items.append(None)
            self.unclosed += 1
            self._fields = {}
            self._item_at = self._expat.CurrentByteIndex
            return
        self._level += 1
        if self._level > _MAX_DEPTH:
            raise _TooMuch(f"elements nested over {_MAX_DEPTH} deep")
        if self._level == 1:
            self._name = name
            self._parts.clear()

    def _end(self, name: str) -> None:
        if not self.inside:
            if _local(name) not in _ITEMS:  # Else it closes an unclosed item at last.
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
        raise _UnsafeDocument("declares entities of its own")


def _skip_external(*_: Any) -> int:
    return 1


def _local(name: str) -> str:
    return name[name.rfind(":") + 1 :]


def read_google_xml(stream: BinaryIO, feed: str, options: FeedOptions) -> Iterator[RawRow | RefusedRow]:
    """Yields the items of a feed. Columns are the elements' names, `g:id` or `id` alike; the first filled one counts.

    Where the XML is broken, the item it broke in is refused with the place, and reading goes on at the next item. HTML's
    entities (`&nbsp;`) are let through though XML doesn't know them. Elements inside elements (shipping) are skipped.

    Raises:
        CatalogueError: the file is empty, declares its own entities or attributes, has too many names of elements, or its
            encoding is unknown or not the one that is set.
    """
    columns = [_local(column) for column in options.columns]
    for number, found in enumerate(_items(stream, feed, options.encoding), 1):
        if isinstance(found, str):
            yield RefusedRow(feed, number, "", "row", found, "a well-formed item")
        else:
            yield RawRow(number, [found.get(column) for column in columns])


def _items(stream: BinaryIO, feed: str, encoding: str) -> Iterator[dict[str, str] | str]:
    """Yields each item's fields, or what was found where one is broken."""
    source = _Source(stream, feed, encoding)
    parser = _Parser(source.declared, [])
    start = 0  # Offset of `data` in the file.
    data, last = b"", False
    while not last:
        data = source.read()
        last = not data
        while True:
            error = _parse(parser, data, last, feed)
            for item in parser.take():
                yield "an item that is never closed" if item is None else item
            if not error:
                break
            # An unclosed item, refused already, leaves an end tag after it unmatched.
            if not parser.unclosed or parser.inside:
                yield shorten(f"{error} at byte {start + parser.error_offset}")
            data, start = _next_item(data, parser.error_offset, start, source)
            if not data:
                return
            last = False
            parser = _Parser(parser.encoding, parser.ancestors[:_MAX_DEPTH])
        start += len(data)


def _parse(parser: _Parser, data: bytes, last: bool, feed: str) -> str:
    """Feeds the parser and returns what is wrong with the XML, `''` where nothing is."""
    try:
        parser.feed(data, last)
    except expat.ExpatError as error:
        if error.code in _WRONG_ENCODING:
            raise _unknown_encoding(feed) from None
        return str(expat.ErrorString(error.code))
    except _TooMuch as error:
        return str(error)
    except _UnsafeDocument as error:
        raise CatalogueError(f"{feed}: the document {error}, which isn't safe. Remove its DOCTYPE, or ask for plain RSS.") from None
    except (LookupError, ValueError):  # Of the codec that the declaration names.
        raise _unknown_encoding(feed) from None
    return ""


_WRONG_ENCODING = [
    expat.errors.codes[message] for message in (expat.errors.XML_ERROR_UNKNOWN_ENCODING, expat.errors.XML_ERROR_INCORRECT_ENCODING)
]


def _unknown_encoding(feed: str) -> CatalogueError:
    return CatalogueError(f"{feed}: its XML declaration names an unknown encoding, or a wrong one. Set the network's encoding.")


class _Source:
    """Reads the file in blocks, as UTF-8 where expat can't go on after a fault in its encoding, or doesn't know it.

    `declared` is the encoding that the blocks are in, None where the XML declaration says it.
    """

    def __init__(self, stream: BinaryIO, feed: str, encoding: str) -> None:
        self._stream, self._feed = stream, feed
        self._first = stream.read(_CHUNK_BYTES)
        if not self._first:
            raise CatalogueError(f"{feed}: the file is empty. Expected RSS or Atom. Fetch it again, or take it out of the feeds.")
        is_utf8 = encoding.lower().replace("_", "-") in _UTF8
        if is_utf8 and self._first.startswith(_UTF16_MARKS):
            encoding, is_utf8 = "utf-16", False
        recoded = not is_utf8 and len(bytes(range(256)).decode(encoding, "replace")) != 256
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape") if recoded else None
        self._encoding = encoding
        self.declared = None if is_utf8 else "utf-8" if recoded else encoding

    def read(self) -> bytes:
        """Returns the next block, empty at the end."""
        while True:
            data, self._first = self._first or self._stream.read(_CHUNK_BYTES), b""
            if self._decoder is None:
                return data
            try:
                recoded = self._decoder.decode(data, not data).encode("utf-8", "surrogatepass")  # Which expat refuses.
            except UnicodeError as error:
                raise CatalogueError(
                    f"{self._feed}: it isn't {self._encoding} text ({error}). Set the network's encoding, or fetch it again."
                ) from None
            if recoded or not data:
                return recoded


def _next_item(data: bytes, offset: int, start: int, source: _Source) -> tuple[bytes, int]:
    """Reads on to the start of the next item: what follows, empty at the end of the file, and where that is in the file."""
    position = offset + 1
    while True:
        match = _ITEM_START.search(data, max(0, position))
        if match:
            return data[match.start() :], start + match.start()
        more = source.read()
        if not more:
            return b"", start
        kept = data[-_LONGEST_START:] if len(data) - position > _LONGEST_START else data[max(0, position) :]
        start, data, position = start + len(data) - len(kept), kept + more, 0
