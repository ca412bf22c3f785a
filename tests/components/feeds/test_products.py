"""The mapping of a network turns rows into products, and says what doesn't fit."""

from __future__ import annotations

import gzip

import pytest

from components.feeds.files import find_feeds
from components.feeds.fingerprint import feeds_fingerprint
from components.feeds.products import read_batches, read_products
from schemas.errors import CatalogueError
from schemas.product import DESCRIBING_FIELDS
from schemas.settings import NetworkSettings

DESCRIBED = "something in at least one of title, brand, category, merchant_category, description, image"


@pytest.fixture
def feed(tmp_path):
    def write(text: str):
        path = tmp_path / "feed.csv"
        path.write_text(text)
        return path

    return write


def test_missing_required_fields_say_where_what_and_whose(feed):
    path = feed("id,title,shop\n,Shoe,Big Shop\n2,N/A,Small Shop\n3,Shoe,\n")
    ((products, refused),) = read_products("net", NetworkSettings(), path)
    assert [product["id"] for product in products] == ["3"]
    assert [tuple(row) for row in refused] == [
        (str(path), 1, "Big Shop", "id", "", "a text that says something in column 'id'"),
        (str(path), 2, "Small Shop", "title", "N/A", DESCRIBED),
    ]
    assert str(refused[1]) == f"{path}:2: title 'N/A' can't be used. Expected {DESCRIBED}."


@pytest.mark.parametrize("field", DESCRIBING_FIELDS)
def test_one_describing_field_is_enough(feed, field):
    settings = NetworkSettings(columns={"id": "id", field: "said"})
    ((products, refused),) = read_products("net", settings, feed("id,said\n1,Shoes\n"))
    assert products == [{"id": "1", field: "Shoes", "network": "net"}]
    assert refused == []


def test_size_colour_gender_price_and_shop_describe_nothing(feed):
    path = feed("id,title,size,colour,gender,price,shop\n1,,42,red,men,9.50,Shop\n")
    ((products, refused),) = read_products("net", NetworkSettings(), path)
    assert products == []
    assert [tuple(row) for row in refused] == [(str(path), 1, "Shop", "title", "", DESCRIBED)]


def test_a_network_without_titles_is_read(feed):
    settings = NetworkSettings(columns={"id": "id", "brand": "marke"})
    ((products, refused),) = read_products("net", settings, feed("id,marke\n1,Acme\n2,\n"))
    assert products == [{"id": "1", "brand": "Acme", "network": "net"}]
    assert (refused[0].row, refused[0].field, refused[0].found) == (2, "title", "")


def test_an_id_that_is_too_long_is_refused_not_cut(feed):
    ((_, refused),) = read_products("net", NetworkSettings(), feed(f"id,title\n{'x' * 201},Shoe\n"))
    assert refused[0].expected == "at most 200 characters"


def test_a_price_that_cannot_be_read_blanks_the_field_not_the_row(feed):
    batch = next(read_batches("net", NetworkSettings(), feed('id,title,price\n1,Shoe,"12,99"\n')))
    assert batch.products == [{"id": "1", "title": "Shoe", "network": "net"}]
    assert batch.blanked[0][0] == 1 and batch.blanked[0][1].found == "12,99"


def test_constants_fill_what_the_row_leaves_empty(feed):
    settings = NetworkSettings(
        columns={"id": "id", "title": "title", "shop": "shop"}, constants={"shop": "Default", "brand": "ACME", "network": "other"}
    )
    ((products, _),) = read_products("net", settings, feed("id,title,shop\n1,a,Own\n2,b,\n"))
    assert [(product["shop"], product["brand"], product["network"]) for product in products] == [
        ("Own", "ACME", "other"),
        ("Default", "ACME", "other"),
    ]


def test_the_networks_shop_is_blamed_for_rows_that_do_not_parse(feed):
    settings = NetworkSettings(columns={"id": "id", "title": "title"}, constants={"shop": "Big Shop"})
    ((_, refused),) = read_products("net", settings, feed("id,title\n1\n"))
    assert refused[0].shop == "Big Shop"


