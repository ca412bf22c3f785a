"""Scores products with a SavedModel, block by block, from serialized examples to Parquet; the TFX shell is pool_scorer.py."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.example_bytes import read_record_blocks
from components.scored_pool import (
    ACCEPTED_NODE,
    ANSWERED,
    BLESSED,
    CANDIDATE,
    COMMITTEE_NODES,
    COMMITTEE_PROBABILITIES,
    CONFIDENCE,
    DECISION,
    EMBEDDING,
    EXCLUSIVE_ENTROPY,
    EXCLUSIVE_NODES,
    EXCLUSIVE_PROBABILITIES,
    PRODUCT_ID,
    RULE_BASED_NODES,
    RULE_BASED_PROBABILITIES,
    SCHEMA,
    SPLIT,
    TEXT_FIELDS,
    TITLE_KEY,
)
from few_shot.acceptance import ASKED
from schemas.errors import ModelError
from schemas.product import ANSWER_KIND, ANSWER_NODE, GROUP, ID, PRICE, RULE_IDS, TITLE
from schemas.text import fold

SIGNATURE = "serving_default"
_OUTPUTS = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EXCLUSIVE_ENTROPY, RULE_BASED_NODES, RULE_BASED_PROBABILITIES, EMBEDDING)
_OF_ACCEPTANCE = (DECISION, ACCEPTED_NODE, CONFIDENCE)
_OF_MEMBER = (EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES)
_DESCRIPTION = ("assets.extra", "model.json")


@dataclass(frozen=True)
class ChosenModel:
    """The SavedModel that scores: the run's own, or the live one of `version`."""

    uri: str
    model: str
    version: int


def choose_model(candidate_uri: str, candidate_blessed: bool, baseline_uri: str, baseline_version: int) -> ChosenModel:
    """Returns the candidate if it is blessed, else the live model if there is one, else the candidate.

    >>> choose_model("new", False, "live", 7)
    ChosenModel(uri='live', model='blessed', version=7)
    >>> choose_model("new", False, "", 0).model
    'candidate'
    """
    if not candidate_blessed and baseline_uri:
        return ChosenModel(baseline_uri, BLESSED, baseline_version)
    return ChosenModel(candidate_uri, CANDIDATE, 0)


def read_model_description(model_uri: str) -> dict[str, Any]:
    """Returns what `assets.extra/model.json` says about a SavedModel.

    Raises:
        ModelError: it is missing, or isn't JSON with the keys of docs/contracts.md.
    """
    path = "/".join((model_uri.rstrip("/"), *_DESCRIPTION))
    try:
        with tf.io.gfile.GFile(path, "r") as file:
            found = json.load(file)
    except tf.errors.NotFoundError:
        raise ModelError(f"{path}: there is no such file. Name a SavedModel that aisle's trainer exported.") from None
    except ValueError as error:
        raise ModelError(f"{path}: this isn't JSON: {error}. Export the model again.") from None
    missing = [key for key in ("nodes", "embedding_dimension", "top_k") if key not in found]
    if missing:
        raise ModelError(f"{path}: key {missing[0]!r} is missing. Export the model again.")
    return dict(found)


class Scorer:
    """Loaded SavedModels and the decoder of their examples; keep one per process.

    Args:
        model_uri: the model whose scores a pool holds.
        committee: further models, whose best nodes stand beside; with none there is no committee.

    Raises:
        ModelError: a model can't be loaded, or lacks the signature or an output of docs/contracts.md.
    """

    def __init__(self, model_uri: str, committee: Sequence[str] = ()) -> None:
        loaded = [_load(uri, _OF_MEMBER if number else _OUTPUTS) for number, uri in enumerate((model_uri, *committee))]
        self._loaded = loaded  # Holds the variables: a signature alone doesn't keep them alive.
        self._signature, *self._committee = [model.signatures[SIGNATURE] for model in loaded]
        self._decoder = ExamplesToRecordBatchDecoder(_field_schema().SerializeToString())

    def score(self, serialized: npt.NDArray[np.object_], split: str) -> pa.RecordBatch:
        """Returns one block of a scored pool, in the order given.

        Args:
            serialized: object (bytes) `[n]`, labelled examples.
            split: what column `split` says.
        """
        examples = tf.constant(serialized, tf.string)
        outputs = self._signature(examples=examples)
        columns = {name: _output_column(outputs[name].numpy(), SCHEMA.field(name).type) for name in _OUTPUTS}
        columns |= _acceptance_columns(outputs, len(serialized))
        members = [outputs, *(member(examples=examples) for member in self._committee)] if self._committee else []
        columns |= _committee_columns([(m[EXCLUSIVE_NODES].numpy(), m[EXCLUSIVE_PROBABILITIES].numpy()) for m in members], len(serialized))
        columns |= _field_columns(self._decoder.DecodeBatch(serialized.tolist()))
        columns[SPLIT] = pa.array(np.full(len(serialized), split, dtype=object), pa.string())
        return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _load(model_uri: str, outputs: Sequence[str]) -> Any:
    try:
        loaded = tf.saved_model.load(model_uri)
    except OSError:
        raise ModelError(f"{model_uri}: there is no SavedModel to score with. Name a model that aisle's trainer exported.") from None
    if SIGNATURE not in loaded.signatures:
        raise ModelError(f"{model_uri}: there is no signature {SIGNATURE!r}. Found {', '.join(loaded.signatures)}.")
    missing = [name for name in outputs if name not in loaded.signatures[SIGNATURE].structured_outputs]
    if missing:
        raise ModelError(f"{model_uri}: signature {SIGNATURE!r} has no output {missing[0]!r}. Export the model again.")
    return loaded


