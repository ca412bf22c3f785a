"""Feeds made to break a reader, each read from a file as a run reads it: rows, refused rows, or one line that says what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import time
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.feeds.lines import MAX_ROW_LENGTH
from components.feeds.parquet_process import MAX_VALUE_BYTES
from components.feeds.products import read_batches
from schemas.errors import CatalogueError
from schemas.settings import FEED_FORMATS, NetworkSettings

TOO_LONG = MAX_ROW_LENGTH + 6_500_000  # Over ten megabytes.


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads a file's content and returns products and refused rows."""

    def call(content: bytes, format: str = "csv", dense=None, **changes):
        path = tmp_path / "feed"
        path.write_bytes(content)
        batches = list(read_batches("net", NetworkSettings(format=format, **changes), path, dense=dense))
        return [product for batch in batches for product in batch.products], [row for batch in batches for row in batch.refused]

    return call


@pytest.fixture
def refusal(read):
    """Returns a function that returns the one line a file is refused with."""

    def call(content: bytes, format: str = "csv", **changes) -> str:
        with pytest.raises(CatalogueError) as refused:
            read(content, format, **changes)
        assert str(refused.value).isprintable() and "/feed" in str(refused.value)
        return str(refused.value).partition("/feed")[2]

    return call


def ids(products) -> list[str]:
    return [product["id"] for product in products]


