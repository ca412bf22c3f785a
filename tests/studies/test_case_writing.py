"""Proves that a configured catalogue becomes a folder that studies read, with its own columns, rules, tree and split."""

import contextlib
import csv
import io

import pytest

from pipeline.cli import main
from pipeline.demo.catalogue import write_demo_catalogue
from pipeline.inputs import resolved
from schemas.rules import load_rules
from schemas.taxonomy import load_taxonomy
from studies.case_writing import feed_products
from studies.front import front_settings


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    write_demo_catalogue(folder, num_products=200)
    return folder


def study_case(demo, out, truth=None, *more):
    said, told = io.StringIO(), io.StringIO()
    words = ["study", "case", "--config", demo / "aisle.yaml", "--truth", truth or demo / "truth.tsv", "--out", out, *more]
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
    products = feed_products(resolved(front_settings(tmp_path / "case", tmp_path / "work")))
    assert {product["id"] for product in products} == set(gold)
    assert {"title", "brand", "merchant_category", "description", "price"} <= {name for product in products for name in product}
    tree = load_taxonomy(tmp_path / "case" / "taxonomy.tsv")
    assert tree.ids == load_taxonomy(demo / "taxonomy.tsv").ids
    assert load_rules(tmp_path / "case" / "rules.tsv", tree) == load_rules(demo / "rules.tsv", tree)
    code, _, told = study_case(demo, tmp_path / "case")
    assert code == 1 and "this isn't an empty folder" in told


def test_a_split_of_its_own_is_kept(demo, tmp_path):
    ids = [line.split("\t")[0] for line in (demo / "truth.tsv").read_text().splitlines()[1:]]
    chosen = set(ids[::7])
    (tmp_path / "split.tsv").write_text("product_id\tsplit\n" + "".join(f"{one}\t{'test' if one in chosen else 'dev'}\n" for one in ids))
    code, _, told = study_case(demo, tmp_path / "case", None, "--set", f"ingest.split={tmp_path / 'split.tsv'}")
    assert code == 0, told
    rows = [line.split("\t") for line in (tmp_path / "case" / "gold.tsv").read_text().splitlines()[1:]]
    assert {row[0] for row in rows if row[2] == "test"} == chosen


@pytest.mark.parametrize(
    ("product_id", "node_id", "message"),
    [("somebody-elses", "{known}", "names none of the"), ("{known}", "gone", "the node 'gone' of product")],
)
def test_a_truth_that_does_not_fit_is_refused_and_nothing_is_written(demo, tmp_path, product_id, node_id, message):
    product, node = (demo / "truth.tsv").read_text().splitlines()[1].split("\t")
    (tmp_path / "truth.tsv").write_text(f"product_id\tnode_id\n{product_id.format(known=product)}\t{node_id.format(known=node)}\n")
    code, _, told = study_case(demo, tmp_path / "case", tmp_path / "truth.tsv")
    assert code == 1 and message in told
    assert [path.name for path in tmp_path.iterdir()] == ["truth.tsv"]


def test_the_folder_one_stands_in_may_be_named_and_refused_rows_are_counted(demo, tmp_path, monkeypatch):
    (tmp_path / "case").mkdir()
    monkeypatch.chdir(tmp_path / "case")
    code, said, told = study_case(demo, ".")
    assert code == 0, told
    assert (tmp_path / "case" / "gold.tsv").exists() and " rows refused" in said and "\n0 rows refused" not in said
