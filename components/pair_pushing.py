"""Makes a model and its index live together or not at all, in TF Serving's layout, on one file system; plain Python."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from components.durable_files import make_folder, move, sync_tree
from components.folder_digest import folder_sha256
from components.push_folder import INDEXES, LIVE, MODELS, Live, Origin, PushFolder, disk_error, index_sha256, read_live, remove, who
from components.push_history import PUSH, REMOVED, Change, append_changes, known_versions, rolled_back_versions
from schemas.errors import NeighbourIndexError, PushError
from similarity.manifest import IndexManifest, read_manifest, stamp_version, verify

__all__ = ["INDEXES", "KEEP", "LIVE", "MODELS", "Live", "Origin", "RolledBackError", "push_pair", "read_live"]

KEEP = 5
UNKNOWN = Origin()
log = logging.getLogger(__name__)


class RolledBackError(PushError):
    """A model that somebody went back from; a run must not make it live again in silence."""


def push_pair(
    model: Path, index: Path, folder: Path, name: str, now_s: int, origin: Origin = UNKNOWN, keep: int = KEEP, by: str = ""
) -> int:
    """Copies a model and its index under one version, and only then makes them live; returns the version.

    The version is the time, or one more than the last version if that is later. Both copies are complete, compared with
    the originals and on disk under hidden names before the first is renamed; whatever fails, `live.json` names what it
    named before, and nothing of the new version stays, or goes with the next push. The pair that is live already isn't
    copied again: its version is returned. Versions beyond the last `keep` are removed, but never the live one nor the
    one that `aisle rollback` would go back to.

    Args:
        model: folder of the SavedModel.
        index: folder of the similarity index, made from that model.
        folder: `push.folder`, made when missing.
        name: of the model, a folder name.
        now_s: seconds since 1970.
        origin: what the pair comes from; `live.json` and the history keep it.
        keep: versions kept, 2 or more.
        by: who pushes, as user@host; empty: whoever runs this process.

    Raises:
        RolledBackError: somebody went back from this very model.
        PushError: no SavedModel, a damaged index, an index of another model, a folder that another model uses or that
            can't be written, or another process that pushes and doesn't end.
    """
    place = PushFolder(folder, name)
    model_sha256, manifest = _checked_pair(model, index)
    digests = (model_sha256, index_sha256(manifest))
    version = 0
    try:
        with place.locked():
            live = read_live(folder, name)
            next_version = max(now_s, place.last_version() + 1)
            place.tidy()
            if live and _is_live(live, digests):
                return live.version
            _refuse_rolled_back(place, model_sha256)
            version = next_version
            _publish(place, model, index, _change(place, version, now_s, live, origin, digests, by or who()))
            _remove_old(place, max(keep, 2), now_s, by or who())
            return version
    except OSError as error:
        raise disk_error(place, error, version) from error


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


def _is_live(live: Live, digests: tuple[str, str]) -> bool:
    return (folder_sha256(live.model), index_sha256(read_manifest(live.index))) == digests


def _refuse_rolled_back(place: PushFolder, model_sha256: str) -> None:
    changes = place.changes()
    known = known_versions(changes)
    for version in sorted(rolled_back_versions(changes), reverse=True):
        if known[version].model_sha256 == model_sha256:
            raise RolledBackError(
                f"{place.folder}: this is the model of version {version}, which was rolled back, so it doesn't go live by itself. "
                f"Make it live again with aisle rollback --to {version}, or change what it is made from."
            )


def _change(place: PushFolder, version: int, now_s: int, live: Live | None, origin: Origin, digests: tuple[str, str], by: str) -> Change:
    changes = place.changes()
    return Change(
        number=changes[-1].number + 1 if changes else 1,
        at_ms=now_s * 1000,
        event=PUSH,
        version=version,
        before=live.version if live else 0,
        by=by,
        run=origin.run,
        round=origin.round,
        baseline_version=origin.baseline_version,
        model_sha256=digests[0],
        index_sha256=digests[1],
    )


def _publish(place: PushFolder, model: Path, index: Path, change: Change) -> None:
    version = change.version
    incoming = place.incoming(version)
    try:
        make_folder(incoming)
        _copy_pair(model, index, incoming, change)
        move(incoming / INDEXES, place.index(version))
        move(incoming / MODELS, place.model(version))
        place.commit(change)
        append_changes(place.folder, [change])
    except BaseException:
        if not place.is_committed(version):
            place.take_back(version)
        raise
    finally:
        remove(incoming)


def _copy_pair(model: Path, index: Path, incoming: Path, change: Change) -> None:
    shutil.copytree(index, incoming / INDEXES)
    stamp_version(incoming / INDEXES, change.version)
    shutil.copytree(model, incoming / MODELS)
    sync_tree(incoming)
    copied = index_sha256(verify(incoming / INDEXES, change.version)), folder_sha256(incoming / MODELS)
    if copied != (change.index_sha256, change.model_sha256):
        raise PushError(f"{model}: the pair changed while it was copied. Push it again when nothing writes to it.")


def _remove_old(place: PushFolder, keep: int, now_s: int, by: str) -> None:
    """Removes versions that nobody will go back to; a failure here mustn't undo the push, the next one tries again."""
    try:
        live = place.changes()[-1].version
        for version in place.whole_versions()[keep:]:
            if version not in (live, *place.earlier_versions(live)[:1]):
                place.discard(version)
                append_changes(place.folder, [Change(place.changes()[-1].number + 1, now_s * 1000, REMOVED, version, by=by)])
                log.info("pair_pushing removed=%d keep=%d", version, keep)
    except OSError as error:
        log.warning("pair_pushing not_removed=%s reason=%s", error.filename, error.strerror)
