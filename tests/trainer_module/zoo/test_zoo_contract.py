"""What every family in the registry must hold to."""

import numpy as np
import pytest
import tensorflow as tf

from schemas.errors import SettingsError
from schemas.features import DENSE, Feature, FeatureConfig
from schemas.settings import MODEL_FAMILIES
from tests.trainer_module.toy_data import NUM_CLASSES, NUM_NODES, TREE, layout, separable
from trainer_module.fitting import fit, validation_scores
from trainer_module.hyperparameters import Phase, hyperparameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.warm_start import axis_names
from trainer_module.zoo.registry import FAMILIES, family

pytestmark = pytest.mark.parametrize("name", sorted(FAMILIES))
ROWS = np.arange(16)
SHARED, APART = {"tree_sharing": 0.5}, {"tree_sharing": 0.0}


def built(name, given=None, seed=0, inputs_layout=None):
    hyper = hyperparameters({"embedding_size": 8, "token_dropout": 0.0, "prior_dropout": 0.0, **(given or {})})
    return family(name)(inputs_layout or layout(), TREE, hyper, np.random.default_rng(seed))


@pytest.mark.parametrize("given", [SHARED, APART], ids=["shared", "apart"])
def test_outputs_have_the_contracts_shapes_and_types(name, given):
    outputs = built(name, given)(separable(50).inputs(ROWS))
    assert outputs.exclusive.shape == (16, NUM_CLASSES)
    assert outputs.rule_based.shape == (16, NUM_NODES)
    assert outputs.embedding.shape[0] == 16
    for part in outputs:
        assert part.dtype == tf.float32
        assert np.isfinite(part).all()


@pytest.mark.parametrize("given", [SHARED, APART], ids=["shared", "apart"])
def test_every_weight_has_axes_that_fit_its_shape(name, given):
    network = built(name, given)
    names = axis_names(layout(), TREE)
    assert set(network.weights) == set(network.axes)
    for key, variable in network.weights.items():
        assert len(network.axes[key]) == len(variable.shape), key
        for size, axis in zip(variable.shape, network.axes[key], strict=True):
            assert not axis or len(names[axis]) == size, (key, axis)


def test_every_variable_is_tracked_so_that_it_is_exported(name):
    network = built(name)
    tracked = {id(variable) for variable in network.variables}
    assert all(id(variable) in tracked for variable in network.weights.values())


@pytest.mark.parametrize("given", [SHARED, APART], ids=["shared", "apart"])
def test_a_gradient_reaches_every_weight(name, given):
    network, data = built(name, given), separable(80)
    with tf.GradientTape() as tape:
        outputs = network(data.inputs(np.arange(80)), training=True)
        exclusive = tf.nn.sparse_softmax_cross_entropy_with_logits(data.answers, outputs.exclusive)
        loss = tf.reduce_sum(exclusive) + tf.reduce_sum(tf.nn.softplus(outputs.rule_based))
    for key, gradient in zip(network.weights, tape.gradient(loss, list(network.weights.values())), strict=True):
        assert gradient is not None, key
        assert np.any(tf.convert_to_tensor(gradient)), key


def test_gradients_of_tables_name_each_row_once(name):
    network, data = built(name), separable(80)
    with tf.GradientTape() as tape:
        outputs = network(data.inputs(np.arange(80)), training=True)
        loss = tf.reduce_sum(outputs.exclusive[:, 0]) + tf.reduce_sum(outputs.rule_based)
    for key, gradient in zip(network.weights, tape.gradient(loss, list(network.weights.values())), strict=True):
        if isinstance(gradient, tf.IndexedSlices) and network.axes[key][0] == "column":
            rows = gradient.indices.numpy()
            assert len(rows) == len(set(rows)), key


def test_answers_do_not_teach_the_rule_based_head_through_the_prior(name):
    network, data = built(name), separable(40)
    weights = [variable for key, variable in network.weights.items() if key.startswith("rule_b")]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(network(data.inputs(ROWS)).exclusive[:, 0])
    assert weights
    assert all(gradient is None for gradient in tape.gradient(loss, weights))


def test_a_small_fit_learns_a_separable_problem(name):
    hyper = hyperparameters({"embedding_size": 16, "batch_size": 32, "learning_rate": 0.02})
    data, judged = separable(300), separable(200, seed=1)
    network, _ = fit(
        lambda: family(name)(layout(), TREE, hyper, np.random.default_rng(0)), data, hyper, [Phase(20, 0.25, 0.75)], 0, NUM_NODES
    )
    assert validation_scores(network, judged, np.arange(200))["accuracy"] > 0.95


def test_a_product_without_anything_still_gets_finite_scores(name):
    empty = NetworkInputs(
        tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0]), [2, layout().num_columns]),
        tf.constant([[-1], [-1]], tf.int64),
        tf.zeros([2, 2]),
    )
    outputs = built(name)(empty)
    assert all(np.isfinite(part).all() for part in outputs)
    np.testing.assert_array_equal(outputs.exclusive[0], outputs.exclusive[1])


def test_serving_is_free_of_chance(name):
    network, inputs = built(name, {"dropout": 0.5, "prior_dropout": 0.5, "token_dropout": 0.5}), separable(50).inputs(ROWS)
    for first, second in zip(network(inputs), network(inputs), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_same_rng_builds_the_same_network(name):
    for first, second in zip(built(name).variables, built(name).variables, strict=True):
        np.testing.assert_array_equal(first, second)


def test_numbers_alone_are_enough_to_build_on(name):
    only = Layout(FeatureConfig((Feature("picture", DENSE, ("picture",), dimensions=3),)), {})
    bag = tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0]), [4, 1])
    outputs = built(name, inputs_layout=only)(NetworkInputs(bag, tf.zeros([4, 0], tf.int64), tf.ones([4, 3])))
    assert outputs.exclusive.shape == (4, NUM_CLASSES)


def test_a_feature_may_be_called_like_a_weight(name):
    config = layout().features.features
    names = ("exclusive", "tokens", "numbers", "trust", "column", "node", "rule_based")
    brands = [Feature(other, "categorical", ("brand",), dimensions=3) for other in names]
    clashing = Layout(FeatureConfig((config[0], *brands, config[2])), {"title": ["a", "b"], **{other: ["x"] for other in names}})
    plain = Layout(FeatureConfig(config), {"title": ["a", "b"], "brand": ["x"]})
    bare = Layout(FeatureConfig((config[0], config[2])), {"title": ["a", "b"]})
    num_weights = [len(built(name, inputs_layout=each).weights) for each in (bare, plain)]
    network = built(name, inputs_layout=clashing)
    assert len(network.weights) == num_weights[0] + len(names) * (num_weights[1] - num_weights[0])
    lists = axis_names(clashing, TREE)
    for key, variable in network.weights.items():
        for size, axis in zip(variable.shape, network.axes[key], strict=True):
            assert not axis or len(lists[axis]) == size, (key, axis)


def test_settings_know_the_family(name):
    assert name in MODEL_FAMILIES and len(MODEL_FAMILIES) == len(FAMILIES)


def test_an_unknown_family_is_refused_with_those_known(name):
    with pytest.raises(SettingsError, match=rf"model.family: 'forest' is unknown. Known: .*{name}"):
        family("forest")
