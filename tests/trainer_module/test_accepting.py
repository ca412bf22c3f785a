"""The decisions in the model's graph are those of NumPy, product by product."""

import numpy as np
import pytest
import tensorflow as tf

from few_shot.acceptance import ASK, NEVER, AcceptancePolicy, decide
from few_shot.calibration import softmax
from few_shot.subtrees import subtrees_of
from schemas.taxonomy import Node, Taxonomy
from tests.trainer_module.catalogue import taxonomy
from trainer_module.acceptance import subtrees
from trainer_module.accepting import Accepting
from trainer_module.tree import tree_of

TREE = taxonomy()
RANGES = subtrees(tree_of(TREE), TREE)
LOGITS = (3 * np.random.default_rng(0).standard_normal((3000, len(TREE.exclusive)))).astype(np.float32)
SURE = softmax(LOGITS, 1.3).max(axis=1)
POLICIES = {
    "both": AcceptancePolicy(0.9, 0.9, 1.3, 0.8, 0.7),
    "at a threshold that a product has": AcceptancePolicy(0.9, 0.9, 1.3, float(np.sort(SURE)[1500]), float(np.sort(SURE)[700])),
    "answers alone": AcceptancePolicy(0.9, 0.9, 1.0, 0.8, NEVER),
    "nothing": AcceptancePolicy(0.9, 0.9, 1.0, NEVER, NEVER),
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_graph_decides_as_numpy_does(name):
    policy, ids = POLICIES[name], np.array(TREE.ids)
    found = {key: value.numpy() for key, value in tf.function(Accepting(policy, RANGES, TREE.ids))(tf.constant(LOGITS)).items()}
    expected = decide(LOGITS, RANGES, policy)
    asked = expected.nodes == ASK
    same = found["accepted_node"].astype(str) == np.where(asked, "", ids[np.maximum(expected.nodes, 0)])
    assert same.all()
    words = np.where(expected.is_answer, "accept", np.where(asked, "ask", "climb"))
    assert (found["decision"].astype(str) == words).all()
    assert len(set(words)) == (1 if name == "nothing" else 2 if name == "answers alone" else 3)


def test_the_confidence_is_the_probability_of_what_is_accepted():
    policy = POLICIES["both"]
    found = {key: value.numpy() for key, value in Accepting(policy, RANGES, TREE.ids)(tf.constant(LOGITS)).items()}
    probabilities, expected = softmax(LOGITS, policy.temperature), decide(LOGITS, RANGES, policy)
    climbs = (expected.nodes != ASK) & ~expected.is_answer
    above = RANGES.sums(probabilities, np.maximum(expected.nodes, 0))[np.arange(len(LOGITS)), np.arange(len(LOGITS))]
    np.testing.assert_array_equal(found["confidence"], np.where(climbs, above, probabilities.max(axis=1)).astype(np.float32))


def test_a_tree_without_inner_nodes_never_climbs():
    flat = Taxonomy([Node("a", "", "A", True), Node("b", "", "B", True)])
    ranges = subtrees_of(np.eye(2), np.ones(2), np.arange(2))
    found = Accepting(AcceptancePolicy(0.9, 0.9, 1.0, 0.9, 0.5), ranges, flat.ids)(tf.constant([[5.0, 0.0], [0.1, 0.0]]))
    assert found["decision"].numpy().tolist() == [b"accept", b"ask"]
    assert found["accepted_node"].numpy().tolist() == [b"a", b""]
