"""What is frozen comes back as it was, and nothing else is taken for it."""

import numpy as np
import pytest
import scipy.sparse as sp

from few_shot.frozen import FrozenFeatures, load_frozen, save_frozen
from few_shot.learner import learn
from few_shot.rule_evidence import NoRules, RuleReadings
from schemas.errors import ModelError
from tests.few_shot.catalogue import NUM_CLASSES, TOPS, OneRule, catalogue


def readings(num_products, seed=0, with_phrases=False):
    rng = np.random.default_rng(seed)
    num_nodes = TOPS + NUM_CLASSES
    parents = np.r_[np.full(TOPS, num_nodes), np.repeat(np.arange(TOPS), NUM_CLASSES // TOPS)]
    embedding, weights = (rng.normal(size=shape).astype(np.float32) for shape in ((num_products, 8), (8, num_nodes)))
    held = sp.csr_matrix((rng.random((num_products, num_nodes)) < 0.1).astype(np.float32)) if with_phrases else None
    return RuleReadings(embedding, weights, rng.normal(size=num_nodes).astype(np.float32), np.arange(TOPS, num_nodes), parents, held)


@pytest.mark.parametrize("rules", [readings(200), readings(200, with_phrases=True), NoRules(NUM_CLASSES)], ids=["head", "phrases", "none"])
def test_a_model_learnt_from_the_file_is_the_same(tmp_path, rules):
    shop = catalogue(200)
    features = FrozenFeatures(shop.products, shop.ancestry, shop.known, shop.node_texts, rules)
    save_frozen(features, tmp_path / "frozen.npz")
    again = load_frozen(tmp_path / "frozen.npz")
    answers, rows = shop.some_answers(50), np.arange(200)
    logits = [learn(one, answers, 0).logits(one.products, one.rules, rows) for one in (features, again)]
    np.testing.assert_array_equal(logits[0], logits[1])


def test_a_file_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / "frozen.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(ModelError, match=r"frozen\.npz: these frozen features can't be read"):
        load_frozen(tmp_path / "frozen.npz")


def test_rules_without_a_file_form_are_refused(tmp_path):
    shop = catalogue(50)
    with pytest.raises(ModelError, match="OneRule can't be saved"):
        save_frozen(shop.frozen(OneRule(np.full(50, -1))), tmp_path / "frozen.npz")


def test_a_node_is_meant_unless_a_child_is():
    # A root with two children; the root and both children are exclusive.
    logits = np.array([[2.0, -1.0, 3.0]], np.float32)
    rules = RuleReadings(logits, np.eye(3, dtype=np.float32), np.zeros(3, np.float32), np.arange(3), np.array([3, 0, 0]))

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    expected = [[log_sigmoid(2.0), log_sigmoid(-3.0), log_sigmoid(20.0)]] + [
        [log_sigmoid(x), log_sigmoid(20.0), log_sigmoid(2.0)] for x in (-1.0, 3.0)
    ]
    np.testing.assert_allclose(rules.of(np.array([0]))[0], expected, atol=1e-6)


def test_a_phrase_speaks_for_its_node_and_for_the_children_of_its_node():
    # A root with two children; one product holds a phrase of the root, the other one of the second child.
    held = sp.csr_matrix(np.array([[1, 0, 0], [0, 0, 1]], np.float32))
    head = np.zeros((2, 3), np.float32), np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    rules = RuleReadings(*head, np.arange(3), np.array([3, 0, 0]), held)
    own, above = rules.names.index("rules: phrase"), rules.names.index("rules: phrase of parent")
    found = rules.of(np.array([0, 1]))
    assert found[..., own].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert found[..., above].tolist() == [[0, 1, 1], [0, 0, 0]]
    assert len(rules.starts) == len(rules.unconfirmed) == len(rules.names) == found.shape[2]
