"""Cleans the fields of one product: pure, idempotent, and the same for feeds, predictions and the console.

Whatever comes in, `clean_product(clean_product(fields)) == clean_product(fields)`. What can't be read becomes missing: the
key is then absent. A product stays usable without it, so an unreadable price is reported as a `Problem`, not refused; only
the reader of feeds refuses a row, and only where it has no `id` or no field that describes it.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from schemas.image_place import EXPECTED, leaves_catalogue
from schemas.product import CATEGORY, DESCRIPTION, ID, IMAGE, MERCHANT_CATEGORY, PRICE, SIZE, STRING_FIELDS

Product = dict[str, str | float | list[float]]

MAX_LENGTH = 2_000
MAX_DESCRIPTION_LENGTH = 10_000
MAX_ID_LENGTH = 200
MAX_PRICE = 1e12
LEVEL_SEPARATOR = " > "

# Texts that say "nothing here", compared after cleaning, in lower case.
PLACEHOLDERS = frozenset({
    "", "-", "--", "---", "–", "—", "_", ".", "...", "?", "/", "n/a", "na", "n.a.", "n.a", "#n/a", "null", "(null)", "nil", "none",
    "nan", "undefined", "unknown", "not available", "not applicable", "not specified", "k.a.", "k. a.", "keine angabe",
    "unbekannt", "onbekend", "tbd",
})  # fmt: skip
_LONGEST_PLACEHOLDER = max(map(len, PLACEHOLDERS))

_AMPERSANDS = re.compile(r"&(?:amp;)+", re.IGNORECASE)
# Only entities that end in ';': 'Black&notes' and '?a=1&copy=2' are text.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BLOCK_START = re.compile(r"<(script|style)\b[^<>]*>|<!--|<!\[CDATA\[|\]\]>", re.IGNORECASE)
_BLOCK_ENDS = {
    "<!--": re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<![A-Za-z][^<>]*>")
# Format characters (zero-width, direction marks, soft hyphen) and halves of surrogate pairs say nothing and break matching.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Sorting a long run of combining marks takes time by the square of its length, and nothing is written with more than a few.
# Two patterns, because one that knows marks beyond U+FFFF is slow.
_MARKS, _RARE_MARKS = (
    "".join(chr(code) for code in codes if unicodedata.combining(chr(code))) for codes in (range(0x300, 0x10000), range(0x10000, 0x1F000))
)
_TOO_MANY_MARKS = re.compile(f"([{_MARKS}]{{8}})[{_MARKS}]+")
_TOO_MANY_RARE_MARKS = re.compile(f"([{_MARKS}{_RARE_MARKS}]{{8}})[{_MARKS}{_RARE_MARKS}]+")
_MAY_BE_MARKS, _MAY_BE_RARE_MARKS = re.compile("[\u0300-\U0001efff]"), re.compile("[\U00010000-\U0001efff]")
# Tags inside tags lose a level a time; what has more levels than this is no markup.
_MAX_LEVELS = 20


class Problem(NamedTuple):
    """One value that can't be read: the field is left out of the product."""

    field: str
    found: str
    expected: str


# --- Text ---------------------------------------------------------------------------------------------------------------


def clean_text(text: str, max_length: int = MAX_LENGTH) -> str:
    r"""Returns text without tags, entities, control characters, mojibake and surplus space; `''` where nothing is said.

    >>> clean_text("  Caf&amp;eacute;<br/>  CrÃ¨me\u200b ")
    'Café Crème'
    >>> clean_text("N/A")
    ''

    Args:
        text: any string, of any length.
        max_length: characters kept at most; what is longer is cut, at a space where there is one near.
    """
    if text.isascii() and text.isprintable() and "&" not in text and "<" not in text:
        text = " ".join(text.split()) if "  " in text else text.strip()
    else:
        text = _clean_unusual(text, max_length)
    if len(text) > max_length:
        text = _cut(text, max_length)
    if len(text) <= _LONGEST_PLACEHOLDER and text.lower() in PLACEHOLDERS:
        return ""
    return text


