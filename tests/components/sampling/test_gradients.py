"""Gradients as two factors are the gradients written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.sampling.gradient_embeddings import gradient_embeddings, gradient_lengths
from components.sampling.gradient_length import expected_gradient_lengths
from tests.components.sampling.pools import make_pool


def written_out(pool):
    """Returns the gradients for the best guess, `[n, nodes * d]`."""
    num_nodes = 6
    whole = np.zeros((len(pool), num_nodes))
    for row in range(len(pool)):
        for node, probability in zip(pool.exclusive_nodes[row], pool.exclusive_probabilities[row], strict=True):
            whole[row, int(node[1:])] = probability
        whole[row, int(pool.exclusive_nodes[row, 0][1:])] -= 1
    return np.einsum("nc,nd->ncd", whole, pool.embeddings).reshape(len(pool), -1)


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_inner_products_and_lengths_are_those_of_the_gradients_written_out(seed, top_k):
    pool = make_pool(np.random.default_rng(seed), 12, top_k=top_k)
    whole, found = written_out(pool), gradient_embeddings(pool.exclusive_nodes, pool.exclusive_probabilities, pool.embeddings)
    expected = whole @ whole.T
    np.testing.assert_allclose(found.gram(), expected, atol=1e-5)
    np.testing.assert_allclose([found.inner_products(at) for at in range(12)], expected, atol=1e-5)
    np.testing.assert_allclose(found.squared_lengths, np.diagonal(expected), atol=1e-5)
    np.testing.assert_allclose(gradient_lengths(pool.exclusive_probabilities) ** 2, np.diagonal(expected), atol=1e-5)


@given(st.integers(0, 10**6))
def test_the_expected_length_is_the_mean_over_all_answers(seed):
    rng = np.random.default_rng(seed)
    likely, vector = np.sort(rng.dirichlet(np.ones(5)))[::-1], rng.normal(size=3)
    vector /= np.linalg.norm(vector)
    lengths = [np.linalg.norm(np.outer(likely - np.eye(5)[answer], vector)) for answer in range(5)]
    np.testing.assert_allclose(expected_gradient_lengths(likely[None]), [(likely * lengths).sum()], atol=1e-9)
