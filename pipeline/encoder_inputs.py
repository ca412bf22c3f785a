"""Checks the encoders that settings name, and works out what a run must know of them without loading TensorFlow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from encoders.descriptions import IMAGE, TEXT
from encoders.kinds import describe_encoder
from encoders.weights import weights_path
from schemas.errors import EncoderError, SettingsError
from schemas.features import FeatureConfig, with_vectors
from schemas.product import FIELDS, ID, STRING_FIELDS
from schemas.product import IMAGE as IMAGE_FIELD
from schemas.settings import EncoderSettings, Settings

_TEXT_FIELDS = tuple(name for name in STRING_FIELDS if name not in (ID, IMAGE_FIELD))


def read_encoders(settings: Settings) -> list[dict[str, Any]]:
    """Returns each encoder as plain data: `name`, `kind`, `field`, `weights` (a path), `max_tokens`, `reads`, `size`, `digest`.

    Raises:
        SettingsError: a name or field that can't be used.
        EncoderError: weights that can't be found or used. Both name the encoder.
    """
    names: set[str] = set()
    found = []
    for number, encoder in enumerate(settings.encoders):
        place = f"encoders.{number}"
        _check_name(encoder.name, names, place)
        names.add(encoder.name)
        try:
            weights = weights_path(encoder.weights)
            description = describe_encoder(encoder.kind, weights, encoder.max_tokens)
        except EncoderError as error:
            raise EncoderError(f"{place}.weights: {error}") from None
        _check_field(encoder, description.reads, place)
        found.append(
            {
                "name": encoder.name,
                "kind": encoder.kind,
                "field": encoder.field,
                "weights": str(weights),
                "max_tokens": encoder.max_tokens,
                "reads": description.reads,
                "size": description.size,
                "digest": description.digest,
            }
        )
    return found


def with_encoders(features: FeatureConfig, encoders: Sequence[Mapping[str, Any]]) -> FeatureConfig:
    """Returns the features with one more for every vector that none reads yet.

    Raises:
        FeatureError: a feature reads a vector with another size than its encoder gives.
    """
    return with_vectors(features, {encoder["name"]: encoder["size"] for encoder in encoders})


def fed_vectors(features: FeatureConfig, encoders: Sequence[str]) -> dict[str, int]:
    """Returns the vector fields that feeds bring, and their sizes: all but those that encoders of these names make."""
    return {name: size for name, size in features.dense_fields.items() if name not in encoders}


def images_folder(settings: Settings) -> str:
    """Returns the folder that paths of pictures start at; empty for none."""
    return settings.encoding.images or settings.catalogue.folder


def images_fingerprint(settings: Settings, encoders: Sequence[Mapping[str, Any]]) -> str:
    """Returns a digest of the names, sizes and times of the files in the pictures' folder; empty where none is looked at.

    A touched file makes the stage look again, and its vector then comes from the cache, which goes by content.

    Raises:
        SettingsError: there is no such folder.
    """
    folder = images_folder(settings)
    if not folder or not any(encoder["reads"] == IMAGE for encoder in encoders):
        return ""
    if not Path(folder).is_dir():
        raise SettingsError(f"encoding.images: {folder} is no folder. Name the folder that the pictures' paths start at.")
    digest = hashlib.sha256()
    for line in sorted(_files(folder)):
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:32]


def _files(folder: str) -> Iterator[str]:
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    known = entry.stat(follow_symlinks=False)
                    yield f"{os.path.relpath(entry.path, folder)}\t{known.st_size}\t{known.st_mtime_ns}"


def _check_name(name: str, taken: set[str], place: str) -> None:
    if not name.isidentifier() or name in FIELDS:
        raise SettingsError(f"{place}.name {name!r} can't be used. Give the vector a name of its own, such as title_vector.")
    if name in taken:
        raise SettingsError(f"{place}.name {name!r} is there twice. Give every encoder a name of its own.")


def _check_field(encoder: EncoderSettings, reads: str, place: str) -> None:
    known = _TEXT_FIELDS if reads == TEXT else (IMAGE_FIELD,)
    if encoder.field not in known:
        raise SettingsError(f"{place}.field {encoder.field!r} is unknown for kind {encoder.kind}. Known: {', '.join(known)}.")