def parquet(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


# --- Empty, cut off, packed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FEED_FORMATS)
def test_an_empty_file_is_named(format, refusal):
    assert "Fetch" in refusal(b"", format) or "Expected a first line with the columns" in refusal(b"", format)


@pytest.mark.parametrize(("content", "format"), [(b"id,title\n", "csv"), (b"\n\n", "jsonl"), (b"<rss><channel/></rss>", "google_xml")])
def test_a_header_alone_is_no_row(content, format, read):
    assert read(content, format) == ([], [])


def test_a_gzip_bomb_is_stopped_long_before_it_is_unpacked(refusal):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    started = time.monotonic()
    for format in ("csv", "jsonl", "google_xml", "parquet"):
        assert refusal(bomb, format) == (
            ": the gzip file unpacks to more than 200 times its size, as no feed does. Ask its sender, or unpack it yourself."
        )
    assert time.monotonic() - started < 20


def test_gzip_members_follow_each_other_and_a_cut_off_one_is_named(read, refusal):
    parts = gzip.compress(b"id,title\n1,a\n") + gzip.compress(b"2,b\n")
    assert ids(read(parts)[0]) == ["1", "2"]
    assert "the gzip file is damaged or cut off" in refusal(parts[:-9])
    assert "the gzip file is damaged or cut off" in refusal(parts + b"rubbish")


@pytest.mark.parametrize(
    ("start", "name"), [(b"PK\x03\x04", "zip"), (b"BZh91AY", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")]
)
def test_another_packing_is_named(start, name, refusal):
    assert refusal(start + bytes(99)) == f": it is packed by {name}, which isn't unpacked here. Unpack it, or pack it by gzip."


def test_parquet_is_read_out_of_gzip_too(read):
    assert ids(read(gzip.compress(parquet(pa.table({"id": ["1", "2"], "title": ["a", "b"]}))), "parquet")[0]) == ["1", "2"]


# --- Rows too long ------------------------------------------------------------------------------------------------------------


def test_a_row_of_ten_megabytes_is_refused_alone_in_every_text_format(read):
    long = b"x" * TOO_LONG
    for format, content in {
        "csv": b"id,title\n1," + long + b"\n2,b\n",
        "tsv": b"id\ttitle\n1\t" + long + b"\n2\tb\n",
        "jsonl": b'{"id": 1, "title": "' + long + b'"}\n{"id": 2, "title": "b"}\n',
        "google_xml": b"<rss><item><id>1</id><title>" + long + b"</title></item><item><id>2</id><title>b</title></item></rss>",
    }.items():
        products, refused = read(content, format)
        assert (format, ids(products), [row.row for row in refused]) == (format, ["2"], [1])
        assert f"{MAX_ROW_LENGTH:,}" in refused[0].expected + refused[0].found


def test_a_quoted_row_of_ten_megabytes_over_many_lines_costs_its_lines_alone(read):
    fields = ",".join('"' + "a long line of it\n" * 5_000 + '"' for _ in range(120))
    _, refused = read(f"id,title\n1,{fields}\n".encode())
    assert refused and all(row.expected for row in refused)


def test_a_file_without_a_line_end_is_one_refused_row(read):
    assert [row.row for row in read(b"id,title\n" + b"z" * TOO_LONG)[1]] == [1]
    assert [row.row for row in read(b"[" * TOO_LONG, "jsonl")[1]] == [1]


def test_an_id_of_a_megabyte_is_refused_and_shown_short(read):
    _, refused = read(json.dumps({"id": "i" * 1_000_000, "title": "a"}).encode(), "jsonl")
    assert (refused[0].field, refused[0].expected, len(refused[0].found)) == ("id", "at most 200 characters", 80)


# --- Delimited text -----------------------------------------------------------------------------------------------------------


def test_open_quotation_marks_on_every_line_take_linear_time(read):
    started = time.monotonic()
    products, refused = read(b"id,title\n" + b'a","\n' * 100_000)
    assert time.monotonic() - started < 15
    assert len(products) + len(refused) == 100_000


def test_mixed_line_ends_null_bytes_and_marks_cost_nothing(read):
    products, refused = read("\ufeffid,title\r1,a\u202eb\r\n2,c\0d\n3,=1+1\r\r\n4,\u200fe".encode())
    assert [(product["id"], product["title"]) for product in products] == [("1", "ab"), ("2", "cd"), ("3", "=1+1"), ("4", "e")]
    assert refused == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_that_nobody_announced_is_named(encoding, refusal):
    assert refusal("name,id,title\nx,1,a\n".encode(encoding)) == (
        ":1: this looks like UTF-16, not utf-8. Set the network's encoding to utf-16."
    )


def test_rows_in_a_wrong_encoding_are_refused_each(read):
    products, refused = read("id,title\n1,Café\n2,plain\n".encode("latin-1"))
    assert (ids(products), refused[0].row, refused[0].expected) == (["2"], 1, "bytes that are utf-8")


def test_utf_16_that_breaks_off_is_named_by_row(refusal):
    content = "id,title\n1,a\n2,b\n".encode("utf-16")[:-1]
    assert refusal(content, encoding="utf-16").startswith(":2: from here on it isn't utf-16 text")


def test_a_hundred_thousand_columns_are_read(read, refusal):
    names = ",".join(f"c{number}" for number in range(100_000))
    products, refused = read(f"id,title,{names}\n1,a{',' * 100_000}\n2,b\n".encode())
    assert (ids(products), refused[0].expected) == (["1"], "100002 fields, found 2")
    assert refusal(f"idd,{names}\n".encode(), columns={"id": "id", "title": "title"}).startswith(":1: column 'id' isn't there.")


@pytest.mark.parametrize("encoding", ["hex", "idna", "punycode", "undefined", "rot13", "klingon", "a\0b"])
def test_an_encoding_that_is_none_is_named(encoding, read):
    with pytest.raises(CatalogueError, match=r"networks\.net\.encoding: .* is unknown\. Use utf-8, latin-1 or cp1252\."):
        read(b"id,title\n", encoding=encoding)


# --- JSON lines ---------------------------------------------------------------------------------------------------------------


def test_json_made_to_break_parsers_costs_its_own_row(read):
    lines = [
        b"[" * 100_000,
        b'{"id": ' * 100_000,
        b'{"id": 1, "title": ' + b"9" * 100_000 + b"}",
        b'{"id": 2, "title": NaN, "brand": "b", "x": ' + b"9" * 5_000 + b"}",
        b'{"id": 3, "title": ' + b"[" * 900 + b'"deep"' + b"]" * 900 + b', "brand": "b"}',
        b'{"id": 4, "title": "a", "price": Infinity}',
        b'{"id": 5, "title": "\\ud83d half", "size": {"a": 1}}',
        b'{"id": "../../etc/passwd", "title": "=cmd|x"}',
    ]
    products, refused = read(b"\n".join(lines), "jsonl")
    assert {row.row for row in refused} >= {1, 2, 4} and len(products) + len(refused) == len(lines)
    assert [product["id"] for product in products][-4:] == ["3", "4", "5", "../../etc/passwd"]
    assert "price" not in products[-3]


def test_json_lines_may_end_in_any_way_and_be_utf_16(read, refusal):
    content = '{"id": 1, "title": "é"}\r{"id": 2, "title": "b"}\r\n{"id": 3, "title": "c"}\n'
    assert ids(read(content.encode(), "jsonl")[0]) == ["1", "2", "3"]
    assert ids(read(content.encode("utf-16"), "jsonl", encoding="utf-16")[0]) == ["1", "2", "3"]
    assert refusal(content.encode("utf-16"), "jsonl") == ":1: this looks like UTF-16, not utf-8. Set the network's encoding to utf-16."
    assert "isn't utf-16 text" in refusal(content.encode("utf-16")[:-1], "jsonl", encoding="utf-16")


# --- Google Shopping XML ------------------------------------------------------------------------------------------------------

ITEM = b"<item><id>1</id><title>a</title></item>"
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))


@pytest.mark.parametrize(
    "subset",
    [
        b'<!ENTITY l0 "lol">' + LAUGHS,
        b'<!ENTITY x SYSTEM "file:///etc/passwd">',
        b'<!ENTITY x SYSTEM "http://127.0.0.1:9/x">',
        b'<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;',
        b"<!ATTLIST item a CDATA '" + b"x" * 10_000 + b"'>",
    ],
)
def test_a_document_that_declares_what_it_is_made_of_is_refused(subset, refusal):
    content = b"<!DOCTYPE rss [" + subset + b"]><rss><item><id>&l9;&x;</id></item></rss>"
    assert refusal(content, "google_xml").startswith(": the document declares entities of its own, which isn't safe.")


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (b"<a>" * 200_000, "elements nested over 100 deep"),
        (b"<item>" + b"<a>" * 200_000 + b"</item>", "elements nested over 100 deep"),
        (b"<item a='" + b"x" * TOO_LONG + b"'/>", "an item or tag of more than"),
        (b"<!--" + b"x" * TOO_LONG + b"-->", "an item or tag of more than"),
    ],
)
def test_xml_that_grows_without_end_costs_one_row(broken, found, read):
    products, refused = read(b"<rss>" + broken + ITEM, "google_xml")
    assert ids(products) == ["1"]
    assert found in refused[0].found


