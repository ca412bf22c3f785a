"""Adds the vectors of encoders to files of examples, one file at a time; the TFX shell is encoder.py."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.example_bytes import first_values, read_records, string_decoder, with_features
from components.example_records import floats_entry
from encoders.batch_encoding import TEXTS_AT_ONCE, BatchEncoder
from encoders.descriptions import IMAGE, TEXT
from encoders.image_files import UNDECODABLE, read_picture
from encoders.registry import load_planned
from encoders.vector_cache import VectorCache
from schemas.errors import CatalogueError

_PRODUCTS_AT_ONCE = 4096
_PICTURES_AT_ONCE = 32  # Bounds memory: files of at most 20 MB each.
PRODUCTS, VECTORS, UNIQUE, CACHED = "products", "vectors", "unique", "cached"
_COUNTS = (PRODUCTS, VECTORS, UNIQUE, CACHED)


@dataclass(frozen=True)
class FieldEncoder:
    """An encoder of one field.

    Attributes:
        name: of the vector it adds.
        field: of the product that it reads.
        reads: `text` or `image`.
        encode: the encoder itself.
    """

    name: str
    field: str
    reads: str
    encode: BatchEncoder


@dataclass
class EncodingCounts:
    """What the encoders did so far, by name of the vector; mergeable."""

    by_name: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, name: str, **counts: int) -> None:
        """Adds to the counts of one encoder."""
        self.by_name.setdefault(name, Counter()).update(counts)

    def merge(self, other: EncodingCounts) -> None:
        """Adds what another file gave."""
        for name, counts in other.by_name.items():
            self.add(name, **counts)


def load_field_encoders(plans: Sequence[Mapping[str, Any]], cache: VectorCache | None) -> list[FieldEncoder]:
    """Returns the encoders that a run planned, ready to be called; the same weights are loaded once.

    Args:
        plans: as `pipeline.encoder_inputs.read_encoders` returns them.
        cache: where vectors are kept.

    Raises:
        EncoderError: weights can't be used, or aren't those the run was planned with.
    """
    at_once = {TEXT: TEXTS_AT_ONCE, IMAGE: _PICTURES_AT_ONCE}
    loaded = load_planned(plans)
    return [
        FieldEncoder(plan["name"], plan["field"], plan["reads"], BatchEncoder(loaded[plan["name"]], cache, at_once[plan["reads"]]))
        for plan in plans
    ]


class ExampleEncoder:
    """Appends vectors to batches of serialized examples; a product whose field says nothing gets none.

    Args:
        encoders: what to add.
        images: folder that paths of pictures start at; None for none.
    """

    def __init__(self, encoders: Sequence[FieldEncoder], images: Path | None) -> None:
        self._encoders, self._images = encoders, images
        self._decoder = string_decoder({encoder.field for encoder in encoders})

    def encode(self, records: Sequence[bytes], counts: EncodingCounts, place: str) -> list[bytes]:
        """Returns the records with their vectors, in order, and adds to `counts`.

        Raises:
            CatalogueError: a record is no example.
        """
        try:
            batch = self._decoder.DecodeBatch(list(records))
        except RuntimeError as error:
            raise CatalogueError(f"{place}: an example can't be read: {error}. Expected tf.train.Example with text fields.") from None
        columns = {name: first_values(batch.column(i)) for i, name in enumerate(batch.schema.names)}
        added = [[] for _ in records]  # type: list[list[bytes]]
        for encoder in self._encoders:
            vectors = self._vectors(encoder, columns[encoder.field], counts)
            said = vectors.any(axis=1)
            for row in np.flatnonzero(said):
                added[row].append(floats_entry(encoder.name, vectors[row].astype("<f4").tobytes()))
            counts.add(encoder.name, **{PRODUCTS: len(records), VECTORS: int(said.sum())})
        return [with_features(record, b"".join(entries)) for record, entries in zip(records, added, strict=True)]

    def _vectors(self, encoder: FieldEncoder, values: Sequence[str | None], counts: EncodingCounts) -> np.ndarray:
        if encoder.reads == IMAGE:
            return self._of_pictures(encoder, values, counts)
        found = encoder.encode([(value or "").encode("utf-8", "replace") for value in values])
        counts.add(encoder.name, **{UNIQUE: found.num_unique, CACHED: found.num_cached})
        return found.vectors

    def _of_pictures(self, encoder: FieldEncoder, images: Sequence[str | None], counts: EncodingCounts) -> np.ndarray:
        places: dict[str | None, list[int]] = {}
        for row, image in enumerate(images):
            places.setdefault(image, []).append(row)
        vectors = np.zeros((len(images), encoder.encode.encoder.description.size), np.float32)
        unique = list(places)
        for start in range(0, len(unique), _PICTURES_AT_ONCE):
            part = unique[start : start + _PICTURES_AT_ONCE]
            pictures = [read_picture(self._images, image) for image in part]
            found = encoder.encode([picture.content for picture in pictures])
            counts.add(encoder.name, **{UNIQUE: found.num_unique, CACHED: found.num_cached})
            for image, picture, vector in zip(part, pictures, found.vectors, strict=True):
                vectors[places[image]] = vector
                reason = picture.reason or ("" if vector.any() else UNDECODABLE)
                if reason:
                    counts.add(encoder.name, **{reason: len(places[image])})
        return vectors


def encode_file(encoder: ExampleEncoder, source: str, target: str) -> EncodingCounts:
    """Writes one file with vectors, in the order of its source, and returns what it counted."""
    counts = EncodingCounts()
    with tf.io.TFRecordWriter(target, options=tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)) as writer:
        for records in read_records(source, _PRODUCTS_AT_ONCE):
            for record in encoder.encode(records, counts, source):
                writer.write(record)
    return counts


def encoding_report(plans: Iterable[Mapping[str, Any]], counts: EncodingCounts) -> str:
    """Returns the content of `encoding_report.json`: what each encoder is, what it did, and why products have no picture."""
    rows = []
    for plan in plans:
        of_encoder = counts.by_name.get(plan["name"], Counter())
        row = {name: plan[name] for name in ("name", "kind", "field", "size", "digest")}
        row |= {name: of_encoder[name] for name in _COUNTS}
        row["without"] = {reason: number for reason, number in sorted(of_encoder.items()) if reason not in _COUNTS}
        rows.append(row)
    return json.dumps({"encoders": rows}, indent=1) + "\n"