def test_wrong_vectors_are_blanked(feed):
    batch = next(read_batches("net", NetworkSettings(), feed("id,title,vector\n1,a,0.5 1\n2,b,1\n3,c,\n"), dense={"vector": 2}))
    assert [product.get("vector") for product in batch.products] == [[0.5, 1.0], None, None]
    assert [row for row, _ in batch.blanked] == [2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"id": "a", "title": "b", "color": "c"}}, "networks.net: 'color' isn't a field of a product. Known: id, shop"),
        ({"columns": {"title": "a"}}, "networks.net.columns: id must be mapped to a column. Found: title."),
        ({"columns": {"id": "a"}}, "networks.net.columns: none of title, brand, .* is mapped to a column. Map title at least."),
        ({"constants": {"id": "7"}}, "networks.net.columns: id must be mapped to a column"),
        ({"delimiter": ";;"}, "networks.net.delimiter: ';;' must be one character"),
        ({"encoding": "klingon"}, "networks.net.encoding: 'klingon' is unknown"),
        ({"constants": {"price": "cheap"}}, "networks.net.constants: price 'cheap' can't be used. Expected an amount"),
    ],
)
def test_a_mapping_that_cannot_work_is_named(settings, message, feed):
    with pytest.raises(CatalogueError, match=message):
        list(read_products("net", NetworkSettings(**settings), feed("id,title\n")))


def test_a_mapped_column_that_no_row_has_is_named(feed):
    settings = NetworkSettings(columns={"id": "id", "title": "title", "brand": "marke"})
    with pytest.raises(CatalogueError, match=r"feed\.csv:1: column 'marke' isn't there\. Found: id, title\."):
        list(read_products("net", settings, feed("id,title\n1,a\n")))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CatalogueError, match=r"nothing\.csv: the feed can't be opened: No such file"):
        list(read_products("net", NetworkSettings(), tmp_path / "nothing.csv"))


def test_a_gzip_file_cut_off_is_named(tmp_path):
    path = tmp_path / "feed.csv.gz"
    path.write_bytes(gzip.compress(b"id,title\n" + b"".join(b"%d,Shoe %d\n" % (n, n * 7919) for n in range(20_000)))[:-4000])
    with pytest.raises(CatalogueError, match=r"feed\.csv\.gz: the gzip file is damaged or cut off"):
        list(read_products("net", NetworkSettings(), path))


def test_globs_are_sorted_and_files_come_once(tmp_path):
    for name in ("b.csv", "a.csv", "sub/c.csv", "d.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.removeprefix(f"{tmp_path}/") for path in find_feeds(["d.xml", "*.csv", "a.csv", "**/c.csv"], tmp_path, "shop.yaml")]
    assert names == ["d.xml", "a.csv", "b.csv", "sub/c.csv"]
    assert find_feeds([str(tmp_path / "*.xml")], "/elsewhere", "shop.yaml") == [str(tmp_path / "d.xml")]


def test_a_pattern_without_a_file_is_named(tmp_path):
    with pytest.raises(CatalogueError, match=r"shop\.yaml: networks\.net\.feeds: '\*\.csv' names no file in "):
        find_feeds(["*.csv"], tmp_path, "shop.yaml: networks.net.feeds")


def test_remote_patterns_use_the_same_rules(tmp_path):
    (tmp_path / "a.csv").write_text("id,title\n1,a\n")
    (found,) = find_feeds([f"file://{tmp_path}/*.csv"], "/elsewhere", "shop.yaml")
    assert found == f"file://{tmp_path}/a.csv"
    ((products, _),) = read_products("net", NetworkSettings(), found)
    assert products[0]["id"] == "1"


def test_the_fingerprint_goes_by_content_and_order(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c", "d")]
    for path, text in zip(paths, ("1", "2", "1", "12"), strict=True):
        path.write_text(text)
    a, b, c, d = paths
    assert feeds_fingerprint([a, b]) == feeds_fingerprint([c, b])
    assert len({feeds_fingerprint(files) for files in ([a, b], [b, a], [d], [a], [])}) == 5