def test_xml_of_ever_new_names_is_refused(refusal):
    content = b"<rss><item>" + b"".join(b"<n%d/>" % number for number in range(50_000)) + b"</item></rss>"
    assert ": the document has more than 10,000 names of elements and attributes" in refusal(content, "google_xml")


def test_what_follows_an_unclosed_item_and_a_stray_end_is_still_read(read):
    content = b"<rss><item>" + ITEM + b"</b>" + ITEM.replace(b"1", b"2") + ITEM.replace(b"1", b"3") + b"</rss>"
    products, refused = read(content, "google_xml")
    assert (ids(products), [row.found for row in refused]) == (["1", "2", "3"], ["an item that is never closed"])


def test_items_in_items_and_names_of_other_alphabets_are_read(read):
    assert ids(read(b"<item>" + ITEM + b"</item>", "google_xml")[0]) == ["1"]
    assert ids(read("<é><item>&</item>".encode() + ITEM + "</é>".encode(), "google_xml")[0]) == ["1"]


def test_encodings_that_expat_does_not_know_are_read_where_they_are_set(read, refusal):
    content = '<?xml version="1.0" encoding="shift_jis"?><rss><item>&</item><item><id>2</id><title>靴</title></item></rss>'
    assert "names an unknown encoding" in refusal(content.encode("shift_jis"), "google_xml")
    products, refused = read(content.encode("shift_jis"), "google_xml", encoding="shift_jis")
    assert (products[0]["title"], len(refused)) == ("靴", 1)
    assert read(content.replace("shift_jis", "utf-16").encode("utf-16"), "google_xml")[0] == products


# --- Parquet ------------------------------------------------------------------------------------------------------------------