def _clean_unusual(text: str, max_length: int) -> str:
    """Repeats the single steps until nothing changes, which is what makes them idempotent together."""
    text = text[: 8 * max_length]
    for level in count():
        cleaned = text if level < _MAX_LEVELS else text.replace("<", " ").replace("&", " ")
        if "&" in cleaned:
            cleaned = _ENTITY.sub(_unescape, _AMPERSANDS.sub("&", cleaned) if "&amp;" in cleaned.lower() else cleaned)
        if "<" in cleaned or "]]>" in cleaned:
            cleaned = _TAG.sub(" ", _without_blocks(cleaned))
        if not cleaned.isascii():
            cleaned = _composed(_INVISIBLE.sub("", repair_mojibake(cleaned)))
        if not cleaned.isprintable():
            cleaned = _CONTROL.sub(" ", cleaned)
        cleaned = " ".join(cleaned.split())
        if len(cleaned) > max_length:
            cleaned = _cut(cleaned, max_length)
        if cleaned == text:
            break
        text = cleaned
    return text


def _composed(text: str) -> str:
    """Returns the text in NFC, with no more than eight combining marks on a letter."""
    if _MAY_BE_MARKS.search(text):
        pattern = _TOO_MANY_RARE_MARKS if _MAY_BE_RARE_MARKS.search(text) else _TOO_MANY_MARKS
        text = pattern.sub(r"\1", text)
    return unicodedata.normalize("NFC", text)


def _without_blocks(text: str) -> str:
    """Puts a space for every script, style and comment; one search for the end of each kind that has none, not one a start."""
    kept: list[str] = []
    position = copied = 0
    endless: set[str] = set()
    while match := _BLOCK_START.search(text, position):
        kind = (match[1] or match[0]).lower()
        end = match.end()
        if kind in _BLOCK_ENDS:
            closing = None if kind in endless else _BLOCK_ENDS[kind].search(text, end)
            if closing is None:
                endless.add(kind)
                position = match.start() + 1
                continue
            end = closing.end()
        kept += (text[copied : match.start()], " ")
        position = copied = end
    return "".join((*kept, text[copied:])) if kept else text


def _unescape(match: re.Match[str]) -> str:
    return html.unescape(match.group())


def _cut(text: str, max_length: int) -> str:
    space = text.rfind(" ", max_length - 40, max_length + 1)
    return text[: space if space > 0 else max_length].strip()


# How bytes 0x80-0x9f look where UTF-8 was read as Windows-1252.
_WINDOWS = {character: byte for byte in range(0x80, 0xA0) for character in [bytes([byte]).decode("cp1252", "ignore")] if character}
_TRAILING = "[\u0080-\u00bf" + "".join(_WINDOWS) + "]"
_CONTROL_BYTE = "[\u0080-\u009f]"
_MOJIBAKE = re.compile(
    # Â© and Ã© and â€™: what Western European texts become; 'ROMÃ”' at the end of a capital word is left alone.
    rf"Â[\u00a0-\u00bf]|Ã(?<![A-ZÀ-Þ]Ã(?=[»”’“™®…])){_TRAILING}|â[€„†‡ˆ‰‹‚]{_TRAILING}"
    # Any other letter pair only where a C1 control character proves it: no one types those.
    rf"|[\u00c4-\u00df]{_CONTROL_BYTE}|[\u00e0-\u00ef](?:{_CONTROL_BYTE}{_TRAILING}|{_TRAILING}{_CONTROL_BYTE})"
    rf"|ðŸ{_TRAILING}{{2}}"  # An emoji.
)


def repair_mojibake(text: str) -> str:
    """Returns the text with UTF-8 that was read as Latin-1 or Windows-1252 put right, only where that is safe.

    >>> repair_mojibake("CafÃ© â€“ 20Â°"), repair_mojibake("Spaß“ für São Tomé")
    ('Café – 20°', 'Spaß“ für São Tomé')
    """
    return _MOJIBAKE.sub(_decode_again, text)


