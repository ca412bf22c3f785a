"""Turns what a run left at its Trainer into a frozen catalogue, in a process that loads TensorFlow: `python -m studies.freeze`."""

import pipeline.quiet  # noqa: F401, I001 - must come before TensorFlow

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_transform as tft

from components.example_bytes import read_record_blocks
from few_shot.frozen import FrozenFeatures
from schemas.errors import AisleError, ModelError
from schemas.features import features_from_json
from schemas.product import BRAND, DEV, ID, MERCHANT_CATEGORY, SHOP, TEST, TITLE
from schemas.rules import load_rules
from schemas.taxonomy import Taxonomy, load_taxonomy
from studies.frozen_catalogue import NO_GOLD, NOT_IN_TREE, FrozenCatalogue, save_catalogue
from trainer_module.export import EXTRA, HYPERPARAMETERS_FILE, MODEL_FILE
from trainer_module.hyperparameters import hyperparameters
from trainer_module.layout import Layout, layout_of
from trainer_module.node_texts import node_bags
from trainer_module.training_data import read_training_data
from trainer_module.tree import Tree, tree_of
from trainer_module.warm_start import axis_names, load_weights
from trainer_module.zoo.few_shot import FewShot

_FAMILY = "few_shot"
_BLOCK = 4096


def freeze(
    stages: Mapping[str, str], gold: Mapping[str, str], name: str, digest: str, encoders: Sequence[Mapping[str, Any]] = ()
) -> FrozenCatalogue:
    """Returns the catalogue that a run described.

    Args:
        stages: folder of each artifact, such as `Trainer.model`.
        gold: product id to the id of its true node.
        name: of the catalogue.
        digest: of all it is made from.
        encoders: of the run, as `pipeline.encoder_inputs.read_encoders` describes them.

    Raises:
        ModelError: the run trained another family, or its weights can't be carried over.
    """
    tf.config.experimental.enable_op_determinism()
    examples = Path(stages["LabelJoin.labelled_examples"])
    splits = {split: sorted(str(path) for path in (examples / f"Split-{split}").glob("*")) for split in (DEV, TEST)}
    taxonomy = load_taxonomy(Path(stages["TaxonomySnapshotGen.taxonomy"]) / "taxonomy.tsv")
    features = _features(stages, taxonomy, splits, encoders)
    texts = _texts(splits[DEV] + splits[TEST])
    ids = texts.pop(ID)
    num_dev = len(_texts(splits[DEV])[ID])
    return FrozenCatalogue(
        name=name,
        digest=digest,
        taxonomy=taxonomy,
        features=features,
        product_ids=ids,
        titles=texts.pop(TITLE),
        is_test=np.arange(len(ids)) >= num_dev,
        true_nodes=_true_nodes(ids, gold, taxonomy),
        missing=len(gold.keys() - set(ids)),
        fields=texts,
    )


def _features(
    stages: Mapping[str, str], taxonomy: Taxonomy, splits: Mapping[str, list[str]], encoders: Sequence[Mapping[str, Any]]
) -> FrozenFeatures:
    model, tree = Path(stages["Trainer.model"]) / "Format-Serving", tree_of(taxonomy)
    transform_output = tft.TFTransformOutput(stages["Transform.transform_graph"])
    trained = json.loads((model / EXTRA / HYPERPARAMETERS_FILE).read_text(encoding="utf-8"))
    network, layout = _network(model, trained, tree, transform_output)
    rules = load_rules(Path(stages["RuleSnapshotGen.rules"]) / "rules.tsv", taxonomy)
    nodes = node_bags(taxonomy, layout, transform_output, encoders, rules)
    spec, layer = transform_output.raw_feature_spec(), transform_output.transform_features_layer()
    dev = read_training_data(splits[DEV], spec, layout, tree, layer)
    network.frozen(dev, nodes, int(trained["seed"]))  # Learns the latent space, of dev products alone, as the Trainer does.
    every = read_training_data(splits[DEV] + splits[TEST], spec, layout, tree, layer)
    if not any(trained["fit"]["epochs"]):  # Rules that matched no dev product taught the rule head nothing.
        every = replace(every, rules=sp.csr_matrix(every.rules.shape, dtype=np.float32))
    return network.described(every, nodes)


def _network(model: Path, trained: Mapping[str, Any], tree: Tree, transform_output: tft.TFTransformOutput) -> tuple[FewShot, Layout]:
    about = json.loads((model / EXTRA / MODEL_FILE).read_text(encoding="utf-8"))
    if trained["family"] != _FAMILY:
        raise ModelError(f"model.family: a study replays {_FAMILY!r}, found {trained['family']!r}. Leave model.family as it is.")
    layout = layout_of(features_from_json(json.dumps(about["features"])), transform_output)
    network = FewShot(layout, tree, hyperparameters(trained["parameters"]), np.random.default_rng(trained["seed"]))
    carried = load_weights(model / EXTRA, _FAMILY, network, axis_names(layout, tree))
    if carried < 1:
        raise ModelError(f"{model}: only {carried:.0%} of its weights fit its own layout. Run with --set run.cache=false.")
    return network, layout


def _texts(files: Sequence[str]) -> dict[str, list[str]]:
    """Returns ids, titles and what groups of products share, in the order of the files."""
    spec = {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in (ID, TITLE, BRAND, SHOP, MERCHANT_CATEGORY)}
    found: dict[str, list[str]] = {name: [] for name in spec}
    for block in read_record_blocks(files, _BLOCK):
        for name, column in tf.io.parse_example(block, spec).items():
            found[name] += [text.decode("utf-8", "replace") for text in column.numpy()]
    return found


def _true_nodes(ids: Sequence[str], gold: Mapping[str, str], taxonomy: Taxonomy) -> np.ndarray:
    number = {node_id: i for i, node_id in enumerate(taxonomy.ids)}
    return np.array(
        [number.get(taxonomy.resolve(gold[product_id]), NOT_IN_TREE) if product_id in gold else NO_GOLD for product_id in ids], np.int64
    )


def main() -> int:
    """Freezes what the JSON file named on the command line says, and says an error on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("request", type=Path)
    request: dict[str, Any] = json.loads(parser.parse_args().request.read_text(encoding="utf-8"))
    try:
        folder = Path(request.pop("folder"))
        save_catalogue(freeze(**request), folder)
    except AisleError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