class _Exploit:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_the_metadata_of_parquet_is_never_run(tmp_path, refusal):
    marker = tmp_path / "run"
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(_Exploit(marker))}
    schema = pa.schema([pa.field("id", pa.string(), metadata=metadata), pa.field("title", pa.string())])
    assert "it can't be read as Parquet" in refusal(parquet(pa.table([["1"], ["a"]], schema=schema)), "parquet")
    assert not marker.exists()


def test_a_dictionary_that_repeats_a_long_text_is_refused_before_it_is_unpacked(refusal):
    title = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * 5_000_000]))
    content = parquet(pa.table({"id": ["1"] * 5_000, "title": title}), dictionary_pagesize_limit=1 << 30)
    assert len(content) < 1_000_000  # And 25 GB unpacked.
    assert refusal(content, "parquet") == (
        f": column 'title' repeats a text of 5,000,000 bytes; at most {MAX_VALUE_BYTES:,} are a product's. Correct the feed."
    )


def test_parquet_that_claims_more_rows_than_it_can_hold_is_refused(refusal):
    content = parquet(pa.table({"id": pa.nulls(5_000_000, pa.int8()), "title": pa.nulls(5_000_000, pa.int8())}))
    assert "claims 5,000,000 values" in refusal(content, "parquet")


def test_parquet_values_that_python_has_no_value_for_refuse_their_row(read):
    table = pa.table({"id": ["1", "2"], "title": ["a", "b"], "size": pa.array([2**40, 0], pa.timestamp("s"))})
    products, refused = read(parquet(table), "parquet")
    assert ids(products) == ["2"]
    assert refused[0][1:] == (1, "", "size", "a timestamp[ms]", "a text or a number")


def test_parquet_of_odd_types_is_read_or_refused_by_row(read):
    table = pa.table(
        {
            "id": pa.array([b"\xff\x01", b"2"], pa.binary()),
            "title": pa.array([{"a": 1}, None]),
            "brand": pa.array([[("k", "v")], None], pa.map_("string", "string")),
            "size": pa.array([1, 2], pa.duration("ns")),
            "description": pa.array([[["deep"]], [["er"]]]),
            "price": pa.array([True, False]),
        }
    )
    products, refused = read(parquet(table), "parquet")
    assert len(products) + len(refused) == 2


@pytest.mark.parametrize("cut", [4, 30, 200])
def test_parquet_that_is_cut_off_is_named(cut, refusal):
    content = parquet(pa.table({"id": ["1"], "title": ["a"]}))
    assert ": it can't be read as Parquet" in refusal(content[:-cut], "parquet")


def test_a_parquet_column_that_is_there_twice_is_named(refusal):
    table = pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"]), pa.array(["a"])], ["id", "id", "title"])
    assert refusal(parquet(table), "parquet") == ": column 'id' is there 2 times. Rename all but one of them."


# --- Pictures -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        "/etc/passwd",
        "../x.jpg",
        "a/../../x.jpg",
        "file:///etc/passwd",
        "gs://other/x.jpg",
        "C:\\x.jpg",
        "a\\..\\x.jpg",
        "~/x.jpg",
        "data:x",
    ],
)
def test_a_picture_outside_the_catalogue_is_left_out_and_said(image, tmp_path):
    path = tmp_path / "feed"
    path.write_text("\n".join(json.dumps({"id": n, "title": title, "image": image}) for n, title in ((1, "a"), (2, ""))))
    (batch,) = read_batches("net", NetworkSettings(format="jsonl"), path)
    assert batch.products == [{"id": "1", "title": "a", "network": "net"}]
    assert [(row, problem.field, problem.found) for row, problem in batch.blanked] == [(1, "image", image)]
    assert [(row.row, row.field, row.found, row.expected) for row in batch.refused] == [(2, "image", image, batch.blanked[0][1].expected)]


@pytest.mark.parametrize("image", ["x.jpg", "images/x..y.jpg", "https://cdn/../x.jpg", "//cdn/x.jpg", "HTTP://cdn/x"])
def test_a_picture_on_the_web_or_in_the_catalogue_stays(image, read):
    assert read(json.dumps({"id": 1, "image": image}).encode(), "jsonl")[0][0]["image"] == image
