"""Scores the products that people or rules know with SavedModels, in blocks, into files mapped to memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf

from components.evaluation.wide_metrics import BoolArray, FloatArray, IntArray, Scores
from components.example_bytes import read_record_blocks
from schemas.errors import EvaluationError, ModelError
from schemas.product import (
    ANSWER_NODE,
    BRAND,
    CATEGORY,
    CATEGORY_DEPTH,
    COLOUR,
    DESCRIBING_FIELDS,
    DESCRIPTION,
    GENDER,
    GROUP,
    ID,
    IMAGE,
    MERCHANT_CATEGORY,
    PRICE,
    RULE_NODES,
    SHOP,
    SIZE,
    TITLE,
)
from schemas.shown_title import shown_title
from schemas.taxonomy import Node, Taxonomy

# What a product may lack; the id is always there, shop and network come with the feed.
OPTIONAL_FIELDS = (TITLE, BRAND, CATEGORY, MERCHANT_CATEGORY, DESCRIPTION, GENDER, SIZE, COLOUR, PRICE, IMAGE)
SIGNATURE = "score_all"
EXTRA = "assets.extra"
HEADS = ("exclusive", "rule_based")


@dataclass(frozen=True)
class JudgedProducts:
    """Products that a person answered or a rule put somewhere; n products, in the order of the files.

    `titles` are as people are shown them, see `shown_title`; `answers` holds node ids, empty where nobody answered; `groups` are
    numbers, equal for near-duplicates; `rule_rows` and `rule_nodes` are pairs of product number and node id; `missing` has the
    fields that some products have and some lack; `read` counts all products of the split.
    """

    ids: list[str]
    titles: list[str]
    shops: list[str]
    answers: list[str]
    groups: IntArray
    depths: IntArray
    rule_rows: IntArray
    rule_nodes: list[str]
    missing: Mapping[str, BoolArray]
    read: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class HeadScores:
    """Probabilities of both heads, float32 `[n, C]` and `[n, N]`, mapped from files."""

    exclusive: FloatArray
    rule_based: FloatArray


class ScoringModel:
    """A SavedModel with the signature `score_all`, and the tree its outputs are in the order of.

    Args:
        folder: the SavedModel: `saved_model.pb` and `assets.extra/model.json`.

    Raises:
        ModelError: the folder holds no such model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taxonomy = model_taxonomy(folder)
        try:
            self._model = tf.saved_model.load(str(folder))
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder}: this SavedModel can't be loaded: {str(error).splitlines()[0]}") from error
        if SIGNATURE not in self._model.signatures:
            raise ModelError(
                f"{folder}: the model has no signature {SIGNATURE!r}, found {sorted(self._model.signatures)}. Export it again."
            )
        self._score = self._model.signatures[SIGNATURE]

    def score(self, examples: np.ndarray) -> dict[str, np.ndarray]:
        """Returns float32 `exclusive` `[n, C]` and `rule_based` `[n, N]` of serialized examples `[n]`."""
        found = self._score(examples=tf.constant(examples))
        widths = (len(self.taxonomy.exclusive), len(self.taxonomy))
        for head, width in zip(HEADS, widths, strict=True):
            if found[head].shape[1] != width:
                raise ModelError(f"{self.folder}: {head} has {found[head].shape[1]} outputs, assets.extra/model.json names {width} nodes.")
        return {head: found[head].numpy() for head in HEADS}


def model_taxonomy(folder: Path) -> Taxonomy:
    """Reads the tree a SavedModel was made for from its `assets.extra/model.json`.

    Raises:
        ModelError: the file is missing or isn't what docs/contracts.md says.
    """
    path = folder / EXTRA / "model.json"
    try:
        nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
        return Taxonomy([Node(node["id"], node["parent_id"], node["name"], bool(node["exclusive"])) for node in nodes], str(path))
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file. Name the folder of a SavedModel that this pipeline exported.") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected a JSON object with nodes of id, parent_id, name and exclusive, found {error!r}.") from None


def score_split(split: Path, models: Sequence[ScoringModel], block_products: int, spool: Path) -> tuple[JudgedProducts, list[HeadScores]]:
    """Reads a split once and scores its answered or ruled products with every model, a block at a time.

    Args:
        split: folder of GZIP TFRecords, such as `Split-test`.
        models: what to score with; the result has their order.
        block_products: products scored at once.
        spool: an empty folder for the scores; it must outlive them.

    Raises:
        EvaluationError: the folder holds no examples.
    """
    files = sorted(str(path) for path in split.glob("*.gz"))
    if not files:
        raise EvaluationError(f"{split}: there are no examples (*.gz). Run LabelJoin first.")
    collected: list[dict[str, Any]] = []
    writers = [{head: (spool / f"{number}-{head}.float32").open("wb") for head in HEADS} for number in range(len(models))]
    try:
        for serialized in read_record_blocks(files, block_products):
            block = _parse(serialized)
            collected.append(block)
            _score_block(serialized[block["kept"]], models, writers)
    finally:
        for file in (file for group in writers for file in group.values()):
            file.close()
    products = _join(collected)
    return products, [_mapped(spool, number, model, len(products)) for number, model in enumerate(models)]