def _decode_again(match: re.Match[str]) -> str:
    found = match.group()
    try:
        return bytes(_WINDOWS.get(character) or ord(character) for character in found).decode("utf-8")
    except (UnicodeDecodeError, ValueError):
        return found


def clean_id(text: str) -> str:
    r"""Returns an id without control characters and surplus space; entities and tags stay, because an id is opaque.

    >>> clean_id(" A&amp;B\x00 12 "), clean_id("null")
    ('A&amp;B 12', '')
    """
    if not (text.isascii() and text.isprintable()):
        text = _composed(_CONTROL.sub(" ", _INVISIBLE.sub("", text)))
    text = " ".join(text.split())
    return "" if len(text) <= _LONGEST_PLACEHOLDER and text.lower() in PLACEHOLDERS else text


def clean_image(text: str) -> str:
    """Returns the address or path of a picture, `''` where there is none.

    >>> clean_image(" http://cdn/x.jpg?a=1&amp;b=2 ")
    'http://cdn/x.jpg?a=1&b=2'
    """
    text = clean_id(_AMPERSANDS.sub("&", text) if "&" in text else text)
    text = _AMPERSANDS.sub("&", text) if "&" in text else text
    return text if len(text) <= MAX_LENGTH else ""


# --- Category paths -------------------------------------------------------------------------------------------------------


def clean_category(text: str, separator: str = ">") -> str:
    """Returns a category path with ` > ` between its levels, whatever the network puts there.

    >>> clean_category("Shoes //Sneakers", "//"), clean_category("Shoes &gt;  Sneakers >")
    ('Shoes > Sneakers', 'Shoes > Sneakers')
    """
    bare = separator.strip()
    if bare and bare != ">":
        text = _with_levels(clean_text(text, 2 * MAX_LENGTH), bare)
    elif separator and not bare:
        text = LEVEL_SEPARATOR.join(text.split(separator))
    while True:
        levels = [level for level in (clean_text(part) for part in clean_text(text).split(">")) if level]
        cleaned = _joined(levels)
        if cleaned == text:
            return cleaned
        text = cleaned


def _with_levels(text: str, separator: str) -> str:
    return text.replace(separator, LEVEL_SEPARATOR) if separator in text else text


def _joined(levels: Sequence[str]) -> str:
    """Joins as many whole levels as fit."""
    joined = LEVEL_SEPARATOR.join(levels)
    while len(joined) > MAX_LENGTH:
        levels = levels[:-1]
        joined = LEVEL_SEPARATOR.join(levels)
    return joined


# --- Sizes ----------------------------------------------------------------------------------------------------------------

_LETTER_SIZE = re.compile(r"(?:[0-9]?x{1,4}|x{0,4})[sl]|m|xs|one size", re.IGNORECASE)
_SIZE_SYSTEM_LAST = re.compile(r"([0-9]+(?:[.,][0-9]+)?(?: [12]/[23])?) ?(EU|EUR|UK|US|FR|IT|DE)", re.IGNORECASE)
_SIZE_SYSTEM_FIRST = re.compile(r"(EU|EUR|UK|US|FR|IT|DE) ?([0-9]+(?:[.,][0-9]+)?(?: [12]/[23])?)", re.IGNORECASE)
_UNIT = re.compile(r"(?<![A-Za-z0-9])([0-9]+(?:[.,][0-9]+)?) ?(mm|cm|ml|cl|kg|g|inch|oz)(?![A-Za-z0-9])", re.IGNORECASE)
_TIMES = re.compile(r"(?<=[0-9a-z]) ?[x×X*] ?(?=[0-9])")


