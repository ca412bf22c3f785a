"""Trains one model per way of using rules, number of answers and seed, and judges it; loads TensorFlow."""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_transform as tft

from few_shot.calibration import softmax
from schemas.features import features_from_json
from schemas.product import DEV, TEST
from schemas.rules import load_rules
from schemas.taxonomy import Taxonomy, load_taxonomy
from studies.judging import judge
from studies.result_lines import Line
from trainer_module.fitting import fit, logits_of
from trainer_module.hyperparameters import RULE_PHASES, Phase, hyperparameters
from trainer_module.layout import Layout, layout_of
from trainer_module.node_texts import NodeBags, node_bags
from trainer_module.training_data import TrainingData, read_training_data
from trainer_module.tree import Tree, tree_of
from trainer_module.zoo.contract import Network
from trainer_module.zoo.registry import family

NAMES = "with names"
_ANSWERS, _BOTH = Phase(epochs=12, rule_based=0.0, exclusive=1.0), Phase(epochs=12, rule_based=0.25, exclusive=0.75)


@dataclass(frozen=True)
class Way:
    """How the rule_based head helps the exclusive one.

    Attributes:
        family: that is trained.
        phases: the objective schedule.
        rules: whether there are any.
        prior: whether the exclusive head adds what the rule_based one says.
    """

    family: str
    phases: tuple[Phase, ...]
    rules: bool = True
    prior: bool = False


# The shared part of feed_forward is its embedding: what rules teach it, answers find there.
WAYS: Mapping[str, Way] = {
    "feed_forward, off": Way("feed_forward", (_ANSWERS,), rules=False),
    "feed_forward, pre-training": Way("feed_forward", (*RULE_PHASES, _ANSWERS)),
    "feed_forward, interleaved": Way("feed_forward", (_BOTH,)),
    "feed_forward, pre-training and interleaved": Way("feed_forward", (*RULE_PHASES, _BOTH)),
    "feed_forward, prior": Way("feed_forward", (*RULE_PHASES, _ANSWERS), prior=True),
    "feed_forward, all three": Way("feed_forward", (*RULE_PHASES, _BOTH), prior=True),
    "few_shot, off": Way("few_shot", RULE_PHASES, rules=False),
    "few_shot, prior": Way("few_shot", RULE_PHASES, prior=True),
}


@dataclass(frozen=True)
class Task:
    """One model to train.

    Attributes:
        way: its name.
        names: whether the nodes' names are learnt from.
        budget: answers.
        seed: of the answers and of training.
        changed: hyper-parameters that aren't the defaults, as they were written.
    """

    way: str
    names: bool
    budget: int
    seed: int
    changed: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """How the task's points differ from those of its way alone."""
        return ", ".join([*([NAMES] if self.names else []), *self.changed])


@dataclass(frozen=True)
class Shared:
    """What all tasks are about: the case's name, the stages' folders, the feature config, hyper-parameters, and what made the points."""

    case: str
    stages: Mapping[str, str]
    features: str
    parameters: Mapping[str, Any]
    made_by: str


@dataclass(frozen=True)
class _Case:
    taxonomy: Taxonomy
    tree: Tree
    layout: Layout
    nodes: NodeBags
    dev: TrainingData
    test: TrainingData


def prepare(shared: Shared) -> Callable[[Task], Iterator[Line]]:
    """Reads the case in a worker's process, and returns what trains and judges one model there."""
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    case = _read(shared)

    def run_task(task: Task) -> Iterator[Line]:
        about = {"case": shared.case, "strategy": task.way, "variant": task.variant, "seed": task.seed}
        answers = drawn_answers(case.dev, task.budget, task.seed)
        network = _trained(case, WAYS[task.way], task, answers, shared.parameters)
        rows = case.test.answered
        scores = judge(
            softmax(logits_of(network, case.test, rows)), np.asarray(case.taxonomy.exclusive)[case.test.answers[rows]], case.taxonomy
        )
        yield {**about, "budget": task.budget, "answers": task.budget, **scores, "made_by": shared.made_by}

    return run_task


def drawn_answers(data: TrainingData, count: int, seed: int) -> np.ndarray:
    """Returns the answers of so many random products, int64 `[n]`, -1 elsewhere; near-duplicates share one, as they do in a run."""
    known = np.random.default_rng(seed).permutation(data.answered)
    _, first = np.unique(data.groups[known], return_index=True)
    asked = known[np.sort(first)[:count]]
    of_group = dict(zip(data.groups[asked].tolist(), data.answers[asked].tolist(), strict=True))
    return np.array([of_group.get(group, -1) for group in data.groups.tolist()], np.int64)


def with_names(data: TrainingData, nodes: NodeBags) -> TrainingData:
    """Returns the data with the path and the name of every class as if they were answered products."""
    num_classes, num_added = nodes.paths.shape[0], 2 * nodes.paths.shape[0]
    return TrainingData(
        bag=sp.vstack([data.bag, nodes.paths, nodes.names], format="csr"),
        categories=np.vstack([data.categories, np.full((num_added, data.categories.shape[1]), -1)]),
        numbers=np.vstack([data.numbers, nodes.path_numbers, nodes.name_numbers]),
        answers=np.r_[data.answers, np.tile(np.arange(num_classes), 2)],
        rules=sp.vstack([data.rules, sp.csr_matrix((num_added, data.rules.shape[1]), dtype=np.float32)], format="csr"),
        groups=np.r_[data.groups, -1 - np.arange(num_added)],
    )


def _trained(case: _Case, way: Way, task: Task, answers: np.ndarray, parameters: Mapping[str, Any]) -> Network:
    in_one_go = way.family == "few_shot"
    # An exclusive head without the prior has nothing else to say of a product it drops out on.
    hyper = hyperparameters({**parameters, **({} if way.prior or in_one_go else {"prior_dropout": 0.0})})
    rules = case.dev.rules if way.rules else sp.csr_matrix(case.dev.rules.shape, dtype=np.float32)
    data = replace(case.dev, answers=answers, rules=rules, partial=None)
    if task.names and not in_one_go:
        data = with_names(data, case.nodes)

    def build() -> Network:
        network = family(way.family)(case.layout, case.tree, hyper, np.random.default_rng(task.seed))
        if not way.prior and not in_one_go:
            trust = network.weights.pop("trust")  # What isn't among the weights isn't trained.
            trust.assign(tf.zeros_like(trust))
        return network

    nodes = (lambda: case.nodes) if task.names else None
    return fit(build, data, hyper, way.phases, task.seed, len(case.taxonomy), lambda line: None, nodes)[0]


def _read(shared: Shared) -> _Case:
    taxonomy = load_taxonomy(Path(shared.stages["TaxonomySnapshotGen.taxonomy"]) / "taxonomy.tsv")
    tree, output = tree_of(taxonomy), tft.TFTransformOutput(shared.stages["Transform.transform_graph"])
    layout = layout_of(features_from_json(shared.features), output)
    examples = Path(shared.stages["LabelJoin.labelled_examples"])
    spec, layer = output.raw_feature_spec(), output.transform_features_layer()
    dev, test = (
        read_training_data(sorted(map(str, (examples / f"Split-{split}").glob("*.gz"))), spec, layout, tree, layer) for split in (DEV, TEST)
    )
    rules = load_rules(Path(shared.stages["RuleSnapshotGen.rules"]) / "rules.tsv", taxonomy)
    return _Case(taxonomy, tree, layout, node_bags(taxonomy, layout, output, rules=rules), dev, test)
