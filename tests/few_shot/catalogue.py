"""A small made-up catalogue in NumPy: nodes with names, products whose words name their node more or less clearly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from few_shot.evidence import LinearEvidence, NodeTexts, Products
from few_shot.frozen import FrozenFeatures
from few_shot.latent import latent_space, unit_rows
from few_shot.learner import FewShotModel, FewShotParameters, learn
from few_shot.rule_evidence import NoRules
from few_shot.self_training import self_trained

TOPS, LEAVES, WORDS_A_NODE = 4, 5, 6
NUM_CLASSES = TOPS * LEAVES
NUM_NODES = TOPS + NUM_CLASSES


class OneRule:
    """A rule that puts some products at their node, or all of them at a wrong one."""

    names, starts, unconfirmed = ("rules: node",), (2.0,), (0.65,)

    def __init__(self, said: np.ndarray) -> None:
        self._said = said

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns 1 at the class the rule names."""
        found = np.zeros((len(rows), NUM_CLASSES, 1), np.float32)
        known = np.flatnonzero(self._said[rows] >= 0)
        found[known, self._said[rows][known], 0] = 1.0
        return found


@dataclass(frozen=True)
class Catalogue:
    """Products, the truth about them, and what is known without answers."""

    products: Products
    truth: np.ndarray
    ancestry: np.ndarray
    known: list[LinearEvidence]
    node_texts: NodeTexts

    def learn(self, answers, rules=None, seed=0, **parameters) -> FewShotModel:
        """Learns from `answers` `[n]`, -1 where there is none."""
        return learn(self.frozen(rules), answers, seed, FewShotParameters(**parameters))

    def frozen(self, rules=None) -> FrozenFeatures:
        """Returns what is known without answers."""
        return FrozenFeatures(self.products, self.ancestry, self.known, self.node_texts, rules or NoRules(NUM_CLASSES))

    def self_trained(self) -> Catalogue:
        """Returns the catalogue as a shop's learner knows it: its products taught each other by names, which other trusts start from."""
        return replace(self, known=list(self_trained(self.frozen(), np.arange(len(self.truth)), 0).known))

    def accuracy(self, model: FewShotModel, rules=None) -> float:
        """Returns the share of all products that get their node."""
        rows = np.arange(len(self.truth))
        return float((model.logits(self.products, rules or NoRules(NUM_CLASSES), rows).argmax(1) == self.truth).mean())

    def some_answers(self, count: int, seed: int = 0) -> np.ndarray:
        """Returns true answers for `count` random products."""
        rows = np.random.default_rng(seed).permutation(len(self.truth))[:count]
        answers = np.full(len(self.truth), -1)
        answers[rows] = self.truth[rows]
        return answers


def ancestry() -> np.ndarray:
    """Returns float32 `[NUM_NODES, NUM_CLASSES]`."""
    found = np.zeros((NUM_NODES, NUM_CLASSES), np.float32)
    for leaf in range(NUM_CLASSES):
        found[[leaf // LEAVES, TOPS + leaf], leaf] = 1.0
    return found


def catalogue(num_products: int = 600, named: float = 0.5, useful_names: bool = True, seed: int = 0) -> Catalogue:
    """Returns products with a word of their node's name (`named` of them), words of their own node, and noise."""
    rng = np.random.default_rng(seed)
    names = NUM_CLASSES  # column `leaf` is the leaf's name; then words of each node, then of each top, then noise
    own, tops, noise = names, names + NUM_CLASSES * WORDS_A_NODE, names + (NUM_CLASSES + TOPS) * WORDS_A_NODE
    width = noise + 60
    truth = rng.integers(0, NUM_CLASSES, num_products)
    dense = np.zeros((num_products, width), np.float32)
    rows = np.arange(num_products)
    with_name = rng.random(num_products) < named
    dense[rows[with_name], truth[with_name]] = 1.0
    for _ in range(2):
        dense[rows, own + truth * WORDS_A_NODE + rng.integers(0, WORDS_A_NODE, num_products)] = 1.0
    dense[rows, tops + truth // LEAVES * WORDS_A_NODE + rng.integers(0, WORDS_A_NODE, num_products)] = 1.0
    for _ in range(3):
        dense[rows, rng.integers(noise, width, num_products)] = 1.0
    bag = sp.csr_matrix(unit_rows(dense))
    space = latent_space(bag, 24, seed)
    texts = np.zeros((NUM_CLASSES, width), np.float32)
    if useful_names:
        texts[np.arange(NUM_CLASSES), np.arange(NUM_CLASSES)] = 1.0
    of_names = unit_rows(texts @ space).astype(np.float32)
    known = [
        LinearEvidence("title ~ name", 4.0, on_bag=sp.csr_matrix(texts.T)),
        LinearEvidence("latent ~ name", 2.0, on_latent=np.ascontiguousarray(of_names.T)),
    ]
    products = Products(bag, unit_rows(bag @ space).astype(np.float32), rng.integers(0, 2**62, num_products))
    return Catalogue(products, truth, ancestry(), known, NodeTexts(of_names, of_names))
