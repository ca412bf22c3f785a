"""Tests reading and scoring a split with SavedModels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from components.evaluation.evaluate import evaluate
from components.evaluation.scoring import ScoringModel, model_taxonomy, score_split, scores_of
from schemas.errors import EvaluationError, ModelError
from tests.support.examples import example, write_examples
from tests.support.shop import judged_products, shop_taxonomy
from tests.support.toy_model import write_toy_model

TREE = shop_taxonomy()
PRODUCTS = judged_products(TREE, 41)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("scoring")
    write_toy_model(root / "model", TREE)
    write_toy_model(root / "other", TREE, seed=9)
    write_examples(root / "examples", PRODUCTS)
    return root


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_scores_are_the_models_own_whatever_the_block(folder, tmp_path, block):
    model = ScoringModel(folder / "model")
    products, (found,) = score_split(folder / "examples" / "Split-test", [model], block, tmp_path)
    known = [product for product in PRODUCTS if "answer_node" in product or "rule_nodes" in product]
    assert products.ids == [product["id"] for product in known]
    assert products.read == len(PRODUCTS)
    serialized = tf.constant([example(product).SerializeToString() for product in known])
    expected = tf.saved_model.load(str(folder / "model")).signatures["score_all"](examples=serialized)
    np.testing.assert_allclose(found.exclusive, expected["exclusive"], atol=1e-6)
    np.testing.assert_allclose(found.rule_based, expected["rule_based"], atol=1e-6)


def test_the_truth_is_in_the_numbers_of_the_models_tree(folder, tmp_path):
    model = ScoringModel(folder / "model")
    products, (found,) = score_split(folder / "examples" / "Split-test", [model], 16, tmp_path)
    scores = scores_of(products, found, TREE)
    known = [product for product in PRODUCTS if "answer_node" in product or "rule_nodes" in product]
    for row, product in enumerate(known):
        assert scores.answered[row] == ("answer_node" in product)
        if "answer_node" in product:
            assert TREE[int(scores.true_nodes[row])].id == product["answer_node"]
            assert scores.depths[row] == product["category_depth"]
        mine = {TREE[int(node)].id for at, node in scores.rule_pairs if at == row}
        assert mine == set(product.get("rule_nodes", []))
        assert scores.missing["brand"][row] == ("brand" not in product)
    assert set(scores.missing) == {"brand"}


def test_nothing_judged_says_so(folder, tmp_path):
    write_examples(tmp_path, judged_products(TREE, 6, answered=0.0, ruled=0.0))
    found = evaluate(tmp_path / "Split-test", folder / "model", folder / "other", TREE, 4)
    assert found["products"] == {"read": 6, "judged": 0, "ruled": 0}
    assert found["exclusive"]["accuracy"] is None
    assert found["notes"][0].startswith("Nobody has answered for any product of the judged split")
    json.dumps(found, allow_nan=False)


def test_a_model_against_itself_changed_nothing(folder):
    found = evaluate(folder / "examples" / "Split-test", folder / "model", folder / "model", TREE, 16)
    assert (found["changes"]["became_right"], found["changes"]["became_wrong"]) == (0, 0)
    assert found["baseline"]["exclusive"] == found["exclusive"]


def test_changes_add_up_and_are_shown(folder):
    found = evaluate(folder / "examples" / "Split-test", folder / "model", folder / "other", TREE, 16)
    changes, judged = found["changes"], found["products"]["judged"]
    assert sum(value for name, value in changes.items() if name != "by_root") == judged
    gained = changes["became_right"] - changes["became_wrong"]
    assert gained == round(judged * (found["exclusive"]["accuracy"] - found["baseline"]["exclusive"]["accuracy"]))
    for name in ("became_right", "became_wrong"):
        assert len(found["examples"][name]) <= changes[name]
        assert bool(found["examples"][name]) == bool(changes[name])
    for product in found["examples"]["became_right"]:
        assert product["prediction"] == product["answer"] != product["before"]


def test_an_empty_split_is_refused(folder, tmp_path):
    with pytest.raises(EvaluationError, match=r"there are no examples \(\*\.gz\)"):
        evaluate(tmp_path, folder / "model", None, TREE, 4)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"model\.json: there is no such file"):
        ScoringModel(tmp_path)
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="expected a JSON object with nodes"):
        model_taxonomy(tmp_path)
    nodes = [{"id": "a", "parent_id": "", "name": "A", "exclusive": True}]
    (tmp_path / "assets.extra" / "model.json").write_text(json.dumps({"nodes": nodes}))
    with pytest.raises(ModelError, match="can't be loaded"):
        ScoringModel(tmp_path)


def test_the_toy_model_has_every_signature_of_the_contract(folder):
    model = tf.saved_model.load(str(folder / "model"))
    assert set(model.signatures) == {"serving_default", "predict_products", "embed", "score_all", "transform_features", "classify"}
    proto = (folder / "model" / "saved_model.pb").read_bytes()
    assert b"tensorflow/serving/classify" in proto
    served = model.signatures["serving_default"](examples=tf.constant([example({"title": "Wellies"}).SerializeToString()]))
    assert served["exclusive_nodes"].numpy()[0, 0] == b"rubber-boots"
    assert float(np.linalg.norm(served["embedding"])) == pytest.approx(1.0, abs=1e-5)
