"""Describes an index on disk: what it is, which model and version it belongs to, and a digest of each of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from schemas.errors import NeighbourIndexError

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
MANIFEST = "manifest.json"
_END_OF_VERSIONS = 2**63  # As messages hold them.
_BLOCK_BYTES = 1 << 20


_ABSENT_IN_1: dict[str, Any] = {"storage": "float32", "exact_below": 0}


@dataclass(frozen=True)
class IndexManifest:
    """What `manifest.json` says.

    Attributes:
        kind: `exact`, `scann` or `hnsw`.
        num_products: vectors in the index.
        dimension: length of each vector.
        recall: measured recall@`neighbours` against exact search; 1.0 for the exact index itself.
        neighbours: what recall was measured on.
        version: of the model and the index alike; 0 until they are pushed.
        model_sha256: digest of the SavedModel that made the vectors, so that no other model is pushed beside them; empty: unknown.
        taxonomy_sha256: of the taxonomy whose tree order the vectors are in.
        storage: `float32`, or `int8` with exact similarities of the best.
        exact_below: products below which an approximate index searches a subtree exactly.
        sha256: file, relative to the folder, to the digest of its content.
        format_version: of this description and the files beside it.
    """

    kind: str
    num_products: int
    dimension: int
    recall: float
    neighbours: int
    version: int = 0
    model_sha256: str = ""
    taxonomy_sha256: str = ""
    storage: str = "float32"
    exact_below: int = 0
    sha256: Mapping[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION


def file_sha256(path: Path) -> str:
    """Returns the digest of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, manifest: IndexManifest) -> IndexManifest:
    """Writes the manifest of the files that are in `folder` now, digests included, and returns it as written."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    digests = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    written = replace(manifest, sha256=digests)
    _replace_json(folder / MANIFEST, written)
    return written


def stamp_version(folder: Path, version: int) -> IndexManifest:
    """Says in a manifest which version the index goes live under; the files and their digests stay as they are."""
    stamped = replace(read_manifest(folder), version=version)
    _replace_json(folder / MANIFEST, stamped)
    return stamped


def _replace_json(path: Path, manifest: IndexManifest) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_manifest(folder: Path) -> IndexManifest:
    """Reads a manifest without looking at the files it describes.

    Raises:
        NeighbourIndexError: it is missing, isn't JSON, lacks a key, or is of another format version.
    """
    path = folder / MANIFEST
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NeighbourIndexError(f"{path}: there is no such file, so {folder} isn't an index. Name the folder of a built one.") from None
    except OSError as error:
        raise NeighbourIndexError(f"{path}: can't be read: {error.strerror}. Name the folder of a built index.") from None
    except ValueError:
        raise NeighbourIndexError(f"{path}: this isn't JSON. Build the index again, or copy it again.") from None
    found = row.get("format_version") if isinstance(row, dict) else None
    if found not in READABLE_VERSIONS:
        known = " and ".join(map(str, READABLE_VERSIONS))
        raise NeighbourIndexError(
            f"{path}: format_version is {found!r}, this release reads {known}. Build the index again, or use the release that wrote it."
        )
    version = row.get("version", 0)
    if type(version) is not int or not 0 <= version < _END_OF_VERSIONS:
        raise NeighbourIndexError(
            f"{path}: version is {repr(version)[:100]}, expected a whole number. Build the index again, or copy it again."
        )
    absent = _ABSENT_IN_1 if found == 1 else {}
    try:
        return IndexManifest(**{name: row[name] for name in IndexManifest.__dataclass_fields__ if name not in absent}, **absent)
    except KeyError as error:
        raise NeighbourIndexError(f"{path}: key {error} is missing. Build the index again, or copy it again.") from None


def verify(folder: Path, version: int | None = None, content: bool = True) -> IndexManifest:
    """Returns the manifest after comparing every file with its digest.

    Args:
        folder: of the index.
        version: that of the live model, which the index must have too; None: any.
        content: False compares names alone, where the content was compared when the files were put there.

    Raises:
        NeighbourIndexError: another version, a file that is missing, changed or not in the manifest.
    """
    manifest = read_manifest(folder)
    if version is not None and manifest.version != version:
        raise NeighbourIndexError(
            f"{folder}: index was built for model {manifest.version} (dim {manifest.dimension}), the live model is {version}. "
            "Deploy index and model together."
        )
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    missing, unknown = sorted(set(manifest.sha256) - present), sorted(present - set(manifest.sha256))
    if missing or unknown:
        problem = f"{missing[0]} is missing" if missing else f"{unknown[0]} isn't in the manifest"
        raise NeighbourIndexError(f"{folder}: {problem}. Build the index again, or copy it again.")
    for name, digest in manifest.sha256.items() if content else ():
        if file_sha256(folder / name) != digest:
            raise NeighbourIndexError(f"{folder / name}: the content isn't what the manifest says. Build or copy it again.")
    return manifest
