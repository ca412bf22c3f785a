"""The batch on disk: items a labeller can answer, and a batch id that follows from them."""

import json

import numpy as np
import pytest

from components.batch_files import read_batch
from components.sampling.batch import pick
from components.sampling.contract import find_strategy, known_strategies
from components.sampling_batch import BatchSettings, batch_version, draw_batch, write_batch
from components.scored_pool import read_pool_manifest, read_scored_pool
from schemas.errors import SamplingError
from schemas.taxonomy import Node, Taxonomy
from tests.components.toy_pool import TREE, toy_products, write_toy_pool

SETTINGS = BatchSettings("margin", 20, 0.2, 3)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_toy_pool(tmp_path_factory.mktemp("toy"), 200)


@pytest.fixture(scope="module")
def drawn(pool):
    return draw_batch(pool, TREE, SETTINGS)


def test_an_item_carries_what_a_labeller_needs(drawn):
    products = {product["id"]: product for product in toy_products(200)}
    for item in drawn[0]:
        product = products[item["product_id"]]
        assert (item.get("title"), item["group"], item["rule_ids"]) == (product["title"], product["group"], product["rule_ids"] or [])
        assert item.get("brand") == product["brand"]
        assert item.get("price") == product["price"]
        assert "size" not in item
        assert item["stream"] in ("strategy", "audit")
        assert product["split"] == "dev"


def test_a_product_without_a_title_is_asked_about_like_any_other(pool):
    products = {product["id"]: product for product in toy_products(200)}
    items, _ = draw_batch(pool, TREE, BatchSettings("margin", 200, 0.2, 3))
    titleless = [item for item in items if products[item["product_id"]]["title"] is None]
    assert len(titleless) >= 3
    for item in titleless:
        assert "title" not in item
        assert item["brand"] == products[item["product_id"]]["brand"]
        assert len(item["suggestions"]) == 4


def test_suggestions_are_the_best_nodes_with_their_paths(pool, drawn):
    scored = read_scored_pool(pool)
    rows = {product_id: row for row, product_id in enumerate(scored.product_ids)}
    for item in drawn[0]:
        row = rows[item["product_id"]]
        assert [found["node_id"] for found in item["suggestions"]] == scored.exclusive_nodes[row, :5].tolist()
        assert [found["path"] for found in item["suggestions"]] == [TREE.path(node) for node in scored.exclusive_nodes[row, :5]]
        assert item["suggestions"][0]["probability"] == pytest.approx(float(scored.exclusive_probabilities[row, 0]), abs=1e-6)


def test_the_pool_counts_products_that_could_have_been_asked(drawn):
    products = toy_products(200)
    closed = {product["group"] for product in products if product["answer_node"]}
    while True:  # A group with the title of a closed one is closed.
        titles = {product["title"] for product in products if product["group"] in closed} - {None}
        more = closed | {product["group"] for product in products if product["title"] in titles}
        if more == closed:
            break
        closed = more
    assert drawn[1] == sum(product["split"] == "dev" and product["group"] not in closed for product in products) > 90


def test_a_node_that_left_the_taxonomy_is_not_suggested(pool):
    smaller = Taxonomy([Node("s", "", "Shoes", True), Node("k", "s", "Sneakers", True)])
    items, _ = draw_batch(pool, smaller, SETTINGS)
    assert {found["node_id"] for item in items for found in item["suggestions"]} <= {"s", "k"}


def test_the_same_draw_is_the_same_batch(pool, drawn, tmp_path):
    first = write_batch(tmp_path / "first", drawn[0], SETTINGS, drawn[1], version=1, model="candidate")
    again = draw_batch(pool, TREE, SETTINGS)
    second = write_batch(tmp_path / "second", again[0], SETTINGS, again[1], version=2, model="candidate")
    assert first.batch_id == second.batch_id
    assert len(first.batch_id) == 16


def test_where_one_answer_is_all_there_is_nothing_is_asked(pool):
    assert draw_batch(pool, Taxonomy([Node("things", "", "Things", True)]), SETTINGS) == ([], 0)


