"""What a policy takes of judged products is counted by depth, near-duplicates as one."""

import numpy as np
import pytest

from components.evaluation.acceptance_metrics import acceptance_metrics
from components.evaluation.wide_metrics import Scores
from few_shot.acceptance import AcceptancePolicy
from few_shot.acceptance_file import PROMISED, TOO_FEW, Acceptance, asking
from schemas.taxonomy import Node, Taxonomy

TREE = Taxonomy([Node("top", "", "Top", True), Node("a", "top", "A", True), Node("b", "top", "B", True), Node("other", "", "Other", True)])
CHOSEN = Acceptance(AcceptancePolicy(0.9, 0.95, 1.0, 0.8, 0.7), PROMISED, 300, 20, 60, 0.5, 0.25)


def scores(*products):
    """Returns scores of products given as (true node or None, probabilities of top, a, b, other)."""
    numbers = {node.id: i for i, node in enumerate(TREE)} | {None: -1}
    return Scores(
        answered=np.array([truth is not None for truth, *_ in products]),
        true_nodes=np.array([numbers.get(truth, -1) for truth, *_ in products]),
        exclusive=np.array([shares for _, *shares in products], np.float32),
        rule_based=np.zeros((len(products), len(TREE)), np.float32),
        rule_pairs=np.zeros((0, 2), np.int64),
        depths=np.zeros(len(products), np.int64),
        shops=[""] * len(products),
        missing={},
    )


JUDGED = scores(
    ("a", 0.02, 0.90, 0.05, 0.03),  # accepted, right
    ("b", 0.02, 0.90, 0.05, 0.03),  # accepted, wrong
    ("b", 0.02, 0.90, 0.05, 0.03),  # its near-duplicate
    ("b", 0.05, 0.45, 0.40, 0.10),  # climbs to top, right
    ("other", 0.05, 0.45, 0.40, 0.10),  # climbs to top, wrong
    ("top", 0.3, 0.2, 0.1, 0.4),  # asked
    (None, 0.02, 0.90, 0.05, 0.03),  # nobody answered
    ("gone", 0.02, 0.90, 0.05, 0.03),  # a node the tree doesn't have: accepted, wrong
)
GROUPS = np.array([0, 1, 1, 2, 3, 4, 5, 6])


def test_near_duplicates_count_as_one_and_offers_each():
    found = acceptance_metrics(CHOSEN, JUDGED, GROUPS, TREE)
    answer, above, either = (found["judged"][kind] for kind in ("answer", "ancestor", "accepted"))
    assert (answer["products"], above["products"], either["products"]) == (4, 2, 6)
    assert answer["coverage"] == pytest.approx(3 / 6) and answer["precision"] == pytest.approx(1 / 3)
    assert answer["offers"] == {"coverage": pytest.approx(4 / 7), "precision": pytest.approx(1 / 4)}
    assert above["precision"] == pytest.approx(1 / 2)
    assert either["coverage"] == pytest.approx(5 / 6) and either["precision"] == pytest.approx(2 / 5)
    assert either["low"] < 0.4 < either["high"]


def test_depths_are_those_of_the_truth():
    found = acceptance_metrics(CHOSEN, JUDGED, GROUPS, TREE)["by_depth"]
    assert set(found) == {"1", "2"}
    assert (found["1"]["accepted"]["products"], found["2"]["accepted"]["products"]) == (1, 4)
    assert found["2"]["ancestor"]["precision"] == 1.0 and found["1"]["answer"]["precision"] is None


def test_where_nothing_is_promised_nothing_is_accepted():
    found = acceptance_metrics(asking(TOO_FEW, 0.9, 0.95, 5, 0, 60), JUDGED, GROUPS, TREE)
    assert found["state"] == TOO_FEW and "60 at least" in found["says"]
    assert found["judged"]["accepted"] == {
        **{"products": 0, "coverage": 0.0, "precision": None, "low": None, "high": None},
        "offers": {"coverage": 0.0, "precision": None},
    }


def test_without_a_judged_product_there_are_no_shares():
    found = acceptance_metrics(CHOSEN, scores((None, 0.7, 0.1, 0.1, 0.1)), np.zeros(1, np.int64), TREE)
    assert found["judged"]["answer"]["coverage"] is None and found["by_depth"] == {}
