"""Proves what `aisle predict` writes of each product, with a toy model live."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.folder_digest import folder_sha256
from components.pair_pushing import push_pair
from pipeline.cli import main
from pipeline.commands.predict import feed_mapping
from schemas.errors import SettingsError
from schemas.settings_loader import load_settings
from schemas.taxonomy import load_taxonomy
from similarity.exact_index import ExactIndex
from similarity.planner import BuiltIndex, save_index
from similarity.vectors import in_tree_order
from tests.pipeline.shop import tree, write_shop
from tests.support.toy_model import write_toy_model


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    config = write_shop(folder / "shop")
    write_toy_model(folder / "model", load_taxonomy(folder / "shop" / "taxonomy.tsv"))
    vectors = np.eye(4, 3, dtype=np.float32) + 1
    products = in_tree_order(vectors, list("abcd"), np.zeros(4, np.int64), ["n"], [1])
    save_index(folder / "index", BuiltIndex(ExactIndex(products), 1.0, 10), folder_sha256(folder / "model"))
    push_pair(folder / "model", folder / "index", folder / "var" / "tiny" / "serving", "tiny", 1_700_000_000)
    return config


@pytest.fixture
def aisle(shop, monkeypatch, capsys):
    monkeypatch.setenv("AISLE_PREFIX", str(shop.parents[1] / "var"))

    def call(verb, *words, code=0):
        assert main([verb, *map(str, words), "--config", str(shop)]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return call


def test_every_usable_row_has_its_node_the_rules_that_fired_and_the_version(aisle, shop, tmp_path):
    said, errors = aisle("predict", shop.parent / "feeds" / "a.csv", "--quarantine", tmp_path / "q.jsonl", "--top", 2)
    rows = {row["id"]: row for row in map(json.loads, said.splitlines())}
    assert list(rows) == ["a1", "a2", "a4"]
    assert (rows["a1"]["node_id"], rows["a1"]["path"]) == ("k", "Shoes > Sneakers")
    assert rows["a2"]["node_id"] == "b"
    assert rows["a1"]["rules"] == [{"rule_id": "r1", "node_id": "k"}]
    assert rows["a4"]["rules"] == [{"rule_id": "r1", "node_id": "k", "vetoed": True}, {"rule_id": "r2", "node_id": "s", "veto": True}]
    for row in rows.values():
        assert row["version"] == 1_700_000_000
        # The toy model is as one of an earlier release, which promises nothing.
        assert (row["decision"], row["accepted_node"], row["confidence"]) == ("ask", "", row["probability"])
        assert len(row["top"]) == 2 and row["top"][0]["probability"] == row["probability"] >= row["top"][1]["probability"]
    assert "3 products by version 1700000000 of tiny" in errors and "1 rows refused, 1 values left out" in errors
    assert [json.loads(line)["field"] for line in (tmp_path / "q.jsonl").read_text().splitlines()] == ["id"]


def test_a_table_has_the_same_in_columns(aisle, shop, tmp_path):
    said, _ = aisle("predict", shop.parent / "feeds" / "a.csv", "--format", "tsv", "--top", 1, "--out", tmp_path / "out.tsv")
    assert said == ""
    lines = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert lines[0] == ["id", "node_id", "path", "probability", "decision", "accepted_node", "confidence", "rules", "top", "version"]
    assert lines[1][:3] == ["a1", "k", "Shoes > Sneakers"] and lines[3][7] == "r1=!k r2=!s"
    assert not (tmp_path / "out.tsv.part").exists()


def test_blocks_change_nothing(aisle, shop):
    one, _ = aisle("predict", shop.parent / "feeds" / "a.csv", "--set", "scoring.block_products=1")
    assert one == aisle("predict", shop.parent / "feeds" / "a.csv")[0]


def test_a_feed_without_a_usable_row_is_an_error_and_leaves_no_surprise(aisle, tmp_path):
    (tmp_path / "empty.csv").write_text("sku,name,maker,price\n")
    _, errors = aisle("predict", tmp_path / "empty.csv", "--network", "awin", code=1)
    assert "no row could be used" in errors


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.csv", "--network", "awin"], 1, "FEED: 'nowhere.csv' names no file"),
        (["nowhere.csv"], 2, "it can't be told whose mapping it follows. Pass --network with one of awin, lines."),
        (["x.csv", "--network", "zz"], 2, "--network 'zz' isn't in the settings. Known: awin, lines."),
        (["{feeds}/a.csv", "--set", "push.folder=/nowhere"], 1, "/nowhere: no model is live here. Run until one is blessed: aisle run."),
        (["{feeds}/a.csv", "--network", "lines"], 1, "no row could be used"),
        (["{feeds}/a.csv", "--out", "/nowhere/x"], 1, "/nowhere/x: can't be written: No such file or directory."),
    ],
)
def test_what_cannot_be_done_is_one_error(aisle, shop, words, code, message):
    _, errors = aisle("predict", *(word.replace("{feeds}", str(shop.parent / "feeds")) for word in words), code=code)
    found = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "{feed}"], "--out {feed}: this is the file of FEED, and would be written over. Name another file."),
        (["--quarantine", "{link}"], "--quarantine {link}: this is the file of FEED, and"),
        (["--out", "{folder}/x", "--quarantine", "{folder}/./x"], "--out {folder}/x: this is the file of --quarantine, and"),
        (["--out", "{config}"], "--out {config}: this is the file of --config, and"),
    ],
)
def test_no_file_that_is_read_is_written_over(aisle, shop, tmp_path, words, message):
    feed = tmp_path / "feed.csv"
    feed.write_bytes((shop.parent / "feeds" / "a.csv").read_bytes())
    (tmp_path / "link").symlink_to(feed)
    names = {"feed": feed, "link": tmp_path / "link", "folder": tmp_path, "config": shop}
    before = [feed.read_bytes(), shop.read_bytes()]
    _, errors = aisle("predict", feed, "--network", "awin", *(word.format(**names) for word in words), code=2)
    assert errors.startswith("error: " + message.format(**names)) and len(errors.splitlines()) == 1
    assert [feed.read_bytes(), shop.read_bytes()] == before and not (tmp_path / "x").exists()


def test_the_format_is_told_by_the_name_where_no_network_is_set():
    settings = load_settings(None)
    assert feed_mapping(settings, "x/new.jsonl.gz", None)[1].format == "jsonl"
    assert feed_mapping(settings, "x.xml", None)[1].format == "google_xml"
    with pytest.raises(SettingsError, match="its name doesn't tell the format"):
        feed_mapping(settings, "x.txt", None)


def test_export_copies_the_live_pair_whole(aisle, shop, tmp_path):
    said, _ = aisle("export", tmp_path / "release")
    assert said == f"exported version 1700000000 of tiny, model and index, to {tmp_path / 'release'}\n"
    copied, serving = tree(tmp_path / "release"), tree(shop.parents[1] / "var" / "tiny" / "serving")
    pointers = [json.loads(files.pop("live.json") or b"") for files in (copied, serving)]
    assert pointers[0] == {name: pointers[1][name] for name in ("name", "version", "model", "index")}
    assert copied == {name: content for name, content in serving.items() if name not in (".push.lock", "history.jsonl")}
    assert list(tmp_path.iterdir()) == [tmp_path / "release"]


def test_export_replaces_nothing(aisle, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    assert "this folder isn't empty, and export replaces nothing" in aisle("export", tmp_path, code=1)[1]
    assert "this isn't a folder" in aisle("export", tmp_path / "note.txt", code=1)[1]
    assert tree(tmp_path) == {"note.txt": b"mine"}
    (tmp_path / "empty").mkdir()
    aisle("export", tmp_path / "empty")


@pytest.mark.parametrize("damaged", ["models/tiny/1700000000/saved_model.pb", "indexes/tiny/1700000000/vectors.npy"])
def test_export_refuses_a_damaged_pair_and_leaves_nothing(aisle, shop, tmp_path, damaged):
    path = Path(shop.parents[1] / "var" / "tiny" / "serving" / damaged)
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    try:
        _, errors = aisle("export", tmp_path / "release", code=1)
    finally:
        path.write_bytes(content)
    assert len(errors.splitlines()) == 1 and errors.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_export_needs_something_live(aisle, tmp_path):
    assert "nothing is live here" in aisle("export", tmp_path / "x", "--set", "push.folder=/nowhere", code=1)[1]


def test_evaluate_and_batch_need_a_run(aisle):
    for words in (["evaluate"], ["batch", "show"]):
        assert "nothing has run here yet. Start with aisle run, or set run.root." in aisle(*words, code=1)[1]


def test_evaluate_refuses_a_folder_that_is_no_model_at_once(aisle, tmp_path):
    assert "there is no saved_model.pb" in aisle("evaluate", "--model", tmp_path, code=1)[1]
