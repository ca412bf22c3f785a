"""A family for few answers: names, rules and answers make the exclusive head; a small network learns the rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from few_shot.evidence import LinearEvidence, NodeTexts, Products
from few_shot.frozen import FrozenFeatures
from few_shot.held_out import held_out_logits
from few_shot.latent import latent_space, projected
from few_shot.learner import FewShotModel, FewShotParameters, Opinions, learn
from few_shot.rule_evidence import HEAD, PHRASES, NoRules, RuleReadings
from few_shot.self_training import SELF_TRAINED, self_trained
from schemas.features import CHARACTERS, TEXT
from trainer_module.hyperparameters import HyperParameters
from trainer_module.layout import Layout, NetworkInputs
from trainer_module.node_texts import NodeBags, no_node_texts
from trainer_module.rule_phrases import RulePhrases
from trainer_module.training_data import TrainingData
from trainer_module.tree import Tree
from trainer_module.zoo.contract import NetworkOutputs
from trainer_module.zoo.embedding_network import EmbeddingNetwork
from trainer_module.zoo.layers import Bag, RuleReading, embedded, in_doubles, rounded, unit_length, zeros
from trainer_module.zoo.phrase_reading import PhraseReading

# Trust in the cosine of a field with a node's path and with its name, before anybody answers. A softmax reads the sum.
FIELD_TRUSTS = {"title": (2.5, 1.0), "merchant_category": (2.0, 1.0), "category": (2.0, 1.0), "description": (1.0, 0.5)}
# A text has many more character n-grams than words, so that cosines with a path, which shares few of them, are smaller.
_CHARACTERS_OF_PATH = 2.0
_OTHER_FIELDS, _LATENT, _ENCODED = (0.5, 0.25), (4.0, 2.0), (7.0, 5.0)
# A category column is one word against a title of unit length: at full weight a brand with one contrary answer outvotes the title.
_CATEGORY_WEIGHT = np.float32(0.3)
_MANY_ANSWERS, _ENOUGH_OPINIONS = 3_000, 2_000
_SCORED_AT_ONCE = 1024
_SPACE_ROWS = 20_000


class FewShot(EmbeddingNetwork):
    """Linear on the bag, on a latent space learnt from unlabelled products, and on what the rule_based head says.

    The exclusive head has no gradients: `few_shot.learner` makes its tables, whatever the number of answers. It reads the square roots of
    the bag's weights, in which neither a rare word nor a short text outweighs all others; the latent space reads the weights.

    What it says outside training is added up in doubles and rounded once: bit for bit the same in every batch, and what NumPy makes of
    the tables.
    """

    def __init__(self, layout: Layout, tree: Tree, hyper: HyperParameters, rng: np.random.Generator) -> None:
        super().__init__(layout, tree, hyper, rng, "few_shot")
        self._layout, self._tree, self._latent_size = layout, tree, hyper.latent_size
        self._parameters = FewShotParameters(
            propagation=hyper.propagation,
            entropy_weight=hyper.entropy_weight,
            unanswered_products=hyper.unanswered_products,
            member_weight=hyper.member_weight,
            question_weight=hyper.question_weight,
        )
        self._reading = RuleReading(tree)
        self.trusts: dict[str, float] = {}
        self._opinions = Opinions(np.zeros(0, np.int64), np.zeros((0, len(tree.exclusive)), np.float32))
        sizes = [max(1, len(layout.vocabularies[f.name])) for f in layout.embedded]
        self._starts = [layout.num_columns + sum(sizes[:k]) for k in range(len(sizes))]
        num_columns, num_classes = layout.num_columns + sum(sizes), len(tree.exclusive)
        self._num_columns = num_columns
        self._lengths = dict.fromkeys(layout.column_ranges(), 1.0)
        self._self_trained: list[LinearEvidence] = []
        self._space = zeros((num_columns, hyper.latent_size), "space")
        self._on_bag = zeros((num_columns, num_classes), "on_bag")
        self._on_latent = zeros((hyper.latent_size + layout.num_numbers, num_classes), "on_latent")
        self._phrases = PhraseReading(tree, layout.num_columns)
        self._on_rules = zeros((num_classes, len(HEAD) + len(PHRASES)), "on_rules")
        self._bias = zeros((num_classes,), "bias")

    def __call__(self, inputs: NetworkInputs, training: bool = False) -> NetworkOutputs:
        """Returns both heads' logits and the latent vector; while rules are learnt, zeros and the embedding rules are read from."""
        bag = self.bag(inputs, training)
        if training:
            embedding = self.embedding(bag, inputs)
            rules = self.rule_logits(self.hidden(embedding, training))
            return NetworkOutputs(tf.zeros([tf.shape(rules)[0], len(self._tree.exclusive)]), rules, embedding)
        rules = self._rule_logits(self._read_by_rules(bag, inputs))
        latent = tf.concat([rounded(unit_length(self._columns(self._space, bag, inputs, _CATEGORY_WEIGHT))), inputs.numbers], 1)
        exclusive = self._columns(self._on_bag, bag.roots(), inputs, np.sqrt(_CATEGORY_WEIGHT))
        exclusive += tf.matmul(in_doubles(latent), in_doubles(self._on_latent)) + in_doubles(self._bias)
        for k, found in enumerate([*self._reading(rules), *self._phrases(inputs.bag)]):
            exclusive += in_doubles(found) * in_doubles(self._on_rules[:, k])
        return NetworkOutputs(rounded(exclusive), rules, latent)

    def _read_by_rules(self, bag: Bag, inputs: NetworkInputs) -> tf.Tensor:
        """Returns what the rule_based head reads outside training, float32 `[n, w]`."""
        return self.embedding(bag.in_doubles(), inputs)

    def _rule_logits(self, embedding: tf.Tensor) -> tf.Tensor:
        weights, bias = in_doubles(self.weights["rule_based"]), in_doubles(self.weights["rule_bias"])
        return rounded(tf.matmul(in_doubles(embedding), weights) + bias)

    def _columns(self, table: tf.Variable, bag: Bag, inputs: NetworkInputs, category_weight: np.float32) -> tf.Tensor:
        """Returns the sum over a product's rows of a table, tokens by their weights and every category by one, in doubles."""
        found = bag.in_doubles().sum(table)
        for k, start in enumerate(self._starts):
            ids = inputs.categories[:, k]
            found += float(category_weight) * in_doubles(embedded(table, tf.where(ids >= 0, ids + start, -1)))
        return found

    def learn_answers(self, data: TrainingData, nodes: NodeBags | None, seed: int, progress: Callable[[str], None]) -> None:
        """Learns the latent space from all products, and the exclusive head from names, rules and answers."""
        features = self.frozen(data, nodes, seed)
        self._assign(learn(features, data.answers, seed, self._parameters, progress, partial=data.partial))

    def held_out_logits(
        self, data: TrainingData, nodes: NodeBags | None, rows: np.ndarray, seed: int, folds: int, progress: Callable[[str], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns those of the answered products or near-duplicates of theirs, and what the learner says of them without their fold.

        Rules and latent space are kept. With thousands of answers the opinions that trusts were fitted on serve, if they are enough:
        to learn again for each fold would take longer than all else.
        """
        places = np.flatnonzero(np.isin(data.groups[self._opinions.rows], data.groups[rows]))
        all_named = bool((data.answers[rows] >= 0).all())  # Nothing was fitted on the others.
        if all_named and len(data.answered) >= _MANY_ANSWERS and len(places) >= min(len(rows), _ENOUGH_OPINIONS):
            places = places[np.argsort(self._opinions.rows[places])]
            return self._opinions.rows[places], self._opinions.logits[places]
        features = self.described(data, nodes)
        return held_out_logits(
            features, data.answers, seed, folds, self._parameters, progress, among=rows, trusts=self.trusts or None, partial=data.partial
        )

    def frozen(self, data: TrainingData, nodes: NodeBags | None, seed: int) -> FrozenFeatures:
        """Returns what is known without answers; latent space, ordinary lengths and what products teach are learnt from these and kept."""
        distinct = _of_distinct(self._widened(data), data.groups, seed)
        self._space.assign(self._padded(latent_space(distinct, self._latent_size, seed)))
        self._lengths = {
            name: _mean_length(distinct[:, part.start : part.stop].sqrt()) for name, part in self._layout.column_ranges().items()
        }
        self._self_trained = []
        features = self_trained(self.described(data, nodes), np.arange(len(data.groups)), seed)
        self._self_trained = [evidence for evidence in features.known if evidence.name in SELF_TRAINED]
        return features

    def described(self, data: TrainingData, nodes: NodeBags | None) -> FrozenFeatures:
        """Returns what is known of any products without answers, by all that `frozen` learnt."""
        nodes = nodes or no_node_texts(self._layout, len(self._tree.exclusive))
        bag, space = self._widened(data), self._space.numpy()
        products = Products(bag.sqrt(), np.hstack([projected(bag, space), data.numbers]).astype(np.float32), data.groups)
        texts = NodeTexts(
            self._node_latent(nodes.paths, nodes.path_numbers, space), self._node_latent(nodes.names, nodes.name_numbers, space)
        )
        rules = self._rule_readings(data, nodes.phrases) if len(data.covered) else NoRules(len(self._tree.exclusive))
        return FrozenFeatures(products, self._tree.ancestry, [*self._known(nodes, texts), *self._self_trained], texts, rules)

    def _rule_readings(self, data: TrainingData, phrases: RulePhrases) -> RuleReadings:
        rows = np.arange(len(data.answers))
        blocks = [data.inputs(rows[k : k + _SCORED_AT_ONCE]) for k in range(0, len(rows), _SCORED_AT_ONCE)]
        embedding = np.concatenate([self._read_by_rules(self.bag(block, False), block).numpy() for block in blocks])
        weights, bias = (self.weights[name].numpy() for name in ("rule_based", "rule_bias"))
        held = None
        if len(phrases.nodes):
            self._phrases.assign(phrases)
            held = sp.vstack([sp.csr_matrix(self._phrases.held(block.bag).numpy()) for block in blocks], format="csr")
        return RuleReadings(embedding, weights, bias, self._tree.exclusive, self._tree.parents, held)

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

    def _node_latent(self, bag: sp.csr_matrix, numbers: np.ndarray, space: np.ndarray) -> np.ndarray:
        return np.hstack([projected(bag, space[: bag.shape[1]]), numbers]).astype(np.float32)

    def _known(self, nodes: NodeBags, texts: NodeTexts) -> list[LinearEvidence]:
        known = []
        for feature in self._layout.features.of_kind(TEXT):
            columns = self._layout.column_ranges()[feature.name]
            of_path, of_name = FIELD_TRUSTS.get(feature.fields[0], _OTHER_FIELDS)
            if feature.tokens == CHARACTERS:
                of_path *= _CHARACTERS_OF_PATH
            for what, bag, trust in (("path", nodes.paths, of_path), ("name", nodes.names, of_name)):
                table = self._only(bag, columns) / (feature.scale * self._lengths[feature.name])
                known.append(LinearEvidence(f"{feature.name} ~ {what}", trust, on_bag=table))
        learnt = range(0, self._latent_size)
        spaces = [("latent", learnt, _LATENT)]
        spaces += [
            (name, range(self._latent_size + numbers.start, self._latent_size + numbers.stop), _ENCODED)
            for name, numbers in self._layout.number_ranges().items()
            if name in nodes.encoded
        ]
        for name, dimensions, (of_path, of_name) in spaces:
            for what, vectors, trust in (("path", texts.paths, of_path), ("name", texts.names, of_name)):
                known.append(LinearEvidence(f"{name} ~ {what}", trust, on_latent=_only_dimensions(vectors, dimensions)))
        return known

    def _only(self, bag: sp.csr_matrix, columns: range) -> sp.csr_matrix:
        """Returns these columns of nodes' bags as a table `[all columns, C]`."""
        part = bag[:, columns.start : columns.stop].tocoo()
        return sp.csr_matrix((part.data, (part.col + columns.start, part.row)), shape=(self._num_columns, bag.shape[0]))

    def _assign(self, model: FewShotModel) -> None:
        for variable, value in (
            (self._on_bag, model.on_bag),
            (self._on_latent, model.on_latent),
            (self._on_rules, np.pad(model.on_rules, ((0, 0), (0, self._on_rules.shape[1] - model.on_rules.shape[1])))),
            (self._bias, model.bias),
        ):
            variable.assign(value)
        self.trusts, self._opinions = model.trusts, model.opinions


def _mean_length(rows: sp.csr_matrix) -> float:
    """Returns the mean length of the rows that aren't zeros; 1 where all are."""
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return float(lengths[lengths > 0].mean()) if lengths.any() else 1.0


def _only_dimensions(vectors: np.ndarray, dimensions: range) -> np.ndarray:
    """Returns some dimensions of nodes' vectors `[C, d]` as a table `[d, C]`, zeros elsewhere."""
    table = np.zeros(vectors.shape[::-1], np.float32)
    table[dimensions.start : dimensions.stop] = vectors[:, dimensions.start : dimensions.stop].T
    return table


def _of_distinct(bag: sp.csr_matrix, groups: np.ndarray, seed: int) -> sp.csr_matrix:
    """Returns one product of each group of near-duplicates, a sample where there are many."""
    first = np.sort(np.unique(groups, return_index=True)[1])
    if len(first) > _SPACE_ROWS:
        first = np.sort(np.random.default_rng(seed).choice(first, _SPACE_ROWS, replace=False))
    return bag[first]