def _acceptance_columns(outputs: Mapping[str, Any], num_products: int) -> dict[str, pa.Array]:
    """Returns what needs no person; a model of an earlier release says nothing of it, so that everything is asked."""
    if DECISION in outputs:
        return {name: _output_column(outputs[name].numpy(), SCHEMA.field(name).type) for name in _OF_ACCEPTANCE}
    asked, nowhere = (pa.array(np.full(num_products, text, dtype=object), pa.string()) for text in (ASKED, ""))
    return {DECISION: asked, ACCEPTED_NODE: nowhere, CONFIDENCE: pa.array(outputs[EXCLUSIVE_PROBABILITIES].numpy()[:, 0], pa.float32())}


def _committee_columns(members: Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.float32]]], num_products: int) -> dict[str, pa.Array]:
    """Returns what each member says, one after the other; a member that knows fewer nodes is filled up with "" and 0."""
    width = max((nodes.shape[1] for nodes, _ in members), default=0)
    all_nodes = np.full((num_products, len(members), width), b"", dtype=object)
    all_probabilities = np.zeros((num_products, len(members), width), np.float32)
    for number, (nodes, probabilities) in enumerate(members):
        all_nodes[:, number, : nodes.shape[1]] = nodes
        all_probabilities[:, number, : nodes.shape[1]] = probabilities
    flat = (num_products, len(members) * width)
    return {
        COMMITTEE_NODES: _output_column(all_nodes.reshape(flat), SCHEMA.field(COMMITTEE_NODES).type),
        COMMITTEE_PROBABILITIES: _output_column(all_probabilities.reshape(flat), SCHEMA.field(COMMITTEE_PROBABILITIES).type),
    }


def score_file(scorer: Scorer, examples_path: str, split: str, file: BinaryIO, block_products: int) -> int:
    """Scores one GZIP TFRecord of labelled examples into one Parquet file.

    Memory holds one block at a time, and never a score of every node.

    Args:
        scorer: the loaded model.
        examples_path: what to read; any file system TensorFlow knows.
        split: `dev` or `test`.
        file: where the Parquet file goes, open for writing bytes.
        block_products: most products scored at once.

    Returns:
        Number of products written.
    """
    num_products = 0
    with pq.ParquetWriter(file, SCHEMA, compression="snappy") as writer:
        for block in read_record_blocks([examples_path], block_products):
            writer.write_table(pa.Table.from_batches([scorer.score(block, split)]))
            num_products += len(block)
    return num_products


def split_files(folder: Path, split: str) -> list[str]:
    """Returns the example files of a split, in order."""
    return sorted(str(path) for path in (folder / f"Split-{split}").glob("*") if path.is_file() and not path.name.startswith("."))


def _field_schema() -> schema_pb2.Schema:
    """Says which features to decode; every other, such as wide dense fields, is skipped."""
    schema = schema_pb2.Schema()
    for name in (ID, GROUP, ANSWER_NODE, ANSWER_KIND, RULE_IDS, *TEXT_FIELDS):
        schema.feature.add(name=name, type=schema_pb2.BYTES)
    schema.feature.add(name=PRICE, type=schema_pb2.FLOAT)
    return schema


def _field_columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    decoded = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
    columns = {name: _text(_first(decoded[name])) for name in TEXT_FIELDS}
    columns[PRODUCT_ID] = _text(_first(decoded[ID]))
    columns[GROUP] = _text(_first(decoded[GROUP]))
    columns[PRICE] = _first(decoded[PRICE]).cast(pa.float32())
    columns[ANSWERED] = pa.array((_lengths(decoded[ANSWER_NODE]) > 0) | (_lengths(decoded[ANSWER_KIND]) > 0))
    columns[ANSWER_NODE] = _text(_first(decoded[ANSWER_NODE]))
    columns[TITLE_KEY] = pa.array([_title_key(title) for title in columns[TITLE].to_pylist()], pa.string())
    columns[RULE_IDS] = _texts(decoded[RULE_IDS])
    return columns


def _title_key(title: str | None) -> str | None:
    """Returns 16 hexadecimal digits, equal for titles that are equal once folded; None for a title that says nothing."""
    folded = fold(title or "")
    return blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if folded else None


def _lengths(lists: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _first(lists: pa.Array) -> pa.Array:
    """Returns the first value of each list, null where a list is missing or empty."""
    lengths = _lengths(lists)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else lengths
    return lists.flatten().take(pa.array(starts, pa.int64(), mask=lengths == 0))


def _text(values: pa.Array) -> pa.Array:
    """Returns bytes as text; a byte that isn't UTF-8 becomes U+FFFD, because one bad field mustn't stop a pool."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([None if value is None else value.decode("utf-8", "replace") for value in values.to_pylist()], pa.string())


def _texts(lists: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(_lengths(lists))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _text(lists.flatten()))


def _output_column(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Returns a model output `[n]` or `[n, k]` as a column; node ids are few, so they are turned to text once each."""
    if not pa.types.is_list(kind):
        return _text(pa.array(values, pa.binary())) if pa.types.is_string(kind) else pa.array(values, kind)
    flat = values.reshape(-1)
    is_text = pa.types.is_string(kind.value_type)
    inner = _text(pa.array(flat, pa.binary())) if is_text else pa.array(flat, kind.value_type)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * (values.shape[1] if values.ndim == 2 else 0)
    return pa.ListArray.from_arrays(pa.array(offsets), inner)
