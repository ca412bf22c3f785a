"""From a scored pool to an index in tree order."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.index_building import IndexPlan, build_pool_index, pool_vectors
from components.scored_pool import pool_files, read_scored_pool
from schemas.errors import NeighbourIndexError
from schemas.taxonomy import Node, Taxonomy
from similarity.planner import load_index
from similarity.product_columns import ProductFilter
from tests.components.toy_pool import TREE, write_toy_pool

PLAN = IndexPlan(exact_below=50_000, neighbours=10, min_recall=0.9, seed=0)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_toy_pool(tmp_path_factory.mktemp("toy"), 200)


def test_a_subtree_holds_the_products_predicted_there(pool, tmp_path):
    build_pool_index(pool, TREE, tmp_path / "index", PLAN)
    index, _ = load_index(tmp_path / "index")
    scored = read_scored_pool(pool)
    best = [TREE.index(node) for node in scored.exclusive_nodes[:, 0]]
    for node in TREE:
        inside = {product for product, number in zip(scored.product_ids, best, strict=True) if number in TREE.subtree(node.id)}
        assert set(index.products.product_ids[index.products.rows(index.products.subtree(node.id))]) == inside


def test_each_product_keeps_its_own_vector(pool):
    products, scored = pool_vectors(pool, TREE), read_scored_pool(pool)
    expected = dict(zip(scored.product_ids, scored.embeddings, strict=True))
    assert np.allclose(products.vectors, [expected[product_id] for product_id in products.product_ids], atol=1e-6)


def test_products_can_be_filtered_by_what_the_pool_says_of_them(pool):
    products, scored = pool_vectors(pool, TREE), read_scored_pool(pool)
    wanted = ProductFilter(brand=("Ünïcø",), max_price=13)
    found = {products.product_ids[row] for row in np.flatnonzero(products.mask(wanted, slice(0, len(products)))).tolist()}
    rows = zip(scored.product_ids, scored.fields["brand"], scored.fields["price"], strict=True)
    assert found == {product for product, brand, price in rows if brand == "Ünïcø" and price is not None}
    assert 0 < len(found) < len(products)


def test_an_int8_index_answers_as_the_float32_one(pool, tmp_path):
    build_pool_index(pool, TREE, tmp_path / "whole", PLAN)
    manifest = build_pool_index(pool, TREE, tmp_path / "small", replace(PLAN, storage="int8"))
    whole, small = load_index(tmp_path / "whole")[0], load_index(tmp_path / "small")[0]
    queries = whole.products.vectors[::10]
    assert manifest.storage == small.products.storage == "int8"
    assert np.allclose(whole.search(queries, 5).similarities, small.search(queries, 5).similarities, atol=1e-5)


def test_the_manifest_names_model_and_taxonomy(pool, tmp_path):
    manifest = build_pool_index(pool, TREE, tmp_path / "index", PLAN)
    assert (manifest.model_sha256, manifest.taxonomy_sha256, manifest.version) == ("digest", TREE.sha256, 0)
    assert (manifest.kind, manifest.recall, manifest.neighbours, manifest.num_products) == ("exact", 1.0, 10, 200)


def test_products_predicted_at_a_gone_node_are_still_found(pool):
    smaller = Taxonomy([Node("s", "", "Shoes", True), Node("k", "s", "Sneakers", True)])
    products = pool_vectors(pool, smaller)
    assert len(products) == 200
    assert products.node_starts[-1] < 200


def test_products_without_a_direction_are_left_out(pool, tmp_path):
    for path in pool_files(pool):
        table = pq.read_table(path)
        vectors = table["embedding"].to_pylist()
        vectors[0] = [0.0] * 8
        place = table.schema.get_field_index("embedding")
        pq.write_table(table.set_column(place, table.schema.field(place), pa.array(vectors, pa.list_(pa.float32()))), tmp_path / path.name)
    (tmp_path / "manifest.json").write_bytes((pool / "manifest.json").read_bytes())
    assert len(pool_vectors(tmp_path, TREE)) == 198


def test_an_empty_pool_is_refused(tmp_path):
    with pytest.raises(NeighbourIndexError, match="the index is empty"):
        pool_vectors(write_toy_pool(tmp_path, 0), TREE)
