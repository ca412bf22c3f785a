"""Makes a model and its index live together or not at all, in TF Serving's layout, on one file system; plain Python."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.folder_digest import folder_sha256
from schemas.errors import NeighbourIndexError, PushError
from similarity.manifest import IndexManifest, read_manifest, stamp_version, verify

LIVE, MODELS, INDEXES = "live.json", "models", "indexes"
_LOCK, _INCOMING = ".push.lock", ".incoming-"


@dataclass(frozen=True)
class Live:
    """The pair that `live.json` names.

    Attributes:
        name: of the model.
        version: of model and index alike.
        model: folder of the SavedModel.
        index: folder of the similarity index.
    """

    name: str
    version: int
    model: Path
    index: Path


def read_live(folder: Path, name: str) -> Live | None:
    """Returns what is live in a push folder; None where nothing has gone live yet.

    Raises:
        PushError: `live.json` is damaged, names another model, or a folder it names is gone.
    """
    path = folder / LIVE
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        live = Live(row["name"], int(row["version"]), folder / row["model"], folder / row["index"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise PushError(f"{path}: this can't be read: {error!r}. Name a version that is there, or remove the file to start anew.") from None
    if live.name != name:
        raise PushError(f"{path}: model {live.name!r} is live here, this run makes {name!r}. Set push.folder to another folder.")
    for place in (live.model, live.index):
        if not place.is_dir():
            raise PushError(f"{path}: {place} is gone. Put it back, or name a version that is there in {LIVE}.")
    return live


def push_pair(model: Path, index: Path, folder: Path, name: str, now_s: int) -> int:
    """Copies a model and its index under one version, and only then makes them live; returns the version.

    The version is the time, or one more than the last version if that is later. Both copies are complete and on disk
    under hidden names before the first is renamed; whatever fails, `live.json` names what it named before and nothing
    of the new version stays. The pair that is live already isn't copied again: its version is returned.

    Args:
        model: folder of the SavedModel.
        index: folder of the similarity index, made from that model.
        folder: `push.folder`, made when missing.
        name: of the model, a folder name.
        now_s: seconds since 1970.

    Raises:
        PushError: no SavedModel, a damaged index, an index of another model, or a folder that another model uses.
    """
    if not name or name.startswith(".") or "/" in name:
        raise PushError(f"name {name!r} isn't a folder name. Set run.name to letters, digits and dashes.")
    model_sha256, manifest = _checked_pair(model, index)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        live = read_live(folder, name)
        if live and _is_live(live, model_sha256, manifest):
            return live.version
        _remove_leftovers(folder)
        version = max(now_s, _last_version(folder, name, live) + 1)
        _publish(model, index, folder, name, version)
        return version


def _checked_pair(model: Path, index: Path) -> tuple[str, IndexManifest]:
    if not (model / "saved_model.pb").is_file():
        raise PushError(f"{model}: there is no saved_model.pb, so this isn't a SavedModel. Name the folder that holds it.")
    try:
        manifest = verify(index)
    except NeighbourIndexError as error:
        raise PushError(str(error)) from None
    digest = folder_sha256(model)
    if manifest.model_sha256 and manifest.model_sha256 != digest:
        raise PushError(
            f"{index}: index was built for model {manifest.model_sha256[:12]}, the model to push is {digest[:12]}. "
            "Score the pool and build the index with that model."
        )
    return digest, manifest


def _is_live(live: Live, model_sha256: str, manifest: IndexManifest) -> bool:
    return read_manifest(live.index).sha256 == manifest.sha256 and folder_sha256(live.model) == model_sha256


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process push at a time, so that versions only grow; the lock falls with the process."""
    with (folder / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _last_version(folder: Path, name: str, live: Live | None) -> int:
    """Returns the highest version there is or was live, a half one left by a crash included; 0 for none."""
    places = [*(folder / MODELS / name).glob("*"), *(folder / INDEXES / name).glob("*")]
    return max([int(place.name) for place in places if place.name.isdecimal()] + [live.version if live else 0])


def _remove_leftovers(folder: Path) -> None:
    for place in folder.glob(f"{_INCOMING}*"):
        shutil.rmtree(place, ignore_errors=True)


def _publish(model: Path, index: Path, folder: Path, name: str, version: int) -> None:
    incoming = folder / f"{_INCOMING}{version}"
    targets = {INDEXES: folder / INDEXES / name / str(version), MODELS: folder / MODELS / name / str(version)}
    try:
        _copy(index, incoming / INDEXES)
        stamp_version(incoming / INDEXES, version)
        _copy(model, incoming / MODELS)
        for kind, target in targets.items():
            _sync_folder(incoming / kind)
            target.parent.mkdir(parents=True, exist_ok=True)
            _rename(incoming / kind, target)
            _sync(target.parent)
        _point(folder, name, version, incoming)
    except BaseException:
        for target in targets.values() if not _points_to(folder, version) else ():
            _take_back(target, incoming)
        raise
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)


def _rename(source: Path, target: Path) -> None:
    if target.exists():
        raise PushError(f"{target}: this version is there already. Remove it, or push again for a later one.")
    source.rename(target)


def _take_back(target: Path, incoming: Path) -> None:
    """Hides a version in one step before it is removed, so that no server sees half of it."""
    if target.exists():
        incoming.mkdir(parents=True, exist_ok=True)
        target.rename(incoming / f"{target.parent.parent.name}-failed")


def _points_to(folder: Path, version: int) -> bool:
    """Returns whether the version is live already: then the push is done, even if an error comes after."""
    try:
        return bool(json.loads((folder / LIVE).read_text(encoding="utf-8"))["version"] == version)
    except FileNotFoundError:
        return False


def _point(folder: Path, name: str, version: int, incoming: Path) -> None:
    row: dict[str, Any] = {
        "name": name,
        "version": version,
        "model": f"{MODELS}/{name}/{version}",
        "index": f"{INDEXES}/{name}/{version}",
    }
    temporary = incoming / LIVE
    temporary.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
    _sync(temporary)
    _replace(temporary, folder / LIVE)
    _sync(folder)


def _replace(source: Path, target: Path) -> None:
    source.replace(target)


def _sync_folder(folder: Path) -> None:
    """Puts a folder and everything in it on disk, so that a name never outlives a crash that its content didn't."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
