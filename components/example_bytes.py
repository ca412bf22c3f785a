"""Reads fields of serialized examples, and adds features to them, without parsing them one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.example_records import varint
from schemas.whole_records import unreadable, whole_blocks

BATCH_SIZE = 512
_BUFFER_BYTES = 1 << 20


def read_records(path: str, batch_size: int = BATCH_SIZE) -> Iterator[list[bytes]]:
    """Yields the records of a GZIP TFRecord file in lists of `batch_size`, in order.

    Raises:
        CatalogueError: the file is missing, cut short or not GZIP TFRecord.
    """
    for block in read_record_blocks([path], batch_size):
        yield block.tolist()


def read_record_blocks(paths: Iterable[str], block_size: int) -> Iterator[npt.NDArray[np.object_]]:
    """Yields the records of GZIP TFRecord files in arrays of at most `block_size`, in order; none spans two files.

    Raises:
        CatalogueError: a file is missing, cut short or not GZIP TFRecord.
    """
    for path in paths:
        records = tf.data.TFRecordDataset([path], compression_type="GZIP", buffer_size=_BUFFER_BYTES)
        try:
            yield from whole_blocks(path, records.batch(block_size).prefetch(2).as_numpy_iterator(), tf.io.gfile.GFile)
        except tf.errors.OpError as error:
            raise unreadable(path, error.message[:120]) from None


def string_decoder(strings: Iterable[str], integers: Iterable[str] = (), also: Iterable[str] = ()) -> ExamplesToRecordBatchDecoder:
    """Returns a decoder that reads only these features of serialized examples; `also` are strings unless in `integers`."""
    integers = set(integers)
    schema = schema_pb2.Schema()
    for name in sorted({*strings, *integers, *also}):
        schema.feature.add(name=name, type=schema_pb2.INT if name in integers else schema_pb2.BYTES)
    return ExamplesToRecordBatchDecoder(schema.SerializeToString())


def first_values(column: pa.Array) -> list[Any]:
    """Returns the first value of each row, texts decoded; None where the row has none."""
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_integer(column.type.value_type):
        return [values[0] if values else None for values in column.to_pylist()]
    return [values[0].decode("utf-8", "replace") if values else None for values in column.to_pylist()]


def with_features(record: bytes, features: bytes) -> bytes:
    """Returns a serialized Example with the entries of a serialized `tf.train.Features` added, without parsing either.

    An Example is one length-prefixed Features message, and the entries of its map are a plain sequence: the entries of
    the second go behind those of the first, under a new length.
    """
    if not features:
        return record
    start = _features_start(record)
    if start < 0:
        return _parsed_with_features(record, features)
    return b"".join((b"\x0a", varint(len(record) - start + len(features)), memoryview(record)[start:], features))


def _features_start(record: bytes) -> int:
    """Returns where the only Features message of an Example begins, or -1 if the record is laid out in another way."""
    if not record or record[0] != 0x0A:
        return -1
    length, shift, at = 0, 0, 1
    while at < len(record) and shift < 63:
        byte = record[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at if at + length == len(record) else -1
        shift += 7
    return -1


def _parsed_with_features(record: bytes, features: bytes) -> bytes:
    example = tf.train.Example.FromString(record)
    example.features.MergeFromString(features)
    return bytes(example.SerializeToString(deterministic=True))


def without_features(record: bytes, names: Iterable[str]) -> bytes:
    """Returns a serialized Example without the features of these names."""
    example = tf.train.Example.FromString(record)
    for name in names:
        example.features.feature.pop(name, None)
    return bytes(example.SerializeToString(deterministic=True))
