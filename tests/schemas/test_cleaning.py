"""Cleaning is idempotent, keeps what is said, and drops what isn't."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.cleaning import (
    MAX_DESCRIPTION_LENGTH,
    MAX_LENGTH,
    Problem,
    as_text,
    clean_category,
    clean_id,
    clean_image,
    clean_price,
    clean_product,
    clean_size,
    clean_text,
    clean_vector,
    repair_mojibake,
)
from schemas.product import FIELDS, PRICE, STRING_FIELDS

_PIECES = st.sampled_from([
    "&amp;", "&", "amp;", "lt;", "&lt;", "&gt;", ">", "<", "<b>", "</", "b>", "<script>", "</script>", "<!--", "-->", "]]>", "<![CDATA[",
    "&#62;", "&#x3c;", "&eacute;", "&nbsp;", "&#0;", "&#xD800;", "Ã", "©", "Â", "â€", "™", "“", "\x82", "\x9c", "ß", "Café", "CafÃ©",
    "\x00", "\u200b", "\ufeff", "\ud800", "e\u0301", "\u0958", " ", "\t", "\n", "\u2028", "\xa0", "/", "//", "|", ";", "N/A", "-", "null",
    "42", " EU", "eu", ",5", "cm", "CM", "x", "×", "XL", "Shoe", "A", "1.234,56", "€", "İ",
])  # fmt: skip
texts = st.one_of(st.text(), st.lists(_PIECES).map("".join), st.text(st.characters(min_codepoint=0x80, max_codepoint=0x2122)))
separators = st.sampled_from([">", " > ", "//", "/", "|", ";", "->", " - ", "\t", ""])
values = st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats(), st.lists(texts, max_size=3))


@settings(max_examples=500, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(FIELDS), values), separator=separators, decimal_comma=st.booleans())
@example(fields={"category": "a&gt;b / c <b>"}, separator="/", decimal_comma=False)
@example(fields={"category": "Shoes"}, separator="", decimal_comma=False)
def test_cleaning_twice_changes_nothing_more(fields, separator, decimal_comma):
    once = clean_product(fields, category_separator=separator, decimal_comma=decimal_comma)
    assert clean_product(once, category_separator=separator, decimal_comma=decimal_comma) == once
    assert clean_product(once) == once, "cleaned products are the same for every network"


@settings(max_examples=500, deadline=None)
@given(text=texts, length=st.integers(1, 40))
def test_each_cleaner_is_idempotent_at_any_length(text, length):
    once = clean_text(text, length)
    assert clean_text(once, length) == once
    assert len(once) <= length


@settings(max_examples=300, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(STRING_FIELDS), values))
def test_cleaned_text_can_be_stored_and_has_no_surplus_space(fields):
    for name, text in clean_product(fields).items():
        assert text and text == " ".join(text.split())
        assert len(text) <= MAX_DESCRIPTION_LENGTH or name == "id"
        assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)
        assert text.encode("utf-8")


@settings(deadline=None)
@given(st.text(st.characters(whitelist_categories=("Lu", "Ll", "Nd"), max_codepoint=0x24F), min_size=4))
def test_plain_words_are_left_as_they_are(text):
    composed = unicodedata.normalize("NFC", text)
    looks_wrong = "Ã" in composed or "ðŸ" in composed
    if not looks_wrong and composed.lower() not in ("null", "none", "unknown", "unbekannt", "undefined", "onbekend"):
        assert clean_text(text) == composed


@settings(deadline=None)
@given(st.text(st.sampled_from("abcXYZ éèüößñçàÉÜ–’“”€™…"), max_size=30))
def test_latin_text_read_in_the_wrong_encoding_comes_back(text):
    wrong = "".join(chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252") for byte in text.encode())
    if not set("ÃÂâ") & set(text) and "É”" not in text:
        assert repair_mojibake(wrong) == text


@pytest.mark.parametrize("text", ["Spaß“", "São Tomé", "ÂME", "à la carte", "«Ça va»", "PÃ“", "Ærø – ÅNGSTRÖM", "ROMÃ”", "Straße…"])
def test_sound_text_that_looks_a_little_like_mojibake_is_kept(text):
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ("H&M &copy 5", "H&M &copy 5"),
        ("5 < 6 > 4", "5 < 6 > 4"),
        ("<p>One</p><p>Two</p>", "One Two"),
        ("&lt;p&gt;One&lt;/p&gt;", "One"),
        ("a<style>p{}</style>b<script>x()</script>c", "a b c"),
        ("CafÃ© crÃ¨me", "Café crème"),
        ("20Â° â€“ 30â‚¬", "20° – 30€"),
        ("a\x00b\x1fc\u200bd\u00ade", "a b cde"),
        ("e\u0301", "é"),
        ("\ud800x", "x"),
        (" - ", ""),
        ("NULL", ""),
        ("n/a", ""),
    ],
)
def test_noise_is_taken_out_of_text(found, expected):
    assert clean_text(found) == expected


def test_long_text_is_cut_at_a_word():
    cut = clean_text("word " * 1000)
    assert MAX_LENGTH - 5 <= len(cut) <= MAX_LENGTH
    assert cut.endswith("word")


def test_deeply_nested_entities_and_tags_take_no_time():
    assert clean_text("&" + "amp;" * 100_000 + "lt;b&gt;x", 2_000) != "never ends"
    assert clean_text("<" * 100_000 + "b" + ">" * 100_000) is not None


def test_ids_are_opaque():
    assert clean_id(" <b>&amp;</b>  7 ") == "<b>&amp;</b> 7"
    assert clean_id("0") == "0"


def test_an_image_address_keeps_its_query():
    assert clean_image("http://x/y.jpg?a=1&amp;copy=2&lt=3") == "http://x/y.jpg?a=1&copy=2&lt=3"


@pytest.mark.parametrize(
    ("found", "separator", "expected"),
    [
        ("Shoes > Sneakers", ">", "Shoes > Sneakers"),
        ("Shoes&gt;Sneakers&gt;", ">", "Shoes > Sneakers"),
        ("Shoes // Sneakers", "//", "Shoes > Sneakers"),
        ("Shoes|Sneakers", " | ", "Shoes > Sneakers"),
        ("Home/Bed &amp; Bath//", "/", "Home > Bed & Bath"),
        ("Shoes;Kids&#39; Sneakers", ";", "Shoes > Kids' Sneakers"),
        ("Tops / T-Shirts", ">", "Tops / T-Shirts"),
        ("Shoes > N/A", ">", "Shoes"),
    ],
)
def test_category_levels_are_joined_one_way(found, separator, expected):
    assert clean_category(found, separator) == expected


@pytest.mark.parametrize(
    ("found", "comma", "expected"),
    [
        ("12.99", False, 12.99), ("USD 12.99", False, 12.99), ("1,234.56 EUR", False, 1234.56), ("£5", False, 5.0),
        ("Rs. 22,646", False, 22646.0), ("1'234.50 CHF", False, 1234.5), (".99", False, 0.99), ("12.-", False, 12.0),
        ("1.234,56 €", True, 1234.56), ("12,99", True, 12.99), ("12,-", True, 12.0), ("1.234", True, 1234.0), ("1 234,50 kr", True, 1234.5),
        (7, True, 7.0), (7.5, True, 7.5), ("", False, None), ("-", True, None), ("0,00", True, None), (float("nan"), False, None),
    ],
)  # fmt: skip
def test_prices_are_read(found, comma, expected):
    assert clean_price(found, comma) == expected


@pytest.mark.parametrize(
    "found", ["12,99", "abc", "-5", "1.2.3", "12.99 - 15.99", "1e999", float("inf"), -1.0, 1e13, True, ["12"], {"value": 1}, "٣"]
)
def test_what_is_no_price_says_what_was_expected(found):
    with pytest.raises(ValueError, match="an amount"):
        clean_price(found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("42 EU ", "EU 42"), ("EUR 42,5", "EU 42.5"), ("xl", "XL"), ("2xl", "2XL"), ("M", "M"), ("38", "38"), ("250ML", "250 ml"),
        ("30x40 cm", "30 x 40 cm"), ("N/A", ""),
    ],
)  # fmt: skip
def test_sizes_are_written_one_way(found, expected):
    assert clean_size(found) == expected


def test_a_price_that_cannot_be_read_is_left_out_and_reported():
    problems: list[Problem] = []
    assert clean_product({"id": "1", "title": "Shoe", "price": "cheap"}, problems=problems) == {"id": "1", "title": "Shoe"}
    assert problems[0].field == PRICE and problems[0].found == "cheap" and "12.99" in problems[0].expected


def test_vectors_must_have_the_size_of_the_feature_config():
    assert clean_product({"id": "1", "vector": "1 2"}, dense={"vector": 2})["vector"] == [1.0, 2.0]
    with pytest.raises(ValueError, match="3 finite numbers, found 2"):
        clean_vector([1, 2], 3)
    with pytest.raises(ValueError, match="2 finite numbers"):
        clean_vector([1, float("nan")], 2)
    assert clean_product(clean_product({"vector": [1, 2]}, dense={"vector": 2}), dense={"vector": 2}) == {"vector": [1.0, 2.0]}


def test_json_values_become_text():
    assert [as_text(value) for value in (None, 1, 1.0, 1.5, True, ["a", None, 2], {"a": 1}, b"x")] == [
        "",
        "1",
        "1",
        "1.5",
        "true",
        "a, 2",
        "",
        "x",
    ]
