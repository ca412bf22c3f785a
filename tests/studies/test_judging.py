"""A study's scores are those of the linear reference, by definition and by its own code."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from studies.judging import judge
from tests.support.shop import shop_taxonomy

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "linear_baseline.py"
TREE = shop_taxonomy()
CLASSES = len(TREE.exclusive)


def judged(truth, found):
    probabilities = np.full((len(truth), CLASSES), 0.01, np.float32)
    probabilities[np.arange(len(truth)), found] = 0.9
    return judge(probabilities, np.array(TREE.exclusive)[truth], TREE)


def pairs():
    return st.integers(1, 60).flatmap(
        lambda n: st.tuples(*(st.lists(st.integers(0, CLASSES - 1), min_size=n, max_size=n) for _ in range(2)))
    )


@given(pairs())
@settings(max_examples=50)
def test_scores_are_what_their_definitions_say(pair):
    truth, found = pair
    chains = [set(TREE.chain(node_id)) for node_id in TREE.exclusive_ids]
    shared = sum(len(chains[t] & chains[f]) for t, f in zip(truth, found, strict=True))
    sizes = sum(len(chains[t]) + len(chains[f]) for t, f in zip(truth, found, strict=True))
    scores = judged(truth, found)
    assert scores["hierarchical_f1"] == pytest.approx(2 * shared / sizes, abs=1e-4)
    assert scores["macro_f1"] == pytest.approx(
        f1_score(truth, found, average="macro", labels=sorted(set(truth)), zero_division=0), abs=1e-4
    )
    assert scores["accuracy"] == pytest.approx(np.mean(np.array(truth) == np.array(found)), abs=1e-4)
    assert sum(row["judged"] for row in scores["by_depth"].values()) == len(truth) == scores["judged"]
    assert scores["weighted_f1_over_depths"] == pytest.approx(
        np.mean([row["weighted_f1"] for row in scores["by_depth"].values()]), abs=1e-4
    )


def test_an_answer_outside_the_tree_can_not_be_matched():
    probabilities = np.eye(CLASSES, dtype=np.float32)[:2]
    scores = judge(probabilities, np.array([TREE.exclusive[0], -1]), TREE)
    assert (scores["accuracy"], scores["judged"]) == (0.5, 2)


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} isn't here, so its own code can't be compared")
def test_scores_are_those_of_the_reference_program():
    spec = importlib.util.spec_from_file_location("linear_baseline", REFERENCE)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, CLASSES, (2, 200))
    ids, parents = TREE.exclusive_ids, {node.id: node.parent_id for node in TREE}
    wanted = reference.scores(parents, [ids[t] for t in truth], [ids[f] for f in found])
    scores = judged(truth, found)
    assert {name: scores[name] for name in wanted} == wanted
