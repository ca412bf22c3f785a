"""Tests that TFMA reads what we write."""

from __future__ import annotations

import base64
import json
import re

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import validation_result_pb2

from components.evaluation.tfma_files import write_tfma_files, write_tfma_page
from components.evaluation.wide_metrics import wide_metrics
from tests.support.scores import random_scores
from tests.support.shop import shop_taxonomy

TREE = shop_taxonomy()


@pytest.fixture
def wide():
    return wide_metrics(random_scores(TREE, 60, 1, unknown=0.1, answered=0.8), TREE)


def test_tfma_reads_every_slice_and_metric(wide, tmp_path):
    write_tfma_files(tmp_path / "tfma", wide, TREE, data_location="examples", model_location="model")
    result = tfma.load_eval_result(str(tmp_path / "tfma"))
    slices = dict(result.slicing_metrics)
    assert result.data_location == "examples"
    overall = slices[()]["exclusive"][""]
    for name in ("accuracy", "top_5", "macro_f1", "hierarchical_f1", "calibration_error", "tree_distance"):
        assert overall[name]["doubleValue"] == wide["exclusive"][name]
    assert overall["weighted_example_count"]["doubleValue"] == wide["exclusive"]["judged"]
    boots = TREE.exclusive_ids.index("boots")
    assert slices[()]["exclusive"][f"classId:{boots}"]["class_f1"]["doubleValue"] == wide["by_node"]["boots"]["f1"]
    rules = slices[()]["rule_based"][""]["mean_average_precision_against_rules"]["doubleValue"]
    assert rules == wide["rule_based"]["against_rules"]["mean_average_precision"]
    assert slices[(("category_depth", 2),)]["exclusive"][""]["accuracy"]["doubleValue"] == wide["by_depth"]["2"]["accuracy"]
    assert slices[(("root", "Shoes"),)]["exclusive"][""]["accuracy"]["doubleValue"] == wide["by_root"]["shoes"]["accuracy"]
    assert slices[(("shop", "shop 1"),)]["exclusive"][""]["accuracy"]["doubleValue"] == wide["by_shop"]["shop 1"]["accuracy"]
    missing = slices[(("brand_missing", 1),)]["exclusive"][""]["accuracy"]["doubleValue"]
    assert missing == wide["by_missing_field"]["brand"]["missing"]["accuracy"]


@pytest.mark.parametrize("blessed", [True, False])
def test_the_gates_verdict_is_kept(wide, tmp_path, blessed):
    verdict = validation_result_pb2.ValidationResult(validation_ok=blessed)
    write_tfma_files(tmp_path, wide, TREE, verdict)
    assert tfma.load_validation_result(str(tmp_path)).validation_ok is blessed


def test_without_a_verdict_nothing_is_called_valid(wide, tmp_path):
    write_tfma_files(tmp_path, wide, TREE)
    found = tfma.load_validation_result(str(tmp_path))
    assert (found.validation_ok, found.missing_thresholds) == (False, True)


def test_nothing_judged_can_still_be_read_and_shown(tmp_path):
    nothing = wide_metrics(random_scores(TREE, 5, 0, answered=0.0), TREE)
    write_tfma_files(tmp_path / "tfma", nothing, TREE)
    assert () in dict(tfma.load_eval_result(str(tmp_path / "tfma")).slicing_metrics)
    write_tfma_page(tmp_path / "tfma.html", tmp_path / "tfma")


def test_the_page_holds_every_view_and_no_single_nodes(wide, tmp_path):
    write_tfma_files(tmp_path / "tfma", wide, TREE)
    write_tfma_page(tmp_path / "tfma.html", tmp_path / "tfma")
    page = (tmp_path / "tfma.html").read_text(encoding="utf-8")
    views = json.loads(base64.b64decode(re.search(r'atob\("([^"]+)"\)', page).group(1)))
    assert [view["title"] for view in views][:4] == [
        "All judged products: exclusive head",
        "All judged products: rule_based head",
        "By depth of the category: exclusive head",
        "By depth of the category: rule_based head",
    ]
    assert all(list(row["metrics"]) == [""] and list(row["metrics"][""]) == [""] for view in views for row in view["data"])
    assert "default-src 'none'" in page
