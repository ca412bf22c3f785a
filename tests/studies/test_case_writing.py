"""Proves that a configured catalogue becomes a folder that studies read, with its own columns, rules, tree and split."""

import contextlib
import csv
import io

import pytest

from pipeline.cli import main
from pipeline.demo.catalogue import write_demo_catalogue
from schemas.rules import load_rules
from schemas.taxonomy import load_taxonomy
from studies.case_writing import feed_products
from studies.front import front_settings


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    write_demo_catalogue(folder, num_products=200)
    return folder


def study_case(demo, out, truth=None):
    said, told = io.StringIO(), io.StringIO()
    words = ["study", "case", "--config", demo / "aisle.yaml", "--truth", truth or demo / "truth.tsv", "--out", out]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        code = main([str(word) for word in words])
    return code, said.getvalue(), told.getvalue()


def test_feeds_of_three_formats_become_one_case(demo, tmp_path):
    code, said, _ = study_case(demo, tmp_path / "case")
    assert code == 0 and f"aisle study replay --case {tmp_path / 'case'}" in said
    with (tmp_path / "case" / "gold.tsv").open(newline="") as file:
        gold = {row["product_id"]: row for row in csv.DictReader(file, delimiter="\t")}
    with (demo / "truth.tsv").open(newline="") as file:
        assert {row["product_id"]: row["node_id"] for row in csv.DictReader(file, delimiter="\t")} == {
            product_id: row["node_id"] for product_id, row in gold.items()
        }
    assert {row["split"] for row in gold.values()} == {"dev", "test"}
    products = feed_products(front_settings(tmp_path / "case", tmp_path / "work"))
    assert {product["id"] for product in products} == set(gold)
    assert {"title", "brand", "merchant_category", "description", "price"} <= {name for product in products for name in product}
    tree = load_taxonomy(tmp_path / "case" / "taxonomy.tsv")
    assert tree.ids == load_taxonomy(demo / "taxonomy.tsv").ids
    assert load_rules(tmp_path / "case" / "rules.tsv", tree) == load_rules(demo / "rules.tsv", tree)
    code, _, told = study_case(demo, tmp_path / "case")
    assert code == 1 and "this isn't an empty folder" in told


def test_a_truth_about_other_products_is_refused_and_nothing_is_written(demo, tmp_path):
    (tmp_path / "truth.tsv").write_text("product_id\tnode_id\nsomebody-elses\tn001\n")
    code, _, told = study_case(demo, tmp_path / "case", tmp_path / "truth.tsv")
    assert code == 1 and "names none of the" in told
    assert not (tmp_path / "case").exists()