def clean_size(text: str) -> str:
    """Returns a size with its system first, its unit in lower case after one space, and letters in capitals.

    >>> [clean_size(size) for size in ("42 EU ", "eu42,5", "xl", "250ML", "30x40 CM", "Einheitsgröße", "12-18 months")]
    ['EU 42', 'EU 42.5', 'XL', '250 ml', '30 x 40 cm', 'Einheitsgröße', '12-18 months']
    """
    text = clean_text(text)
    if not text or text.isdigit():
        return text
    if _LETTER_SIZE.fullmatch(text):
        return text.upper()
    match = _SIZE_SYSTEM_LAST.fullmatch(text)
    if match:
        return _in_system(match[2], match[1])
    match = _SIZE_SYSTEM_FIRST.fullmatch(text)
    if match:
        return _in_system(match[1], match[2])
    if text[0].isdigit() and text.isascii() and len(text) < 100:
        return clean_text(_UNIT.sub(_with_unit, _TIMES.sub(" x ", text)))
    return text


def _in_system(system: str, number: str) -> str:
    return f"{system.upper()[:2]} {number.replace(',', '.')}"


def _with_unit(match: re.Match[str]) -> str:
    return f"{match[1].replace(',', '.')} {match[2].lower()}"


# --- Prices ---------------------------------------------------------------------------------------------------------------

_CURRENCY = r"(?:[A-Za-z]{3}|[€$£¥₹₺₽₩]|[A-Za-z]{2,3}[$]|Rs\.?|kr\.?|zł|Kč|Ft|lei|лв\.?)"
_AMOUNT = re.compile(rf"{_CURRENCY}? ?([0-9.,'’ ]*[0-9])(?:[.,]-{{1,2}})? ?{_CURRENCY}?", re.IGNORECASE)
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WITH_POINT = re.compile(r"(?:[0-9]{1,3}(?:([,'’ ])[0-9]{3})(?:\1[0-9]{3})*|[0-9]+)?(?:\.[0-9]+)?")
_WITH_COMMA = re.compile(r"(?:[0-9]{1,3}(?:([.'’ ])[0-9]{3})(?:\1[0-9]{3})*|[0-9]+)?(?:,[0-9]+)?")
_GROUPING = {False: str.maketrans("", "", ",'’ "), True: str.maketrans(",", ".", ".'’ ")}


def clean_price(value: Any, decimal_comma: bool = False) -> float | None:
    """Returns the amount; None where the value says nothing, or nothing that can be sold at (zero).

    >>> clean_price("USD 1,012.99"), clean_price("1.234,56 €", decimal_comma=True), clean_price("0.00"), clean_price("N/A")
    (1012.99, 1234.56, None, None)

    Raises:
        ValueError: the value isn't an amount; says what was expected.
    """
    if isinstance(value, str):
        amount = float(value) if _PLAIN.fullmatch(value) and not decimal_comma else _amount(clean_text(value), decimal_comma)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        amount = _finite(value)
    else:
        raise ValueError("an amount, as in 12.99")
    if not 0 <= amount < MAX_PRICE:
        raise ValueError(f"an amount from 0 to {MAX_PRICE:.0f}")
    return amount or None


def _finite(value: float) -> float:
    try:
        amount = float(value)
    except OverflowError:
        return math.inf
    return 0.0 if math.isnan(amount) else amount


def _amount(text: str, decimal_comma: bool) -> float:
    if not text:
        return 0.0
    match = _AMOUNT.fullmatch(text)
    number = match[1].strip() if match else ""
    if not number or not (_WITH_COMMA if decimal_comma else _WITH_POINT).fullmatch(number):
        example, other = ("12,99", "false") if decimal_comma else ("12.99", "true")
        raise ValueError(f"an amount, as in {example}; if the network writes prices the other way, set decimal_comma to {other}")
    return float(number.translate(_GROUPING[decimal_comma]))


# --- Dense vectors --------------------------------------------------------------------------------------------------------


