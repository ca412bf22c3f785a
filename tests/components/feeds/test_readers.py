"""Each format gives the same products, and loses no more than the row that is broken."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feeds.contract import FeedOptions, RawRow, RefusedRow
from components.feeds.delimited import read_delimited
from components.feeds.google_xml import read_google_xml
from components.feeds.json_lines import read_json_lines
from components.feeds.products import READERS, read_batches, read_products
from schemas.errors import CatalogueError
from schemas.settings import FEED_FORMATS, NetworkSettings

COLUMNS = {"id": "sku", "title": "name", "category": "path", "price": "amount", "shop": "merchant"}
ROWS = [
    {"sku": "1", "name": "Café Crème", "path": "Shoes > Sneakers", "amount": "12.50", "merchant": "Big Shop"},
    {"sku": "2", "name": 'A "quoted", name', "path": "Shoes", "amount": "7", "merchant": "Shop & Co"},
]
PRODUCTS = [
    {"id": "1", "title": "Café Crème", "category": "Shoes > Sneakers", "price": 12.5, "shop": "Big Shop", "network": "net"},
    {"id": "2", "title": 'A "quoted", name', "category": "Shoes", "price": 7.0, "shop": "Shop & Co", "network": "net"},
]


def as_csv(delimiter: str) -> bytes:
    lines = [delimiter.join(COLUMNS.values())]
    lines += [delimiter.join('"' + value.replace('"', '""') + '"' for value in row.values()) for row in ROWS]
    return "\r\n".join(lines).encode()


def as_xml() -> bytes:
    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace(">", "&gt;")

    items = ["<item>" + "".join(f"<g:{name}>{escaped(value)}</g:{name}>" for name, value in row.items()) + "</item>" for row in ROWS]
    return f'<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel>{"".join(items)}</channel></rss>'.encode()


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, row_group_size=1)
    return sink.getvalue()


CONTENT = {
    "csv": as_csv(","),
    "tsv": as_csv("\t"),
    "jsonl": "\n".join(json.dumps(row) for row in ROWS).encode(),
    "google_xml": as_xml(),
    "parquet": as_parquet(),
}


def read(content: bytes, tmp_path, format="csv", name="feed", **changes):
    path = tmp_path / name
    path.write_bytes(content)
    found = list(read_products("net", NetworkSettings(format=format, **{"columns": COLUMNS, **changes}), path))
    return [product for products, _ in found for product in products], [row for _, refused in found for row in refused]


@pytest.mark.parametrize("format", FEED_FORMATS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_same_products(format, packed, tmp_path):
    content = gzip.compress(CONTENT[format]) if packed and format != "parquet" else CONTENT[format]
    products, refused = read(content, tmp_path, format)
    assert products == PRODUCTS
    assert refused == []


def test_every_format_of_the_settings_has_a_reader():
    assert set(READERS) == set(FEED_FORMATS)


def test_batches_hold_the_rows_asked_for(tmp_path):
    path = tmp_path / "feed.csv"
    path.write_text("id,title\n" + "".join(f"{number},t\n" for number in range(10)))
    assert [batch.rows for batch in read_batches("net", NetworkSettings(), path, batch_rows=4)] == [4, 4, 2]
    assert next(read_batches("net", NetworkSettings(), path, batch_rows=4)).row_numbers == [1, 2, 3, 4]


# --- Delimited text ---------------------------------------------------------------------------------------------------------


def rows_of(content: bytes, columns=("id", "t"), **options):
    return list(read_delimited(io.BytesIO(content), "f.csv", FeedOptions(tuple(columns), **options)))


def test_columns_are_found_by_name_wherever_they_stand():
    assert rows_of(b"x,t,id\n9,a,1\n") == [RawRow(1, ("1", "a"))]


def test_latin_1_with_semicolons_and_decimal_commas(tmp_path):
    content = "Nr;Name;Preis;Pfad\n1;Kürbis;1.234,56 €;Möbel//Garten\n".encode("cp1252")
    products, _ = read(
        content,
        tmp_path,
        columns={"id": "Nr", "title": "Name", "price": "Preis", "category": "Pfad"},
        constants={"shop": "Gartenhaus"},
        encoding="cp1252",
        delimiter=";",
        decimal_comma=True,
        category_separator="//",
    )
    assert products == [
        {"id": "1", "title": "Kürbis", "price": 1234.56, "category": "Möbel > Garten", "shop": "Gartenhaus", "network": "net"}
    ]


def test_a_row_with_too_few_or_too_many_fields_is_refused_alone():
    found = rows_of(b"id,t,x\n1,a,b\n2,a\n3,a,b,c\n4,a,b,,\n")
    assert [row.row for row in found if isinstance(row, RawRow)] == [1, 4]
    assert [row[1:] for row in found if isinstance(row, RefusedRow)] == [
        (2, "", "row", "2,a", "3 fields, found 2"),
        (3, "", "row", "3,a,b,c", "3 fields, found 4"),
    ]


def test_a_quotation_mark_that_is_never_closed_costs_one_row():
    found = rows_of(b'id,t\n1,"open\n2,b\n3,"c\nd"\n')
    assert found[0][:2] == ("f.csv", 1) and "quotation mark" in found[0].expected
    assert found[1:] == [RawRow(2, ("2", "b")), RawRow(3, ("3", "c\nd"))]


def test_two_open_quotation_marks_do_not_merge_two_rows():
    found = rows_of(b'id,t,x\n1,"a,b\n2,"c,d\n3,a,b\n')
    assert [type(row) for row in found] == [RefusedRow, RefusedRow, RawRow]


def test_bytes_that_are_not_in_the_encoding_cost_one_row():
    found = rows_of(b"id,t\n1,\xff\n2,\xc3\xa9\n")
    assert found[0] == RefusedRow("f.csv", 1, "", "row", "1,\\udcff", "bytes that are utf-8")
    assert found[1] == RawRow(2, ("2", "é"))


def test_null_bytes_byte_order_marks_and_empty_lines_are_forgiven():
    assert rows_of(b"\xef\xbb\xbfid,t\n\n1,a\x00b\n\n") == [RawRow(1, ("1", "ab"))]


def test_other_encodings_are_read():
    assert rows_of("id,t\n1,é\n".encode("utf-16"), encoding="utf-16") == [RawRow(1, ("1", "é"))]


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=("Cs",))), st.text("ab\",\n' "))))
def test_well_formed_rows_are_read_back_as_written(rows):
    content = "id,t\n" + "".join(",".join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in rows)
    assert [row.values for row in rows_of(content.encode())] == rows


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_rubbish_breaks_a_reader(content):
    for reader, head in ((read_delimited, b"id,t\n"), (read_json_lines, b""), (read_google_xml, b"<rss><channel><item>")):
        try:
            found = list(reader(io.BytesIO(head + content), "f", FeedOptions(("id", "t"))))
        except CatalogueError:
            continue
        assert [row.row for row in found] == list(range(1, len(found) + 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"f.csv: the file is empty. Expected a first line with the columns id, t\."),
        (b"id,titel\n", r"f.csv:1: column 't' isn't there. Found: id, titel\. Correct the network's columns"),
        (b"id,tt\n", r"f.csv:1: column 't' isn't there. Found: id, tt\. Did you mean 'tt'\?"),
        (b"id;t\n", r"f.csv:1: column 'id' isn't there. Found: id;t\. The whole line is one column: is ',' the delimiter\?"),
        (b"id,t,t\n", r"f.csv:1: column 't' is there 2 times"),
    ],
)
def test_a_header_that_does_not_fit_stops_the_file(content, message):
    with pytest.raises(CatalogueError, match=message):
        rows_of(content)


# --- JSON lines -------------------------------------------------------------------------------------------------------------


def test_json_values_of_every_kind_are_coerced(tmp_path):
    rows = [
        {"id": 7, "title": None, "size": 42.0},
        {"id": 8, "title": "a", "size": 42.0, "price": 9.5, "brand": None, "gender": {"a": 1}},
    ]
    rows[1] |= {"category": ["Shoes", "Sneakers"], "colour": ["red", "blue"]}
    products, refused = read("\n".join(map(json.dumps, rows)).encode(), tmp_path, "jsonl", columns={})
    assert products == [
        {"id": "8", "title": "a", "size": "42", "price": 9.5, "category": "Shoes > Sneakers", "colour": "red, blue", "network": "net"}
    ]
    described = "something in at least one of title, brand, category, merchant_category, description, image"
    assert refused[0][1:] == (1, "", "title", "", described)


def test_json_lines_that_are_no_objects_are_refused():
    content = b'{"id": 1}\nnot json\n[1]\n\n{"id": "\xff"}\n{"id": NaN}\n"' + b"[" * 100_000
    found = list(read_json_lines(io.BytesIO(content), "f", FeedOptions(("id",))))
    assert [type(row) for row in found] == [RawRow, RefusedRow, RefusedRow, RefusedRow, RawRow, RefusedRow]
    assert found[1].expected.startswith("a JSON object, found ")
    assert found[2].expected == "a JSON object, found a list"
    assert found[3].expected == "a JSON object, found bytes that aren't utf-8"


def test_json_lines_in_another_encoding(tmp_path):
    products, _ = read('{"id": 1, "title": "é"}'.encode("latin-1"), tmp_path, "jsonl", columns={}, encoding="latin-1")
    assert products[0]["title"] == "é"


# --- Google Shopping XML ----------------------------------------------------------------------------------------------------

HEAD = b'<?xml version="1.0" encoding="UTF-8"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>'
END = b"</channel></rss>"


def item(number: int, title: bytes = b"T") -> bytes:
    nested = b"<g:shipping><g:title>no</g:title><g:price>9</g:price></g:shipping>"
    return b"<item><g:id>%d</g:id>%s<title>%s</title></item>" % (number, nested, title)


def items_of(content: bytes, columns=("g:id", "title")):
    return list(read_google_xml(io.BytesIO(content), "f.xml", FeedOptions(columns)))


def test_items_have_their_own_elements_only():
    assert items_of(HEAD + item(1) + END, ("g:id", "title", "g:price")) == [RawRow(1, ["1", "T", None])]


def test_atom_entries_and_declared_encodings():
    content = '<?xml version="1.0" encoding="ISO-8859-1"?><feed><entry><id>1</id><title>Café</title></entry></feed>'.encode("latin-1")
    assert items_of(content) == [RawRow(1, ["1", "Café"])]


def test_html_entities_and_character_data_are_let_through():
    assert items_of(HEAD + item(1, b"A&nbsp;&amp;<![CDATA[<b>]]>") + END)[0].values[1] == "A&nbsp;&<b>"


@pytest.mark.parametrize("title", [b"A & B", b"x</b>", b"\xff", b"\x0b", b"<b", b"<item"])
def test_broken_xml_costs_the_item_it_is_in(title):
    found = items_of(HEAD + item(1) + item(2, title) + item(3) + item(4) + END)
    assert [row.values[0] for row in found if isinstance(row, RawRow)] == ["1", "3", "4"]
    refused = [row for row in found if isinstance(row, RefusedRow)]
    assert len(refused) == 1 and refused[0].row == 2 and refused[0].expected == "a well-formed item"


def test_where_the_xml_broke_is_said_by_byte():
    content = HEAD + item(1) + b"<item>\x01</item>" + END
    assert items_of(content)[1].found == f"not well-formed (invalid token) at byte {content.index(1)}"


def test_an_item_that_is_never_closed_is_refused_alone():
    found = items_of(HEAD + item(1) + b"<item><g:id>2</g:id>" + item(3) + item(4) + END)
    assert [type(row) for row in found] == [RawRow, RefusedRow, RawRow, RawRow]


@pytest.mark.parametrize("content", [HEAD + item(1), HEAD + item(1) + b"<item><ti", HEAD + item(1) + b"<item>"])
def test_a_file_cut_off_is_one_refused_row(content):
    assert [type(row) for row in items_of(content)] == [RawRow, RefusedRow]


def test_broken_items_are_found_across_the_blocks_a_file_is_read_in():
    filler = b"x" * 997
    content = HEAD + b"".join(item(number, filler + (b"&" if number % 7 == 0 else b"")) for number in range(1, 2000)) + END
    found = items_of(content)
    assert [row.row for row in found if isinstance(row, RefusedRow)] == list(range(7, 2000, 7))
    assert [row.row for row in found] == list(range(1, 2000))


@pytest.mark.parametrize("entity", [b'<!ENTITY a "aaa">', b'<!ENTITY a SYSTEM "file:///etc/passwd">'])
def test_a_document_with_entities_of_its_own_is_refused(entity):
    with pytest.raises(CatalogueError, match=r"f\.xml: the document declares entities of its own.*Remove its DOCTYPE"):
        items_of(b"<!DOCTYPE rss [" + entity + b"]><rss><item><id>&a;</id></item></rss>")


def test_an_outer_document_type_is_not_fetched():
    assert items_of(b'<!DOCTYPE rss SYSTEM "file:///etc/passwd"><rss><item><id>1</id></item></rss>') == [RawRow(1, ["1", None])]


def test_an_unknown_encoding_stops_the_file():
    with pytest.raises(CatalogueError, match="unknown encoding"):
        items_of(b'<?xml version="1.0" encoding="klingon"?><rss/>')


def test_google_names_are_known_without_a_mapping(tmp_path):
    content = HEAD + b"<item><g:id>1</g:id><g:title>T</g:title><g:color>red</g:color><g:price>9.50 EUR</g:price></item>" + END
    products, _ = read(content, tmp_path, "google_xml", columns={})
    assert products == [{"id": "1", "title": "T", "colour": "red", "price": 9.5, "network": "net"}]


# --- Parquet ----------------------------------------------------------------------------------------------------------------


def test_parquet_types_become_text_and_numbers(tmp_path):
    table = pa.table(
        {
            "id": pa.array([1, None], pa.int64()),
            "title": pa.array(["a", "b"]).dictionary_encode(),
            "price": pa.array([decimal.Decimal("1.50"), None]),
            "size": pa.array([datetime.date(2020, 1, 2), None]),
            "vector": pa.array([[0.5, 1.0], None], pa.list_(pa.float32())),
        }
    )
    path = tmp_path / "feed.parquet"
    pq.write_table(table, path)
    batch = next(read_batches("net", NetworkSettings(format="parquet"), path, dense={"vector": 2}))
    assert batch.products == [{"id": "1", "title": "a", "price": 1.5, "size": "2020-01-02", "vector": [0.5, 1.0], "network": "net"}]
    assert batch.refused[0].field == "id"


@pytest.mark.parametrize("content", [b"", b"PAR1 rubbish", CONTENT["parquet"][:-20]])
def test_a_damaged_parquet_file_is_named(content, tmp_path):
    with pytest.raises(CatalogueError, match=r"feed: it can't be read as Parquet"):
        read(content, tmp_path, "parquet")


def test_a_parquet_file_without_a_column_is_named(tmp_path):
    with pytest.raises(CatalogueError, match=r"feed:1: column 'skuu' isn't there. Found: sku, name.*Did you mean 'sku'\?"):
        read(CONTENT["parquet"], tmp_path, "parquet", columns={**COLUMNS, "id": "skuu"})
