"""The latent space is the one that a full decomposition finds."""

import numpy as np
import pytest
import scipy.sparse as sp

from few_shot.latent import latent_space, unit_rows
from tests.few_shot.catalogue import catalogue


def test_it_keeps_as_much_as_the_exact_decomposition():
    bag = catalogue(300).products.bag
    space = latent_space(bag, 10, 0)
    exact = np.linalg.svd(bag.toarray())[2][:10].T
    np.testing.assert_allclose(np.linalg.norm(bag @ space), np.linalg.norm(bag @ exact), rtol=1e-2)
    np.testing.assert_allclose(space.T @ space, np.eye(10), atol=1e-4)


@pytest.mark.parametrize(("shape", "expected"), [((3, 8), 3), ((8, 3), 3), ((0, 5), 0), ((5, 1), 1)])
def test_it_has_no_more_dimensions_than_the_bag(shape, expected):
    bag = sp.csr_matrix(np.random.default_rng(0).random(shape, dtype=np.float32))
    assert latent_space(bag, 256, 0).shape == (shape[1], expected)


def test_a_bag_of_nothing_has_no_dimensions():
    assert latent_space(sp.csr_matrix((5, 4), dtype=np.float32), 3, 0).shape == (4, 0)


def test_rows_of_zeros_stay_zeros():
    np.testing.assert_array_equal(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])