def clean_vector(value: Any, size: int) -> list[float] | None:
    """Returns `size` finite numbers from a list, or from a text of numbers between commas or spaces; None where empty.

    >>> clean_vector("[0.5, 1]", 2), clean_vector([], 2)
    ([0.5, 1.0], None)

    Raises:
        ValueError: another length, or something that isn't a finite number; says what was expected.
    """
    parts: Sequence[Any]
    if isinstance(value, str):
        parts = value.strip().strip("[]()").replace(",", " ").replace(";", " ").split()
    elif isinstance(value, (list, tuple)):
        parts = value
    else:
        parts = (value,)
    if not parts:
        return None
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{size} numbers") from None
    if len(numbers) != size or not all(abs(number) < 3e38 for number in numbers):
        raise ValueError(f"{size} finite numbers, found {len(numbers)}")
    return numbers


# --- The whole product ----------------------------------------------------------------------------------------------------


def as_text(value: Any, separator: str = ", ", levels: int = 20) -> str:
    """Returns what a JSON or Parquet value says as text: nothing for null, whole floats without `.0`, lists joined.

    Lists in lists say nothing below `levels`.

    >>> as_text(None), as_text(42.0), as_text(True), as_text(["Shoes", "Sneakers"], " > ")
    ('', '42', 'true', 'Shoes > Sneakers')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return separator.join(filter(None, (as_text(part, separator, levels - 1) for part in value))) if levels else ""
    if isinstance(value, Mapping):
        return ""
    return str(value)


def text_cleaner(field: str, category_separator: str = ">") -> Callable[[str], str]:
    """Returns the function that cleans one string field; it gives `''` where the field says nothing."""
    if field == ID:
        return clean_id
    if field == IMAGE:
        return clean_image
    if field == SIZE:
        return clean_size
    if field == DESCRIPTION:
        return lambda text: clean_text(text, MAX_DESCRIPTION_LENGTH)
    if field in (CATEGORY, MERCHANT_CATEGORY):
        return lambda text: clean_category(text, category_separator)
    return clean_text


_CLEANERS = {field: text_cleaner(field) for field in STRING_FIELDS}


def clean_product(
    fields: Mapping[str, Any],
    *,
    category_separator: str = ">",
    decimal_comma: bool = False,
    dense: Mapping[str, int] | None = None,
    problems: list[Problem] | None = None,
) -> Product:
    """Returns the fields that say something, cleaned; what is missing or can't be read is absent.

    >>> clean_product({"id": "7", "title": "<b>Shoe</b>", "brand": "N/A", "price": "12,99", "other": "dropped"}, decimal_comma=True)
    {'id': '7', 'title': 'Shoe', 'price': 12.99}

    Args:
        fields: field to text, number, list or None.
        category_separator: what stands between the levels of `category` and `merchant_category`.
        decimal_comma: prices are written 1.234,56.
        dense: the vector fields and their sizes.
        problems: if given, what couldn't be read is appended here.
    """
    product: Product = {}
    for field, cleaner in _CLEANERS.items():
        value = fields.get(field)
        if value is None or value == "":
            continue
        if category_separator != ">" and field in (CATEGORY, MERCHANT_CATEGORY):
            cleaner = text_cleaner(field, category_separator)
        text = cleaner(value if isinstance(value, str) else as_text(value, _list_separator(field)))
        if text and field == IMAGE and leaves_catalogue(text):
            if problems is not None:
                problems.append(Problem(field, text[:80], EXPECTED))
        elif text:
            product[field] = text
    for field, value in fields.items():
        if field == PRICE or (dense and field in dense):
            _add_number(product, field, value, decimal_comma, dense or {}, problems)
    return product


def _list_separator(field: str) -> str:
    return LEVEL_SEPARATOR if field in (CATEGORY, MERCHANT_CATEGORY) else ", "


def _add_number(
    product: Product, field: str, value: Any, decimal_comma: bool, dense: Mapping[str, int], problems: list[Problem] | None
) -> None:
    if value is None:
        return
    try:
        cleaned = clean_price(value, decimal_comma) if field == PRICE else clean_vector(value, dense[field])
    except ValueError as error:
        if problems is not None:
            problems.append(Problem(field, as_text(value)[:80], str(error)))
        return
    if cleaned is not None:
        product[field] = cleaned
