"""Checks LazyAdam against Keras' Adam."""

import keras
import numpy as np
import tensorflow as tf

from trainer_module.optimizer import LazyAdam


def steps(count: int, shape=(4, 3)):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(count)]


def test_dense_gradients_move_weights_as_keras_adam_does():
    mine, theirs = tf.Variable(np.ones((4, 3), np.float32)), keras.Variable(np.ones((4, 3), np.float32))
    lazy, adam = LazyAdam([mine]), keras.optimizers.Adam(0.01, epsilon=1e-7)
    for gradient in steps(10):
        lazy.apply([tf.constant(gradient)], [mine], tf.constant(0.01))
        adam.apply([tf.constant(gradient)], [theirs])
    np.testing.assert_allclose(mine.numpy(), keras.ops.convert_to_numpy(theirs), rtol=1e-5)


def test_rows_touched_at_every_step_move_as_dense_ones_do():
    dense, sparse = tf.Variable(np.ones((4, 3), np.float32)), tf.Variable(np.ones((4, 3), np.float32))
    for_dense, for_sparse = LazyAdam([dense]), LazyAdam([sparse])
    for gradient in steps(5):
        for_dense.apply([tf.constant(gradient)], [dense], tf.constant(0.01))
        rows = tf.constant([3, 0, 1, 2], tf.int64)
        for_sparse.apply([tf.IndexedSlices(tf.gather(gradient, rows), rows)], [sparse], tf.constant(0.01))
    np.testing.assert_allclose(dense.numpy(), sparse.numpy(), rtol=1e-6)


def test_a_row_that_products_share_moves_by_the_sum_of_their_gradients():
    dense, sparse = tf.Variable(np.ones((4, 3), np.float32)), tf.Variable(np.ones((4, 3), np.float32))
    for_dense, for_sparse = LazyAdam([dense]), LazyAdam([sparse])
    rows = tf.constant([2, 0, 2, 2, 1, 3], tf.int64)
    for gradient in steps(5, (6, 3)):
        summed = tf.math.unsorted_segment_sum(gradient, rows, 4)
        for_dense.apply([summed], [dense], tf.constant(0.01))
        for_sparse.apply([tf.IndexedSlices(tf.constant(gradient), rows)], [sparse], tf.constant(0.01))
    np.testing.assert_allclose(dense.numpy(), sparse.numpy(), rtol=1e-5)


def test_rows_without_a_gradient_and_variables_without_one_stay():
    touched, untouched = tf.Variable(np.ones((4, 3), np.float32)), tf.Variable(1.0)
    optimizer = LazyAdam([touched, untouched])
    optimizer.apply([tf.IndexedSlices(tf.ones([1, 3]), tf.constant([2], tf.int64)), None], [touched, untouched], tf.constant(0.1))
    np.testing.assert_array_equal(touched.numpy()[[0, 1, 3]], np.ones((3, 3)))
    assert (touched.numpy()[2] < 1).all()
    assert float(untouched) == 1
