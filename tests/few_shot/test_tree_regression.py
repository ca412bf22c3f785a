"""The tree-shared regression finds the optimum it says it does, and neighbours in the tree gain from it."""

import numpy as np

from few_shot.tree_regression import fit_regression

# Two tops with two leaves each: nodes 0 and 1 are the tops.
ANCESTRY = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)


def problem(num_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, num_rows)
    vectors = np.eye(4, dtype=np.float32)[classes] + rng.normal(0, 0.4, (num_rows, 4)).astype(np.float32)
    return vectors, classes


def loss(flat, vectors, classes, row_weights, penalty):
    own = flat.reshape(5, 6)
    scores = np.hstack([vectors, np.ones((len(vectors), 1))]) @ own @ ANCESTRY
    log_sum = np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1)) + scores.max(1)
    return (row_weights * (log_sum - scores[np.arange(len(classes)), classes])).sum() + 0.5 * penalty * (own**2).sum()


def test_no_step_in_any_direction_is_better():
    vectors, classes = problem()
    row_weights = np.linspace(0.5, 1.5, 60).astype(np.float32)
    found = fit_regression(vectors, classes, row_weights, ANCESTRY, 0.1, 500)
    # Of all own weights that give these class weights, the optimum has the least norm.
    own = found @ np.linalg.pinv(ANCESTRY)
    best = loss(own.ravel(), vectors, classes, row_weights, 0.1)
    for direction in np.random.default_rng(0).normal(size=(50, 30)):
        assert loss(own.ravel() + 0.01 * direction, vectors, classes, row_weights, 0.1) > best


def test_what_is_learnt_of_a_node_helps_its_sibling():
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    found = fit_regression(vectors, np.array([0, 2]), np.ones(2, np.float32), ANCESTRY, 0.1, 50)
    towards_first_top = np.array([1.0, 0.0, 1.0]) @ found
    assert towards_first_top[0] > towards_first_top[1] > towards_first_top[3]


def test_row_weights_of_zero_leave_a_row_out():
    vectors, classes = problem()
    kept = np.arange(60) < 40
    whole = fit_regression(vectors, classes, kept.astype(np.float32), ANCESTRY, 0.1, 300)
    part = fit_regression(vectors[kept], classes[kept], np.ones(40, np.float32), ANCESTRY, 0.1, 300)
    np.testing.assert_allclose(whole, part, atol=1e-2)
