"""Compares trainer settings by cross-validation inside dev: python -m benchmarks.choose_defaults ROOT --variants '{}' '{"dropout": 0.2}'.

ROOT is the run.root of a finished round, whose transformed examples are read; the test split isn't. About a minute a variant
for flipkart's 15,587 answers and 4 folds. A linear SVM on the same bag stands beside the variants. Parameters that start with
`@` aren't hyper-parameters: `@family`, `@phases`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from sklearn.svm import LinearSVC

from pipeline.results import latest_artifacts
from schemas.features import features_from_json
from schemas.taxonomy import Taxonomy, load_taxonomy
from trainer_module.fitting import fit
from trainer_module.hyperparameters import DEFAULT_PHASES, HyperParameters, Phase, hyperparameters
from trainer_module.layout import Layout, layout_of
from trainer_module.training_data import TrainingData, read_training_data
from trainer_module.tree import Tree, tree_of
from trainer_module.zoo.contract import Family, Network
from trainer_module.zoo.registry import family

_BLOCK = 2048


def read_round(root: Path) -> tuple[Taxonomy, Tree, Layout, TrainingData]:
    """Returns what the Trainer of the latest round under `root` saw."""
    uris = {name: Path(artifact.uri) for name, artifact in latest_artifacts(root).items()}
    taxonomy = load_taxonomy(uris["TaxonomySnapshotGen.taxonomy"] / "taxonomy.tsv")
    graph = tft.TFTransformOutput(str(uris["Transform.transform_graph"]))
    model = json.loads((uris["Trainer.model"] / "Format-Serving" / "assets.extra" / "model.json").read_text(encoding="utf-8"))
    layout = layout_of(features_from_json(json.dumps(model["features"])), graph)
    files = sorted(str(path) for path in (uris["Transform.transformed_examples"] / "Split-dev").glob("*"))
    tree = tree_of(taxonomy)
    return taxonomy, tree, layout, read_training_data(files, graph.transformed_feature_spec(), layout, tree)


def scores(tree: Tree, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns accuracy, hierarchical F1 and macro F1."""
    ancestry = tree.ancestry.T
    shared = (ancestry[truth] * ancestry[found]).sum()
    classes = np.unique(truth)
    right = np.bincount(truth[truth == found], minlength=len(tree.exclusive))[classes]
    both = (np.bincount(truth, minlength=len(tree.exclusive)) + np.bincount(found, minlength=len(tree.exclusive)))[classes]
    return np.array([np.mean(truth == found), 2 * shared / (ancestry[truth].sum() + ancestry[found].sum()), np.mean(2 * right / both)])


def folds(data: TrainingData, count: int) -> np.ndarray:
    """Returns the fold of each product; a group is never in two."""
    return (((data.groups.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)) >> np.uint64(32)) % np.uint64(count)).astype(int)


def with_answers(data: TrainingData, judged: np.ndarray, answers: int, seed: int) -> TrainingData:
    """Returns the data without the judged products' answers, and at most `answers` of the others'."""
    known = np.flatnonzero((data.answers >= 0) & ~judged)
    if 0 <= answers < len(known):
        known = np.random.default_rng(seed).choice(known, answers, replace=False)
    kept = np.full(len(data.answers), -1)
    kept[known] = data.answers[known]
    return replace(data, answers=kept)


def predicted(network: Any, data: TrainingData, rows: np.ndarray) -> np.ndarray:
    """Returns the best class of each row."""
    parts = [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]
    return np.concatenate([np.argmax(network(data.inputs(part)).exclusive, 1) for part in parts])


def _built(build: Family, layout: Layout, tree: Tree, hyper: HyperParameters, seed: int) -> Network:
    return build(layout, tree, hyper, np.random.default_rng(seed))


def variant_scores(round_: tuple[Taxonomy, Tree, Layout, TrainingData], variant: Mapping[str, Any], answers: int, count: int) -> np.ndarray:
    """Returns `[count, 3]`, the scores of each fold."""
    _, tree, layout, data = round_
    hyper = hyperparameters({name: value for name, value in variant.items() if not name.startswith("@")})
    phases = [Phase(**phase) for phase in variant.get("@phases", [])] or DEFAULT_PHASES
    build = family(variant.get("@family", "feed_forward"))
    fold, found = folds(data, count), []
    for k in range(count):
        judged = (fold == k) & (data.answers >= 0)
        train = with_answers(data, fold == k, answers, k)
        fresh = partial(_built, build, layout, tree, hyper, k)
        network, _ = fit(fresh, train, hyper, phases, k, len(tree.node_ids), progress=logging.getLogger(__name__).debug)
        rows = np.flatnonzero(judged)
        found.append(scores(tree, data.answers[rows], predicted(network, data, rows)))
    return np.array(found)


def svm_scores(round_: tuple[Taxonomy, Tree, Layout, TrainingData], answers: int, count: int) -> np.ndarray:
    """Returns `[count, 3]` for a linear SVM on the bag."""
    _, tree, _, data = round_
    fold, found = folds(data, count), []
    for k in range(count):
        rows = np.flatnonzero((fold == k) & (data.answers >= 0))
        train = with_answers(data, fold == k, answers, k)
        model = LinearSVC(C=1.0).fit(data.bag[train.answered], train.answers[train.answered])
        found.append(scores(tree, data.answers[rows], model.predict(data.bag[rows])))
    return np.array(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line a variant: mean and standard error over folds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--answers", type=int, nargs="+", default=[-1])
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--variants", nargs="+", default=["{}"])
    parser.add_argument("--no-svm", action="store_true")
    args = parser.parse_args(arguments)
    tf.get_logger().setLevel("ERROR")
    round_ = read_round(args.root)
    for answers in args.answers:
        names = ([] if args.no_svm else ["linear SVM"]) + args.variants
        for name in names:
            started = time.monotonic()
            if name == "linear SVM":
                each = svm_scores(round_, answers, args.folds)
            else:
                each = variant_scores(round_, json.loads(name), answers, args.folds)
            errors = each.std(0) / np.sqrt(args.folds)
            cells = "  ".join(f"{mean:.4f}±{error:.4f}" for mean, error in zip(each.mean(0), errors, strict=True))
            sys.stdout.write(f"{answers:6d}  {cells}  {time.monotonic() - started:4.0f} s  {name}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
