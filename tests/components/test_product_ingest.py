"""Feeds become examples: every row is in a split, superseded or refused, in the same order and bytes each time."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.example_records import encode_example, frame
from components.ingest_plan import superseded_rows
from components.product_ingest import Feed, ingest
from schemas.errors import CatalogueError
from schemas.grouping import group_key
from schemas.product import SPLITS
from schemas.settings import IngestSettings, NetworkSettings


def examples_of(folder: Path, split: str) -> list[dict]:
    found = []
    for path in sorted((folder / f"Split-{split}").iterdir()):
        for record in tf.data.TFRecordDataset([str(path)], compression_type="GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            found.append({name: _value(feature) for name, feature in features.items()})
    return found


def _value(feature: tf.train.Feature):
    values = list(feature.bytes_list.value) or list(feature.float_list.value)
    assert values, "an absent feature isn't written"
    return values[0].decode() if isinstance(values[0], bytes) else values if len(values) > 1 else values[0]


class Shop:
    """A folder of feeds and what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.feeds: list[Feed] = []

    def feed(self, rows, network="net", **changes) -> Path:
        path = self.folder / f"feed-{len(self.feeds)}.jsonl"
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
        self.feeds.append(Feed(len(self.feeds), network, NetworkSettings(**{"format": "jsonl", **changes}), str(path)))
        return path

    def run(self, name="out", seed=0, dense=None, **changes):
        self.examples, self.quarantine = self.folder / name / "examples", self.folder / name / "quarantine"
        run_settings = IngestSettings(**{"max_refused_share": 0.9, **changes})
        return ingest(self.feeds, run_settings, seed=seed, examples=str(self.examples), quarantine=str(self.quarantine), dense=dense)

    def split(self, name: str) -> list[dict]:
        return examples_of(self.examples, name)

    @property
    def all(self) -> list[dict]:
        return [example for split in SPLITS for example in self.split(split)]

    @property
    def refused(self) -> list[dict]:
        return [json.loads(line) for line in (self.quarantine / "quarantine.jsonl").read_text().splitlines()]


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def products(count: int, start: int = 0) -> list[dict]:
    return [{"id": str(n), "title": f"Product number {n}", "brand": "ACME", "price": n + 1} for n in range(start, start + count)]


def test_examples_hold_what_the_contract_says(shop):
    shop.feed([{"id": 1, "title": "CafÃ© &amp; Co", "price": "9.50", "brand": "N/A", "shop": "Big"}], network="awin")
    shop.run()
    (example,) = shop.all
    group = group_key({"title": "Café & Co", "shop": "Big"})
    assert example == {"id": "1", "title": "Café & Co", "shop": "Big", "network": "awin", "price": 9.5, "group": group}


def test_a_product_without_a_title_is_a_group_of_its_own(shop):
    shop.feed([{"id": str(number), "brand": "ACME", "image": "same.jpg"} for number in range(3)])
    summary = shop.run()
    assert (summary["refused"], summary["groups"]) == (0, 3)
    groups = {example["group"] for example in shop.all}
    assert groups == {group_key({"id": str(number)}) for number in range(3)}
    assert all("title" not in example for example in shop.all)


def test_both_splits_have_a_file_though_one_is_empty(shop):
    shop.feed(products(1))
    shop.run()
    for split in SPLITS:
        assert [path.name for path in (shop.examples / f"Split-{split}").iterdir()] == ["examples-00000-of-00001.gz"]
    assert len(shop.all) == 1


def test_nothing_is_left_beside_the_files_of_the_contract(shop):
    shop.feed([*products(5), "broken"])
    shop.run()
    assert sorted(path.name for path in shop.examples.iterdir()) == ["Split-dev", "Split-test"]
    assert sorted(path.name for path in shop.quarantine.iterdir()) == ["left_out.jsonl", "quarantine.jsonl", "summary.json"]


def test_the_later_row_of_an_id_wins_and_is_counted(shop):
    shop.feed([{"id": "1", "title": "first"}, {"id": "2", "title": "other"}, {"id": "1", "title": "second"}])
    shop.feed([{"id": " 1 ", "title": "third"}, "broken"], network="late")
    summary = shop.run()
    assert summary["duplicates"] == 2 and summary["rows"] == 5 and summary["refused"] == 1
    assert {(example["id"], example["title"], example["network"]) for example in shop.all} == {
        ("1", "third", "late"),
        ("2", "other", "net"),
    }


