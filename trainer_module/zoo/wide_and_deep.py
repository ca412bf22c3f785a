"""A low-rank network with a weight for each column and node beside it (Cheng et al. 2016)."""

from __future__ import annotations

import numpy as np

from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.tree import Tree
from trainer_module.zoo.contract import COLUMN_AXIS, EXCLUSIVE_AXIS, NODE_AXIS, NetworkOutputs
from trainer_module.zoo.feed_forward import FeedForward
from trainer_module.zoo.layers import zeros


class WideAndDeep(FeedForward):
    """`FeedForward`, whose exclusive head also reads the bag directly."""

    def __init__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator) -> None:
        super().__init__(layout, tree, hyper, rng, "wide_and_deep")
        outputs, last = (len(tree.node_ids), NODE_AXIS) if hyper.tree_sharing else (len(tree.exclusive), EXCLUSIVE_AXIS)
        self.weights["wide"] = zeros((layout.num_columns, outputs), "wide")
        self.axes["wide"] = (COLUMN_AXIS, last)

    def __call__(self, inputs: NetworkInputs, training: bool = False) -> NetworkOutputs:
        """Returns both heads' logits and the embedding of the deep part."""
        bag = self.bag(inputs, training)
        return self.outputs(bag, inputs, training, bag.sum(self.weights["wide"]))
