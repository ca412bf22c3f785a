"""The three measures of doubt, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.sampling.uncertainty import entropy_scores, least_confidence_scores, margin_scores
from schemas.errors import SamplingError

rows = hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(2, 6)), elements=st.floats(0.01, 1)).map(
    lambda values: -np.sort(-values / values.sum(axis=1, keepdims=True), axis=1)
)


@given(rows)
def test_scores_of_probabilities_stay_within_their_range(probabilities):
    for scores in (least_confidence_scores(probabilities), margin_scores(probabilities)):
        assert scores.shape == (len(probabilities),)
        assert ((scores >= -1e-9) & (scores <= 1 + 1e-9)).all()


@given(rows)
def test_a_certain_row_is_the_least_wanted_by_every_measure(probabilities):
    certain = np.zeros((1, probabilities.shape[1]))
    certain[0, 0] = 1
    both = np.concatenate([probabilities, certain])
    entropies = -(np.maximum(both, 1e-12) * np.log(np.maximum(both, 1e-12))).sum(axis=1)
    for scores in (least_confidence_scores(both), margin_scores(both), entropy_scores(entropies)):
        assert scores[-1] <= scores.min() + 1e-9


def test_margin_needs_two_nodes():
    with pytest.raises(SamplingError, match=r"shape \[3, 1\], expected 2 nodes or more. Set scoring.top_k to 2"):
        margin_scores(np.ones((3, 1)))


def test_rows_in_rising_order_are_refused():
    with pytest.raises(SamplingError, match="falling order"):
        margin_scores(np.array([[0.2, 0.8]]))


def test_what_is_no_probability_is_refused():
    with pytest.raises(SamplingError, match=r"from -0.5000 to 1.5000, expected 0 to 1"):
        least_confidence_scores(np.array([[1.5, -0.5]]))


def test_a_negative_entropy_is_refused():
    with pytest.raises(SamplingError, match="entropy is -1.0000"):
        entropy_scores(np.array([-1.0]))
