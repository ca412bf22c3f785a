"""Every product's neighbours within its category: as a file, as documents, and as a TFX stage on Beam."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from components.artifacts import ScoredPool, TaxonomySnapshot
from components.index_building import pool_vectors
from components.neighbour_lister import NeighbourLister
from components.neighbour_lists import NeighbourPlan, planned_parts, vector_tokens, write_part
from schemas.errors import NeighbourIndexError
from schemas.taxonomy import write_taxonomy
from tests.components.toy_pool import TREE, write_toy_pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_toy_pool(tmp_path_factory.mktemp("toy"), 200)


@pytest.fixture(scope="module")
def products(pool):
    return pool_vectors(pool, TREE)


def true_neighbours(products, row, k):
    """Returns the similarities of the k nearest others of a product's second-level category, found the slow way."""
    number = int(np.searchsorted(products.node_starts, row, side="right")) - 1
    category = number if TREE.depths[number] == 1 else TREE.chain(TREE[number].id)[1]
    end = products.subtree_ends[category] if TREE.depths[category] == 2 else category + 1
    rows = np.arange(products.node_starts[category], products.node_starts[end])
    others = rows[rows != row]
    return TREE[category].id, np.sort(products.vectors[others] @ products.vectors[row])[::-1][:k]


@pytest.mark.parametrize("rows_a_file", [7, 1000])
def test_each_product_has_the_nearest_of_its_second_level_category(products, tmp_path, rows_a_file):
    plan = NeighbourPlan(neighbours=10, rows_a_file=rows_a_file)
    parts = planned_parts(products, TREE, plan)
    assert sum(write_part(tmp_path, products, part, plan, None, 7) for part in parts) == len(products)
    rows = pq.read_table(tmp_path / "neighbours").to_pylist()
    assert sorted(row["product_id"] for row in rows) == sorted(products.product_ids)
    for row in rows:
        category, expected = true_neighbours(products, products.product_ids.find(row["product_id"]), 10)
        assert row["category"] == category
        assert row["product_id"] not in row["neighbours"]
        assert np.allclose(row["similarities"], expected, atol=1e-5)


def test_a_document_says_the_same_as_the_table_and_holds_the_words(products, tmp_path):
    plan = NeighbourPlan(neighbours=3, tokens="percentile:10:5", rows_a_file=1000)
    (part,) = planned_parts(products, TREE, plan)
    write_part(tmp_path, products, part, plan, vector_tokens(products, plan), 7)
    table = {row["product_id"]: row for row in pq.read_table(tmp_path / "neighbours").to_pylist()}
    for line in (tmp_path / "documents" / "part-00000.jsonl").read_text(encoding="utf-8").splitlines():
        document = json.loads(line)
        row = table.pop(document["product_id"])
        assert (document["category"], document["model_version"]) == (row["category"], 7)
        assert [found["product_id"] for found in document["similar"]] == row["neighbours"]
        assert len(document["vector_tokens"].split()) == 5
    assert not table


@pytest.mark.parametrize("tokens", ["rounding", "percentile:x", "words:3", "rounding:1:2:3"])
def test_tokens_that_are_none_are_refused(tokens):
    with pytest.raises(NeighbourIndexError, match="Write rounding:DECIMALS or percentile:LEVELS"):
        NeighbourPlan(tokens=tokens)


@pytest.mark.slow
def test_the_stage_lists_every_product_on_beam(pool, products, tmp_path):
    write_taxonomy(tmp_path / "taxonomy.tsv", TREE)
    scored = Importer(source_uri=str(pool), artifact_type=ScoredPool).with_id("Pool")
    tree = Importer(source_uri=str(tmp_path), artifact_type=TaxonomySnapshot).with_id("Tree")
    lister = NeighbourLister(scored.outputs["result"], tree.outputs["result"], neighbours=5, tokens="rounding:1")
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))
    LocalDagRunner().run(
        Pipeline("lists", str(tmp_path / "runs"), components=[scored, tree, lister], metadata_connection_config=connection)
    )
    (folder,) = (tmp_path / "runs" / "NeighbourLister" / "neighbour_lists").iterdir()
    table = pq.read_table(folder / "neighbours", columns=["product_id", "neighbours"])
    assert sorted(table["product_id"].to_pylist()) == sorted(products.product_ids)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["num_products"], manifest["neighbours"], manifest["tokens"]) == (200, 5, "rounding:1")
    assert {path.name for path in folder.iterdir()} == {"neighbours", "documents", "manifest.json"}