def scores_of(products: JudgedProducts, found: HeadScores, taxonomy: Taxonomy) -> Scores:
    """Returns one model's scores beside the truth, in the numbers of that model's tree."""
    numbers = {node.id: i for i, node in enumerate(taxonomy)}
    rule_nodes = np.array([numbers.get(node_id, -1) for node_id in products.rule_nodes], np.int64)
    known = rule_nodes >= 0
    return Scores(
        answered=np.array([bool(node_id) for node_id in products.answers], bool),
        true_nodes=np.array([numbers.get(node_id, -1) for node_id in products.answers], np.int64),
        exclusive=found.exclusive,
        rule_based=found.rule_based,
        rule_pairs=np.stack([products.rule_rows[known], rule_nodes[known]], 1),
        depths=products.depths,
        shops=products.shops,
        missing=products.missing,
    )


def _parse(serialized: np.ndarray) -> dict[str, Any]:
    texts = (ID, SHOP, ANSWER_NODE, GROUP, *(field for field in OPTIONAL_FIELDS if field != PRICE))
    spec: dict[str, Any] = {name: tf.io.FixedLenFeature([], tf.string, "") for name in texts}
    spec[PRICE] = tf.io.FixedLenFeature([], tf.float32, float("nan"))
    spec[CATEGORY_DEPTH] = tf.io.FixedLenFeature([], tf.int64, 0)
    spec[RULE_NODES] = tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64)
    fields = tf.io.parse_example(serialized, spec)
    answers, rules = fields[ANSWER_NODE].numpy(), fields[RULE_NODES]
    kept = (answers != b"") | (rules.row_lengths().numpy() > 0)
    rules = tf.ragged.boolean_mask(rules, kept)
    missing = {name: np.isnan(fields[name].numpy()) if name == PRICE else fields[name].numpy() == b"" for name in OPTIONAL_FIELDS}
    return {
        "kept": kept,
        **{name: [text.decode() for text in fields[name].numpy()[kept]] for name in (ID, SHOP, ANSWER_NODE, GROUP)},
        TITLE: _titles({name: values.numpy()[kept] for name, values in fields.items() if name in DESCRIBING_FIELDS}),
        CATEGORY_DEPTH: fields[CATEGORY_DEPTH].numpy()[kept],
        "rule_rows": rules.value_rowids().numpy(),
        RULE_NODES: [node_id.decode() for node_id in rules.flat_values.numpy()],
        "missing": {name: flags[kept] for name, flags in missing.items()},
    }


def _titles(texts: Mapping[str, np.ndarray]) -> list[str]:
    products = (zip(texts, row, strict=True) for row in zip(*texts.values(), strict=True))
    return [shown_title({name: text.decode() for name, text in product}) for product in products]


def _score_block(serialized: np.ndarray, models: Sequence[ScoringModel], writers: Sequence[Mapping[str, BinaryIO]]) -> None:
    if not len(serialized):
        return
    for model, files in zip(models, writers, strict=True):
        for head, values in model.score(serialized).items():
            files[head].write(np.ascontiguousarray(values, np.float32).tobytes())


def _join(blocks: Sequence[Mapping[str, Any]]) -> JudgedProducts:
    def texts(name: str) -> list[str]:
        return [text for block in blocks for text in block[name]]

    def array(name: str) -> np.ndarray:
        return np.concatenate([block[name] for block in blocks]) if blocks else np.zeros(0, np.int64)

    starts = np.cumsum([0, *(len(block[ID]) for block in blocks)])
    rows = [block["rule_rows"] + start for block, start in zip(blocks, starts, strict=False)]
    missing = {name: np.concatenate([block["missing"][name] for block in blocks]) for name in OPTIONAL_FIELDS} if blocks else {}
    return JudgedProducts(
        ids=texts(ID),
        titles=texts(TITLE),
        shops=texts(SHOP),
        answers=texts(ANSWER_NODE),
        groups=_numbered(texts(GROUP), texts(ID)),
        depths=array(CATEGORY_DEPTH).astype(np.int64),
        rule_rows=np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64),
        rule_nodes=texts(RULE_NODES),
        missing={name: flags for name, flags in missing.items() if flags.any() and not flags.all()},
        read=sum(len(block["kept"]) for block in blocks),
    )


def _numbered(groups: Sequence[str], ids: Sequence[str]) -> np.ndarray:
    """Returns numbers of groups; a product without one is alone."""
    names = [f"group {group}" if group else f"product {product_id}" for group, product_id in zip(groups, ids, strict=True)]
    found: np.ndarray = np.unique(np.array(names, dtype=object), return_inverse=True)[1].astype(np.int64)
    return found


def _mapped(spool: Path, number: int, model: ScoringModel, count: int) -> HeadScores:
    widths = (len(model.taxonomy.exclusive), len(model.taxonomy))
    heads = {}
    for head, width in zip(HEADS, widths, strict=True):
        path = spool / f"{number}-{head}.float32"
        # An empty file can't be mapped.
        heads[head] = np.memmap(path, np.float32, "r", shape=(count, width)) if count else np.zeros((0, width), np.float32)
    return HeadScores(**heads)