def test_the_summary_adds_up_and_the_quarantine_says_why(shop):
    rows = [{**product, "shop": "Good"} for product in products(8)]
    path = shop.feed([*rows, {"id": "x", "shop": "Bad"}, '{"id": ', {"id": "9", "title": "t", "price": "cheap"}])
    summary = shop.run()
    assert summary == json.loads((shop.quarantine / "summary.json").read_text())
    assert sum(summary["by_split"].values()) == summary["rows"] - summary["refused"] - summary["duplicates"] == 9
    assert summary["by_feed"] == {str(path): {"rows": 11, "refused": 2}}
    assert summary["by_shop"]["Good"] == {"rows": 8, "refused": 0} and summary["by_shop"]["Bad"] == {"rows": 1, "refused": 1}
    assert summary["groups"] == 9
    assert summary["blanked"]["price"]["values"] == 1 and f"{path}:11: 'cheap' isn't an amount" in summary["blanked"]["price"]["example"]
    assert shop.refused[0] == {
        "feed": str(path),
        "row": 9,
        "shop": "Bad",
        "field": "title",
        "found": "",
        "expected": "something in at least one of title, brand, category, merchant_category, description, image",
    }
    assert shop.refused[1]["row"] == 10 and shop.refused[1]["expected"].startswith("a JSON object")


def test_rows_keep_the_order_of_the_feeds_across_files(shop):
    shop.feed(products(40))
    shop.feed(products(30, start=40))
    shop.run(shard_rows=7, batch_rows=3)
    names = [path.name for path in sorted((shop.examples / "Split-dev").iterdir())]
    assert len(names) > 5 and names[-1] == f"examples-{len(names) - 1:05d}-of-{len(names):05d}.gz"
    for split in SPLITS:
        ids = [int(example["id"]) for example in shop.split(split)]
        assert ids == sorted(ids)
        for path in (shop.examples / f"Split-{split}").iterdir():
            assert len(list(tf.data.TFRecordDataset([str(path)], compression_type="GZIP"))) <= 7
    assert len(shop.all) == 70


def test_batch_sizes_change_nothing_in_the_files(shop):
    shop.feed([*products(50), {"id": "3", "title": "again"}])
    contents = []
    for number, batch_rows in enumerate((1, 7, 1000)):
        shop.run(name=f"out{number}", batch_rows=batch_rows)
        contents.append({path.name: path.read_bytes() for split in SPLITS for path in (shop.examples / f"Split-{split}").iterdir()})
    assert contents[0] == contents[1] == contents[2]


@settings(max_examples=15, deadline=None)
@given(
    titles=st.lists(st.sampled_from(["Red Shoe", "shoe, RED!", "Blue Bag", "bag blue - XL", "Ring", "***"]), min_size=1, max_size=60),
    seed=st.integers(0, 99),
)
def test_a_group_never_crosses_the_splits(titles, seed, tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.feed([{"id": str(number), "title": title} for number, title in enumerate(titles)])
    summary = shop.run(seed=seed, test_share=0.4)
    groups = {split: {example["group"] for example in shop.split(split)} for split in SPLITS}
    assert not groups["dev"] & groups["test"]
    assert len(groups["dev"] | groups["test"]) == summary["groups"]
    assert summary["by_split"] == {split: len(shop.split(split)) for split in SPLITS}


def test_a_split_file_says_which_products_are_judged(shop):
    shop.feed(products(4))
    split = shop.folder / "gold.tsv"
    split.write_text("product_id\tnode_id\tsplit\n2\tn\ttest\n1\tn\tdev\n99\tn\ttest\n")
    shop.run(split=str(split))
    assert [example["id"] for example in shop.split("test")] == ["2"]
    assert [example["id"] for example in shop.split("dev")] == ["0", "1", "3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("product_id\tsplit\n1\tTest\n", r"gold\.tsv:2: split 'Test' must be dev or test\."),
        ("id\tsplit\n1\ttest\n", r"gold\.tsv:1: column 'product_id' isn't there\. Found: id, split\. Expected product_id and split\."),
        ("split\tproduct_id\ntest\n", r"gold\.tsv:2: found 'test', expected 2 fields, found 1\."),
        ("product_id\tsplit\n1\ttest\n1\tdev\n", r"gold\.tsv:3: product '1' is in both splits\. Keep one line of it\."),
    ],
)
def test_a_split_file_that_cannot_be_read_is_named(text, message, shop):
    shop.feed(products(1))
    (shop.folder / "gold.tsv").write_text(text)
    with pytest.raises(CatalogueError, match=message):
        shop.run(split=str(shop.folder / "gold.tsv"))


