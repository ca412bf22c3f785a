"""Carries weights between networks of other vocabularies and trees."""

import numpy as np
import pytest

from schemas.taxonomy import Node, Taxonomy
from tests.support.shop import shop_taxonomy
from tests.trainer_module.toy_data import TREE, layout
from trainer_module.hyperparameters import hyperparameters
from trainer_module.layout import Layout
from trainer_module.tree import tree_of
from trainer_module.warm_start import axis_names, load_weights, save_weights
from trainer_module.zoo.registry import FAMILIES, family

NAMES = sorted(FAMILIES)
NEW_TREE = tree_of(Taxonomy([Node("hats", "", "Hats", True), *(n for n in shop_taxonomy() if n.id != "bags")]))
NEW_LAYOUT = Layout(layout().features, {"title": ["new", "t5", "t0"], "brand": ["b3", "other"]})


def network(name, inputs=None, tree=TREE, seed=0, **given):
    hyper = hyperparameters({"embedding_size": 4, "tree_sharing": 0.5, **given})
    return family(name)(inputs or layout(), tree, hyper, np.random.default_rng(seed))


def randomised(built):
    rng = np.random.default_rng(9)
    for variable in built.weights.values():
        variable.assign(rng.normal(size=variable.shape))
    return built


def saved(folder, name, **given):
    built = randomised(network(name, **given))
    save_weights(folder, name, built, axis_names(layout(), TREE))
    return built


@pytest.mark.parametrize("name", NAMES)
def test_the_same_layout_and_tree_carry_everything(tmp_path, name):
    old, new = saved(tmp_path, name), network(name, seed=1)
    assert load_weights(tmp_path, name, new, axis_names(layout(), TREE)) == 1.0
    for key, variable in new.weights.items():
        np.testing.assert_array_equal(variable, old.weights[key], err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_values_and_nodes_are_matched_by_name(tmp_path, name):
    old = saved(tmp_path, name)
    new, untouched = network(name, NEW_LAYOUT, NEW_TREE, seed=1), network(name, NEW_LAYOUT, NEW_TREE, seed=1)
    new_names, old_names = axis_names(NEW_LAYOUT, NEW_TREE), axis_names(layout(), TREE)
    share = load_weights(tmp_path, name, new, new_names)
    assert 0 < share < 1
    for key, variable in new.weights.items():
        expected = untouched.weights[key].numpy()
        for place in np.ndindex(*variable.shape):
            source = [
                (old_names[axis].index(new_names[axis][at]) if new_names[axis][at] in old_names[axis] else None) if axis else at
                for at, axis in zip(place, new.axes[key], strict=True)
            ]
            if None not in source:
                expected[place] = old.weights[key].numpy()[tuple(source)]
        np.testing.assert_array_equal(variable, expected, err_msg=key)


def test_the_share_counts_single_weights(tmp_path):
    saved(tmp_path, "linear")
    new = network("linear", NEW_LAYOUT, NEW_TREE)
    total = sum(int(np.prod(v.shape)) for v in new.weights.values())
    nodes = len(TREE.node_ids) - 1  # bags went, hats came
    # Columns t5 and t0, value b3, both numbers: each for both heads; the rule head's bias; trust.
    kept = 2 * (2 + 1 + 2) * nodes + nodes + 3
    assert load_weights(tmp_path, "linear", new, axis_names(NEW_LAYOUT, NEW_TREE)) == pytest.approx(kept / total)


def test_another_family_is_ignored(tmp_path):
    saved(tmp_path, "linear")
    new, fresh = network("feed_forward"), network("feed_forward")
    assert load_weights(tmp_path, "feed_forward", new, axis_names(layout(), TREE)) == 0
    for key, variable in new.weights.items():
        np.testing.assert_array_equal(variable, fresh.weights[key])


def test_another_width_keeps_what_does_not_depend_on_it(tmp_path):
    old = saved(tmp_path, "feed_forward")
    new, fresh = network("feed_forward", embedding_size=6), network("feed_forward", embedding_size=6)
    assert 0 < load_weights(tmp_path, "feed_forward", new, axis_names(layout(), TREE)) < 0.5
    np.testing.assert_array_equal(new.weights["rule_bias"], old.weights["rule_bias"])
    np.testing.assert_array_equal(new.weights["tokens"], fresh.weights["tokens"])


def test_a_folder_without_weights_carries_nothing(tmp_path):
    assert load_weights(tmp_path / "nowhere", "linear", network("linear"), axis_names(layout(), TREE)) == 0
