"""Batches that are spread: BADGE, k-means on gradients, typical points, and what they are made of."""

import numpy as np
import pytest

from components.sampling.clustering import clusters_of, kernel_clusters, spread_points
from components.sampling.contract import find_strategy
from components.sampling.diversity import Badge, GradientKMeans
from components.sampling.typical_points import TypicalPoints, typicalities
from tests.components.sampling.pools import make_pool

SPREAD = ("badge", "gradient_kmeans", "typical_points")


def make_clusters(sizes, answered=(), spread=0.02, seed=0):
    """Returns a pool whose products lie in tight clusters, one a node, equally undecided; rows come cluster by cluster."""
    rng, count = np.random.default_rng(seed), sum(sizes)
    of = np.repeat(np.arange(len(sizes)), sizes)
    pool = make_pool(rng, count, num_nodes=2, answered=np.isin(np.arange(count), answered))
    centres = np.linalg.qr(rng.normal(size=(8, 8)))[0][: len(sizes)]
    vectors = centres[of] + spread * rng.normal(size=(count, 8))
    pool.exclusive_nodes[:] = np.array([[f"n{cluster}", "other"] for cluster in of], dtype=object)
    pool.exclusive_probabilities[:] = [0.5, 0.5]
    return type(pool)(**{**vars(pool), "embeddings": vectors.astype(np.float32)}), of


def asked_of(strategy, pool, of, count, seed=0):
    rows = np.flatnonzero(~pool.answered)
    found = strategy.select(pool, rows, rows, count, np.random.default_rng(seed))
    return of[found.rows].tolist(), found


@pytest.mark.parametrize("name", SPREAD)
def test_a_batch_asks_in_every_cluster_however_small(name):
    pool, of = make_clusters([120, 60, 6, 6, 6])
    asked, _ = asked_of(find_strategy(name), pool, of, 5)
    assert sorted(asked) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("strategy", [Badge(sample=30), Badge(most_drawn=3), GradientKMeans(most_clustered=30), TypicalPoints(sample=30)])
def test_a_batch_beyond_what_the_method_looks_at_is_filled_up(strategy):
    pool, of = make_clusters([50, 30, 20])
    rows = np.arange(100)
    found = strategy.select(pool, rows, rows // 2, 45, np.random.default_rng(0))
    assert len(set((found.rows // 2).tolist())) == 45
    assert (np.diff(found.scores) <= 0).all()


def test_typical_points_ask_the_largest_cluster_first_and_leave_answered_ones_for_last():
    pool, of = make_clusters([60, 40, 20, 10], answered=[0, 1])
    asked, found = asked_of(find_strategy("typical_points"), pool, of, 4)
    assert asked[:3] == [1, 2, 3]
    assert found.notes[:3] == (40, 20, 10)
    assert "typical of about 40 products" in find_strategy("typical_points").reason(pool, int(found.rows[0]), str, found.notes[0])


def test_the_middle_of_a_cluster_is_more_typical_than_its_rim():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 4)).astype(np.float32)
    typical = typicalities(vectors, np.zeros(200, np.int64), rng)
    distance = np.linalg.norm(vectors, axis=1)
    assert distance[typical.argsort()[-20:]].mean() < 0.6 * distance[typical.argsort()[:20]].mean()


def test_alone_in_a_cluster_is_typical_of_nothing():
    assert typicalities(np.ones((3, 2), np.float32), np.array([0, 0, 1]), np.random.default_rng(0))[2] == 0


def test_k_means_weighs_the_undecided_more():
    pool, _ = make_clusters([40], spread=0.3)
    pool.exclusive_probabilities[:30] = [0.999, 0.001]
    rows = np.arange(40)
    found = GradientKMeans().select(pool, rows, rows, 4, np.random.default_rng(0))
    assert set(found.rows.tolist()) <= set(range(30, 40))


def test_badge_prefers_long_gradients_and_takes_short_ones_for_one_point():
    pool, _ = make_clusters([100], spread=0.3)
    pool.exclusive_probabilities[:90] = [0.9999, 0.0001]
    rows = np.arange(100)
    found = Badge().select(pool, rows, rows, 8, np.random.default_rng(0))
    assert len(set(found.rows.tolist()) - set(range(90, 100))) <= 1


def test_clusters_are_found_with_coordinates_and_without():
    pool, of = make_clusters([30, 20, 10])
    rng = np.random.default_rng(1)
    vectors = np.asarray(pool.embeddings)
    gram = vectors @ vectors.T
    starts = spread_points(np.diagonal(gram).astype(float), lambda at: gram[at].astype(float), 0, 3, rng)
    for clusters in (clusters_of(vectors, 3, rng), kernel_clusters(gram, np.ones(60), starts)[0]):
        pairs = set(zip(of.tolist(), clusters.tolist(), strict=True))
        assert len(pairs) == 3


def test_distances_to_weighted_means_are_those_of_the_coordinates():
    rng = np.random.default_rng(0)
    vectors, weights = rng.normal(size=(40, 3)).astype(np.float32), rng.random(40) + 0.1
    clusters, distances = kernel_clusters(vectors @ vectors.T, weights, np.array([0, 1, 2]))
    means = np.stack([np.average(vectors[clusters == c], axis=0, weights=weights[clusters == c]) for c in range(3)])
    np.testing.assert_allclose(distances, ((vectors - means[clusters]) ** 2).sum(axis=1), atol=1e-4)


def test_spread_points_are_distinct_even_where_all_coincide():
    points = spread_points(np.ones(9), lambda at: np.ones(9), 4, 9, np.random.default_rng(0))
    assert sorted(points.tolist()) == list(range(9))