def test_dense_fields_are_floats_of_the_size_the_features_say(shop):
    shop.feed([{"id": 1, "title": "a", "vector": [0.5, 1.5]}, {"id": 2, "title": "b", "vector": [1]}])
    summary = shop.run(dense={"vector": 2})
    assert {example["id"]: example.get("vector") for example in shop.all} == {"1": [0.5, 1.5], "2": None}
    assert summary["blanked"]["vector"]["values"] == 1


def test_too_many_refused_rows_stop_the_run_and_name_the_worst(shop):
    path = shop.feed(
        [*({"id": n, "shop": "Bad Shop"} for n in range(6)), *({"title": "a", "shop": "Worse"} for _ in range(7)), "x", *products(6)]
    )
    with pytest.raises(CatalogueError) as error:
        shop.run(max_refused_share=0.1)
    stopped = f"{shop.quarantine}-stopped/quarantine.jsonl"
    assert str(error.value) == (
        "14 of 20 rows (70.0%) were refused, more than ingest.max_refused_share allows (10.0%)."
        f" Worst: Worse (7 of 7), Bad Shop (6 of 6), {path} (1 of 20)."
        " Commonest reason: id should be a text that says something in column 'id' (7 rows)."
        f" Every refused row is in {stopped}. Correct the feeds or the networks' columns, or raise ingest.max_refused_share."
    )
    assert len(Path(stopped).read_text().splitlines()) == 14
    assert json.loads(Path(stopped).with_name("summary.json").read_text())["refused"] == 14


def test_the_only_shop_of_a_feed_answers_for_rows_too_broken_to_say_theirs(shop):
    shop.feed([*({**product, "shop": "Only Shop"} for product in products(4)), "broken"])
    assert shop.run()["by_shop"] == {"Only Shop": {"rows": 5, "refused": 1}}
    assert shop.refused[0]["shop"] == ""
    with pytest.raises(CatalogueError, match=r"Worst: Only Shop \(1 of 5\)\."):
        shop.run(name="again", max_refused_share=0.1)


def test_nothing_but_refused_rows_stops_the_run_at_any_limit(shop):
    shop.feed(["x", "y"])
    with pytest.raises(CatalogueError, match="2 of 2 rows"):
        shop.run(max_refused_share=1.0)


def test_feeds_without_rows_stop_the_run(shop):
    path = shop.feed(["", ""])
    with pytest.raises(CatalogueError, match=f"the feeds hold no rows at all. Feeds read: {path}"):
        shop.run()


def test_a_feed_that_cannot_be_read_is_named_as_it_is(shop):
    path = shop.feed(["id;title"], format="csv")
    shop.feed(products(2))
    with pytest.raises(CatalogueError) as error:
        shop.run()
    assert str(error.value) == f"{path}:1: column 'id' isn't there. Found: id;title. The whole line is one column: is ',' the delimiter?"


_fields = st.dictionaries(
    st.sampled_from(["id", "title", "price", "vector", "absent"]),
    st.one_of(
        st.text(max_size=400), st.floats(width=32, allow_nan=False), st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=9)
    ),
)


@given(_fields)
def test_the_bytes_mean_what_tensorflow_reads(product):
    example = tf.train.Example.FromString(encode_example(product, ("id", "title", "price", "vector")))
    found = example.features.feature
    assert set(found) == set(product) - {"absent"}
    for name, feature in found.items():
        value = product[name]
        if isinstance(value, str):
            assert list(feature.bytes_list.value) == [value.encode()]
        else:
            assert list(feature.float_list.value) == (value if isinstance(value, list) else [value])


def test_long_records_are_encoded_and_framed(tmp_path):
    records = [
        encode_example({"id": "x" * size, "vector": [1.0] * size}, ("id", "vector")) for size in (1, 127, 128, 16_383, 16_384, 300_000)
    ]
    path = tmp_path / "records.gz"
    path.write_bytes(gzip.compress(b"".join(map(frame, records))))
    assert list(tf.data.TFRecordDataset([str(path)], compression_type="GZIP").as_numpy_iterator()) == records


@given(st.lists(st.integers(0, 20)))
def test_exactly_the_last_row_of_each_id_is_kept(ids):
    superseded = superseded_rows(np.array(ids, dtype=np.uint64))
    last = {product_id: position for position, product_id in enumerate(ids)}
    assert [position for position in range(len(ids)) if not superseded[position]] == sorted(last.values())
    assert sum(superseded) == len(ids) - len(Counter(ids))
