"""Proves that the graph of the few-answers family says what its tables say, and how it reads the bag."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from few_shot.learner import learn
from tests.trainer_module.toy_data import NUM_CLASSES, TREE, layout, separable
from trainer_module.hyperparameters import hyperparameters
from trainer_module.node_texts import no_node_texts
from trainer_module.zoo.few_shot import FewShot

HYPER = hyperparameters({"embedding_size": 8, "latent_size": 12})


@pytest.fixture
def network():
    return FewShot(layout(), TREE, HYPER, np.random.default_rng(0))


def named():
    """Nodes whose names are the token that gives them away."""
    width = layout().num_columns
    bag = sp.csr_matrix((np.ones(NUM_CLASSES, np.float32), (np.arange(NUM_CLASSES), np.arange(NUM_CLASSES))), shape=(NUM_CLASSES, width))
    return replace(no_node_texts(layout(), NUM_CLASSES), paths=bag, names=bag)


@pytest.mark.parametrize("answered", [0.0, 0.2, 1.0])
def test_the_graph_says_to_the_bit_what_the_learnt_tables_say(network, answered):
    data = separable(90, answered=answered)
    data = replace(data, bag=data.bag.multiply(np.linspace(0.1, 3, 90)[:, None]).tocsr().astype(np.float32))
    features, rows = network.frozen(data, named(), 0), np.arange(90)
    expected = learn(features, data.answers, 0).logits(features.products, features.rules, rows)
    network.learn_answers(data, named(), 0, lambda line: None)
    found = network(data.inputs(rows)).exclusive.numpy()
    np.testing.assert_array_equal(found, expected)
    assert np.ptp(found, axis=1).min() > 0.1


def test_a_product_gets_the_same_to_the_bit_alone_and_in_any_batch(network):
    data = separable(90, answered=0.2)
    network.learn_answers(data, named(), 0, lambda line: None)
    together = network(data.inputs(np.arange(90)))
    for rows in (np.array([7]), np.arange(40, 23, -1), np.array([3, 3, 88])):
        apart = network(data.inputs(rows))
        for part, whole in zip(apart, together, strict=True):
            np.testing.assert_array_equal(part.numpy(), whole.numpy()[rows])


def test_the_learner_sees_roots_of_weights_and_the_latent_space_weights(network):
    data = separable(60)
    features = network.frozen(data, None, 0)
    title = features.products.bag[:, : data.bag.shape[1]].toarray()
    np.testing.assert_allclose(title, np.sqrt(data.bag.toarray()), rtol=1e-6)
    brands = features.products.bag[:, data.bag.shape[1] :]
    np.testing.assert_allclose(brands.data, 0.3**0.5, rtol=1e-6)
    longer = replace(data, bag=data.bag * 4, categories=np.full_like(data.categories, -1))
    as_long = replace(longer, bag=data.bag)
    np.testing.assert_allclose(network.described(longer, None).products.latent, network.described(as_long, None).products.latent, atol=1e-5)


def test_the_affinity_of_a_name_is_one_for_a_product_of_ordinary_length(network):
    data = separable(60)
    alone = replace(data, bag=named().paths[data.answers])
    features = network.frozen(alone, named(), 0)
    of_path = next(evidence for evidence in features.known if evidence.name == "title ~ path")
    affinity = (features.products.bag @ of_path.on_bag).toarray()
    np.testing.assert_allclose(affinity, np.eye(NUM_CLASSES)[data.answers], atol=1e-6)
