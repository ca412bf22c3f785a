"""Information density: undecided products that are like many others."""

import numpy as np

from components.sampling.density import density_scores, mean_cosines
from components.sampling.uncertainty import margin_scores
from tests.components.sampling.pools import make_pool


def make_dense(count=400):
    """Returns a pool in which the first three quarters point one way, the rest any."""
    rng = np.random.default_rng(0)
    pool = make_pool(rng, count)
    pool.embeddings[: 3 * count // 4] += 3 * np.array([1, 0, 0, 0], np.float32)
    pool.embeddings[:] /= np.linalg.norm(pool.embeddings, axis=1, keepdims=True)
    return pool


def test_the_mean_cosine_is_the_mean_of_all_cosines():
    rng = np.random.default_rng(0)
    vectors, sample = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    cosines = (vectors @ sample.T) / np.linalg.norm(vectors, axis=1)[:, None] / np.linalg.norm(sample, axis=1)
    np.testing.assert_allclose(mean_cosines(vectors, sample), cosines.mean(axis=1))


def test_a_score_is_margin_times_mean_cosine_and_never_below_zero():
    pool, rows = make_dense(), np.arange(400)
    found = density_scores(pool, rows, np.random.default_rng(0))
    expected = margin_scores(pool.exclusive_probabilities) * np.maximum(mean_cosines(pool.embeddings, pool.embeddings), 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found >= 0).all() and (found == 0).any()


def test_a_sample_tells_nearly_the_same():
    pool, rows = make_dense(), np.arange(0, 400, 2)
    whole = density_scores(pool, rows, np.random.default_rng(0))
    sampled = density_scores(pool, rows, np.random.default_rng(0), sample_size=60)
    assert 0 < abs(sampled - whole).max() < 0.1