def test_another_seed_is_another_batch(pool, drawn, tmp_path):
    other = draw_batch(pool, TREE, BatchSettings("margin", 20, 0.2, 4))
    first = write_batch(tmp_path / "first", drawn[0], SETTINGS, drawn[1], version=1, model="candidate")
    assert first.batch_id != write_batch(tmp_path / "second", other[0], SETTINGS, other[1], version=1, model="candidate").batch_id


def test_what_is_written_is_read_back(drawn, tmp_path):
    manifest = write_batch(tmp_path, drawn[0], SETTINGS, drawn[1], version=7, model="blessed")
    assert read_batch(tmp_path) == (drawn[0], manifest)
    row = json.loads((tmp_path / "manifest.json").read_text())
    assert {"batch_id", "strategy", "seed", "num_items", "pool", "version"} <= set(row)
    assert (row["num_items"], row["version"], row["strategy"]) == (20, 7, "margin")


def test_an_item_with_strange_line_ends_stays_one_line(tmp_path):
    item = {"product_id": "p", "title": "a\u2028b\nc\x85d"}
    manifest = write_batch(tmp_path, [item], SETTINGS, 1, version=0, model="candidate")
    assert read_batch(tmp_path) == ([item], manifest)


def test_the_batch_names_the_version_that_scored(pool):
    manifest = read_pool_manifest(pool)
    assert batch_version(manifest, 9) == 9
    assert batch_version(manifest, 0) == 0
    blessed = type(manifest)(**{**vars(manifest), "model": "blessed", "version": 5})
    assert batch_version(blessed, 0) == 5


@pytest.mark.parametrize("name", [name for name in known_strategies() if name not in ("vote_entropy", "consensus_divergence")])
def test_every_strategy_draws_from_a_pool_on_disk_what_it_draws_from_memory(pool, name):
    items, size = draw_batch(pool, TREE, BatchSettings(name, 20, 0.2, 3))
    memory = pick(read_scored_pool(pool), find_strategy(name), 20, 0.2, np.random.default_rng(3))
    ids = read_scored_pool(pool, ["product_id"]).product_ids
    assert [(item["product_id"], item["stream"]) for item in items] == [(ids[item.row], item.stream) for item in memory]
    assert len(items) == 20 < size


def test_a_target_limits_the_batch_and_is_said_in_the_manifest(pool, tmp_path):
    everything = draw_batch(pool, TREE, BatchSettings("margin", 200, 0.2, 3))
    settings = BatchSettings("margin", 200, 0.2, 3, subtree="Bags")
    items, size = draw_batch(pool, TREE, settings)
    assert len(items) > 10 and all(item["suggestions"][0]["path"].startswith("Bags") for item in items)
    assert any(not item["suggestions"][0]["path"].startswith("Bags") for item in everything[0])
    assert size < everything[1]
    manifest = write_batch(tmp_path, items, settings, size, version=1, model="candidate")
    assert (manifest.subtree, manifest.shop) == ("Bags", "")
    assert read_batch(tmp_path)[1] == manifest


def test_products_answered_after_the_scoring_are_not_asked(pool):
    first, size = draw_batch(pool, TREE, SETTINGS)
    answers = {item["product_id"]: None if place % 2 else "k" for place, item in enumerate(first)}
    again, left = draw_batch(pool, TREE, SETTINGS, answers)
    assert not {item["group"] for item in again} & {item["group"] for item in first}
    assert left <= size - len(first)


def test_a_batch_of_an_earlier_release_is_read(drawn, tmp_path):
    manifest = write_batch(tmp_path, drawn[0], SETTINGS, drawn[1], version=7, model="blessed")
    row = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({key: row[key] for key in row if key not in ("subtree", "shop")}))
    assert read_batch(tmp_path) == (drawn[0], manifest)


def test_a_folder_without_a_batch_is_refused(tmp_path):
    with pytest.raises(SamplingError, match="isn't a sampling batch"):
        read_batch(tmp_path)
