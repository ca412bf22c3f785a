"""Reading a scored pool: whole, by column, by block."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.scored_pool import (
    COLUMNS,
    StoredEmbeddings,
    embedding_blocks,
    iterate_scored_pool,
    read_pool_manifest,
    read_pool_rows,
    read_scored_pool,
)
from schemas.errors import SamplingError
from tests.components.toy_pool import toy_products, write_toy_pool


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_toy_pool(tmp_path_factory.mktemp("toy"), 100)


def test_every_column_is_an_array_of_all_products(folder):
    pool = read_scored_pool(folder)
    assert len(pool) == 100
    assert pool.exclusive_nodes.shape == pool.exclusive_probabilities.shape == (100, 4)
    assert pool.rule_based_nodes.shape == (100, 4)
    assert pool.embeddings.shape == (100, 8)
    assert pool.embeddings.dtype == pool.exclusive_probabilities.dtype == pool.exclusive_entropy.dtype == np.float32
    assert pool.answered.dtype == bool


def test_values_are_those_written(folder):
    pool, products = read_scored_pool(folder), {product["id"]: product for product in toy_products(100)}
    for row, product_id in enumerate(pool.product_ids):
        product = products[product_id]
        assert (pool.splits[row], pool.groups[row]) == (product["split"], product["group"])
        assert pool.answered[row] == (product["answer_node"] is not None)
        assert pool.rule_ids[row] == (product["rule_ids"] or [])
        assert pool.fields["title"][row] == product["title"]
        assert pool.fields["brand"][row] == product["brand"]
        assert pool.fields["size"][row] is None
        assert pool.fields["price"][row] == (None if product["price"] is None else pytest.approx(12.99))


def test_equal_node_ids_are_one_object(folder):
    nodes = read_scored_pool(folder, ["exclusive_nodes"]).exclusive_nodes
    assert len({id(node) for node in nodes.ravel()}) <= 2 * len(set(nodes.ravel()))  # Once a file.


def test_only_the_columns_asked_for_are_read(folder):
    pool = read_scored_pool(folder, ["product_id", "title"])
    assert set(pool.fields) == {"title"}
    assert pool.embeddings is None
    with pytest.raises(SamplingError, match="read without embeddings"):
        pool.need("embeddings")


@pytest.mark.parametrize("block_products", [1, 7, 1000])
def test_blocks_add_up_to_the_whole(folder, block_products):
    whole = read_scored_pool(folder)
    blocks = list(iterate_scored_pool(folder, block_products=block_products))
    assert max(len(block) for block in blocks) <= block_products
    assert np.concatenate([block.product_ids for block in blocks]).tolist() == whole.product_ids.tolist()
    assert np.array_equal(np.concatenate([block.embeddings for block in blocks]), whole.embeddings)
    assert np.concatenate([block.exclusive_nodes for block in blocks]).tolist() == whole.exclusive_nodes.tolist()


@pytest.mark.parametrize("rows", [[], [99], [5, 3, 95, 4, 3]])
def test_a_few_rows_are_those_of_the_whole_in_the_order_asked(folder, rows):
    whole, few = read_scored_pool(folder), read_pool_rows(folder, rows)
    assert few.product_ids.tolist() == whole.product_ids[rows].tolist()
    assert few.fields["title"].tolist() == whole.fields["title"][rows].tolist()
    assert np.array_equal(few.embeddings, whole.embeddings[rows] if rows else few.embeddings)


def test_a_row_that_is_not_there_is_refused(folder):
    with pytest.raises(SamplingError, match="rows 3 to 100 aren't all in a pool of 100 products"):
        read_pool_rows(folder, [3, 100])


def test_an_unknown_column_is_refused(folder):
    with pytest.raises(SamplingError, match=f"column 'titel' isn't in a scored pool. Known: {', '.join(COLUMNS[:2])}"):
        read_scored_pool(folder, ["titel"])


def test_an_answer_is_the_node_people_named_and_a_title_key_joins_equal_titles(folder):
    pool, products = read_scored_pool(folder), {product["id"]: product for product in toy_products(100)}
    titles = {}
    for row, product_id in enumerate(pool.product_ids):
        assert pool.answer_nodes[row] == products[product_id]["answer_node"]
        titles.setdefault(pool.title_keys[row], set()).add(products[product_id]["title"])
    assert all(len(found) == 1 for found in titles.values())
    assert titles[None] == {None}


def test_a_pool_without_a_committee_has_columns_without_members(folder):
    pool = read_scored_pool(folder)
    assert pool.committee_nodes.shape == pool.committee_probabilities.shape == (100, 0, 0)


@pytest.mark.parametrize("rows", [np.array([99, 3, 3, 0]), slice(10, 20), np.array([], np.int64)])
def test_embeddings_on_disk_are_those_in_memory(folder, rows):
    whole, stored = read_scored_pool(folder).embeddings, StoredEmbeddings(folder)
    assert len(stored) == 100
    assert np.array_equal(stored[rows], whole[rows])
    for found in (stored, whole):
        blocks = list(embedding_blocks(found, 30))
        assert np.array_equal(np.concatenate([block for _, block in blocks]), whole)
        assert [start for start, _ in blocks] == np.cumsum([0, *(len(block) for _, block in blocks)])[:-1].tolist()


def test_a_pool_of_an_earlier_release_says_which_column_it_lacks(folder, tmp_path):
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    for path in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop(["title_key"]), tmp_path / path.name)
    assert len(read_scored_pool(tmp_path, ["product_id"])) == 100
    with pytest.raises(SamplingError, match="column 'title_key' is missing: an earlier release scored this pool. Score the pool again"):
        read_scored_pool(tmp_path, ["product_id", "title_key"])


def test_a_pool_that_was_not_finished_is_refused(tmp_path):
    with pytest.raises(SamplingError, match="isn't a scored pool. Run PoolScorer to its end"):
        read_scored_pool(tmp_path)


def test_a_pool_with_too_few_products_is_refused(folder, tmp_path):
    row = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(row))
    (tmp_path / "scored-00000-of-00002.parquet").write_bytes((folder / "scored-00000-of-00002.parquet").read_bytes())
    with pytest.raises(SamplingError, match="found 90 products, the manifest says 100"):
        read_scored_pool(tmp_path)


def test_a_damaged_file_is_refused(folder, tmp_path):
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    (tmp_path / "scored-00000-of-00001.parquet").write_bytes(b"not parquet at all")
    for read in (read_scored_pool, lambda path: list(iterate_scored_pool(path))):
        with pytest.raises(SamplingError, match="the scored pool is damaged"):
            read(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"num_products": 1, "surprise": 2}'])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SamplingError, match="manifest.json: this isn't the manifest"):
        read_pool_manifest(tmp_path)


def test_an_empty_pool_reads_as_empty_arrays(tmp_path):
    pool = read_scored_pool(write_toy_pool(tmp_path, 0))
    assert len(pool) == 0
    assert pool.exclusive_nodes.shape[0] == pool.embeddings.shape[0] == 0
