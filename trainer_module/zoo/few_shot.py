"""A family for few answers: names, rules and answers make the exclusive head; a small network learns the rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from few_shot.evidence import LinearEvidence, NodeTexts, Products
from few_shot.latent import latent_space, unit_rows
from few_shot.learner import FewShotModel, learn
from schemas.features import TEXT
from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.node_texts import NodeBags
from trainer_module.training_data import TrainingData
from trainer_module.tree import Tree
from trainer_module.zoo.contract import NetworkOutputs
from trainer_module.zoo.embedding_network import EmbeddingNetwork
from trainer_module.zoo.layers import Bag, RuleReading, embedded, zeros

# Trust in the cosine of a field with a node's path and with its name, before anybody answers. A softmax reads the sum.
FIELD_TRUSTS = {"title": (2.5, 2.0), "merchant_category": (2.0, 1.0), "category": (2.0, 1.0), "description": (1.0, 0.5)}
_OTHER_FIELDS, _LATENT = (0.5, 0.25), (4.0, 2.0)
# A category column is one word against a title of unit length: at full weight a brand with one contrary answer outvotes the title.
_CATEGORY_WEIGHT = 0.3
_SCORED_AT_ONCE = 1024
_SPACE_ROWS = 20_000


class FewShot(EmbeddingNetwork):
    """Linear on the bag, on a latent space learnt from unlabelled products, and on what the rule_based head says.

    The exclusive head has no gradients: `few_shot.learner` makes its tables, whatever the number of answers.
    """

    def __init__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator) -> None:
        super().__init__(layout, tree, hyper, rng, "few_shot")
        self._layout, self._tree, self._latent_size = layout, tree, hyper.latent_size
        self._reading = RuleReading(tree)
        self.trusts: dict[str, float] = {}
        sizes = [max(1, len(layout.vocabularies[f.name])) for f in layout.embedded]
        self._starts = [layout.num_columns + sum(sizes[:k]) for k in range(len(sizes))]
        num_columns, num_classes = layout.num_columns + sum(sizes), len(tree.exclusive)
        self._num_columns = num_columns
        self._space = zeros((num_columns, hyper.latent_size), "space")
        self._on_bag = zeros((num_columns, num_classes), "on_bag")
        self._on_latent = zeros((hyper.latent_size + layout.num_numbers, num_classes), "on_latent")
        self._on_rules = zeros((num_classes, len(RuleReading.NAMES)), "on_rules")
        self._bias = zeros((num_classes,), "bias")

    def __call__(self, inputs: NetworkInputs, training: bool = False) -> NetworkOutputs:
        """Returns both heads' logits and the latent vector; while rules are learnt, zeros and the embedding rules are read from."""
        bag = self.bag(inputs, training)
        embedding = self.embedding(bag, inputs)
        rules = self.rule_logits(self.hidden(embedding, training))
        if training:
            return NetworkOutputs(tf.zeros([tf.shape(rules)[0], len(self._tree.exclusive)]), rules, embedding)
        latent = tf.concat([tf.math.l2_normalize(self._columns(self._space, bag, inputs), axis=1), inputs.numbers], 1)
        exclusive = self._columns(self._on_bag, bag, inputs) + tf.matmul(latent, self._on_latent) + self._bias
        for k, found in enumerate(self._reading(rules)):
            exclusive += found * self._on_rules[:, k]
        return NetworkOutputs(exclusive, rules, latent)

    def _columns(self, table: tf.Variable, bag: Bag, inputs: NetworkInputs) -> tf.Tensor:
        """Returns the sum over a product's rows of a table, tokens and categories by weight."""
        found = bag.sum(table)
        for k, start in enumerate(self._starts):
            ids = inputs.categories[:, k]
            found += _CATEGORY_WEIGHT * embedded(table, tf.where(ids >= 0, ids + start, -1))
        return found

    def learn_answers(self, data: TrainingData, nodes: NodeBags | None, seed: int, progress: Callable[[str], None]) -> None:
        """Learns the latent space from all products, and the exclusive head from names, rules and answers."""
        nodes = nodes or NodeBags(*(sp.csr_matrix((len(self._tree.exclusive), self._layout.num_columns), dtype=np.float32),) * 2)
        bag = self._widened(data)
        space = self._padded(latent_space(_of_distinct(bag, data.groups, seed), self._latent_size, seed))
        products = Products(bag, np.hstack([unit_rows(bag @ space), data.numbers]).astype(np.float32), data.groups)
        texts = NodeTexts(*(self._node_latent(texts, space) for texts in (nodes.paths, nodes.names)))
        rules = _RulesOfNetwork(self, data) if len(data.covered) else _NoRules(len(self._tree.exclusive))
        known = self._known(nodes, texts)
        model = learn(products, data.answers, self._tree.ancestry, known, texts, rules, seed, progress=progress)
        self._assign(model, space)

    def rule_readings(self, inputs: NetworkInputs) -> tf.Tensor:
        """Returns what the rule_based head says of exclusive nodes, float32 `[n, C, P]`."""
        return tf.stack(self._reading(self.rule_logits(self.embedding(self.bag(inputs, False), inputs))), 2)

    def _widened(self, data: TrainingData) -> sp.csr_matrix:
        """Returns the bag with a column for every value of a category, too."""
        rows, columns = [], []
        for k, start in enumerate(self._starts):
            known = np.flatnonzero(data.categories[:, k] >= 0)
            rows.append(known)
            columns.append(data.categories[known, k] + start - self._layout.num_columns)
        if not rows:
            return data.bag
        places = (np.concatenate(rows), np.concatenate(columns))
        shape = (data.bag.shape[0], self._num_columns - self._layout.num_columns)
        return sp.hstack(
            [data.bag, sp.csr_matrix((np.full(len(places[0]), _CATEGORY_WEIGHT, np.float32), places), shape=shape)], format="csr"
        )

    def _padded(self, space: np.ndarray) -> np.ndarray:
        return np.pad(space, ((0, 0), (0, self._latent_size - space.shape[1])))

    def _node_latent(self, texts: sp.csr_matrix, space: np.ndarray) -> np.ndarray:
        found = unit_rows(texts @ space[: texts.shape[1]])
        return np.hstack([found, np.zeros((len(found), self._layout.num_numbers))]).astype(np.float32)

    def _known(self, nodes: NodeBags, texts: NodeTexts) -> list[LinearEvidence]:
        known = []
        for feature in self._layout.features.of_kind(TEXT):
            columns = self._layout.column_ranges()[feature.name]
            of_path, of_name = FIELD_TRUSTS.get(feature.fields[0], _OTHER_FIELDS)
            for what, bag, trust in (("path", nodes.paths, of_path), ("name", nodes.names, of_name)):
                table = self._only(bag, columns) / feature.scale**2
                known.append(LinearEvidence(f"{feature.name} ~ {what}", trust, on_bag=table))
        for what, vectors, trust in (("path", texts.paths, _LATENT[0]), ("name", texts.names, _LATENT[1])):
            known.append(LinearEvidence(f"latent ~ {what}", trust, on_latent=np.ascontiguousarray(vectors.T)))
        return known

    def _only(self, bag: sp.csr_matrix, columns: range) -> sp.csr_matrix:
        """Returns these columns of nodes' bags as a table `[all columns, C]`."""
        part = bag[:, columns.start : columns.stop].tocoo()
        return sp.csr_matrix((part.data, (part.col + columns.start, part.row)), shape=(self._num_columns, bag.shape[0]))

    def _assign(self, model: FewShotModel, space: np.ndarray) -> None:
        for variable, value in (
            (self._space, space),
            (self._on_bag, model.on_bag),
            (self._on_latent, model.on_latent),
            (self._on_rules, model.on_rules if model.on_rules.size else np.zeros(self._on_rules.shape, np.float32)),
            (self._bias, model.bias),
        ):
            variable.assign(value)
        self.trusts = model.trusts


class _RulesOfNetwork:
    """What the network's rule_based head says of training products, a block at a time."""

    names, starts = RuleReading.NAMES, RuleReading.TRUSTS

    def __init__(self, network: FewShot, data: TrainingData) -> None:
        self._network, self._data = network, data

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, P]`."""
        blocks = [rows[k : k + _SCORED_AT_ONCE] for k in range(0, len(rows), _SCORED_AT_ONCE)] or [rows]
        return np.concatenate([self._network.rule_readings(self._data.inputs(block)).numpy() for block in blocks])


class _NoRules:
    """What the rule_based head says where no rule taught it: nothing."""

    names: tuple[str, ...] = ()
    starts: tuple[float, ...] = ()

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns float32 `[len(rows), C, 0]`."""
        return np.zeros((len(rows), self._num_classes, 0), np.float32)


def _of_distinct(bag: sp.csr_matrix, groups: np.ndarray, seed: int) -> sp.csr_matrix:
    """Returns one product of each group of near-duplicates, a sample where there are many."""
    first = np.sort(np.unique(groups, return_index=True)[1])
    if len(first) > _SPACE_ROWS:
        first = np.sort(np.random.default_rng(seed).choice(first, _SPACE_ROWS, replace=False))
    return bag[first]
