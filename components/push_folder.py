"""Knows the folder a shop serves from: which pair is live, where its versions are, and how a change is committed; plain Python.

`live.json` alone says what is live. It is replaced in one rename, and holds the change that it is part of, so that pointer and
history can't contradict each other: a history that a crash left one line short is completed from the pointer. All else follows
from the two, and `PushFolder.tidy` makes it so: leftovers of a crash are removed, and a model above the live version is moved out
of the folder that TensorFlow Serving polls, because a server that takes the highest number would go on serving it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.durable_files import make_folder, move, replace_text
from components.folder_digest import folder_sha256, names_sha256
from components.push_history import FOUND, Change, append_changes, known_versions, parse_change, read_history, rolled_back_versions
from schemas.errors import NeighbourIndexError, PushError
from similarity.manifest import IndexManifest, read_manifest, verify

LIVE, MODELS, INDEXES, WITHDRAWN = "live.json", "models", "indexes", "withdrawn"
LOCK_TIMEOUT_S = 60.0
_LOCK, _PART, _INCOMING, _TRASH = ".push.lock", ".live.json.part", ".incoming-", ".trash-"
_LOCK_WAIT_S = 0.05


@dataclass(frozen=True)
class Origin:
    """What a pair comes from, so that the round that made it knows it again.

    Attributes:
        round: digest of everything the pair was made from but the baseline; empty where nobody said.
        baseline_version: the version it was judged against, 0 for none.
        run: id of the run that pushed it; empty where nobody said.
    """

    round: str = ""
    baseline_version: int = 0
    run: str = ""


@dataclass(frozen=True)
class Live:
    """The pair that `live.json` names.

    Attributes:
        name: of the model.
        version: of model and index alike.
        model: folder of the SavedModel.
        index: folder of the similarity index.
        origin: what the pair comes from.
        change: what made it live; None where an earlier release did.
    """

    name: str
    version: int
    model: Path
    index: Path
    origin: Origin = Origin()
    change: Change | None = field(default=None, compare=False)


def read_pointer(folder: Path, name: str) -> Live | None:
    """Returns what `live.json` says, whether or not its folders are there; None where nothing has gone live yet.

    Raises:
        PushError: `live.json` is damaged, leads out of the folder, or names another model.
    """
    path = folder / LIVE
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        change = parse_change(row["change"], str(path)) if "change" in row else None
        origin = Origin(str(row.get("round", "")), int(row.get("baseline_version", 0)), str(row.get("run", "")))
        model, index = (folder / _inside(row[key], path) for key in ("model", "index"))
        live = Live(row["name"], int(row["version"]), model, index, origin, change)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PushError(f"{path}: this can't be read: {error!r}. Make a version live again: aisle rollback --to VERSION.") from None
    if live.name != name:
        raise PushError(f"{path}: model {live.name!r} is live here, this run makes {name!r}. Set push.folder to another folder.")
    return live


def read_live(folder: Path, name: str) -> Live | None:
    """Returns what is live in a push folder; None where nothing has gone live yet.

    Raises:
        PushError: `live.json` is damaged, names another model, or a folder it names is gone.
    """
    live = read_pointer(folder, name)
    for place in (live.model, live.index) if live else ():
        if not place.is_dir():
            raise PushError(f"{folder / LIVE}: {place} is gone. Put it back, or make another version live: aisle rollback.")
    return live


def _inside(text: str, path: Path) -> str:
    """Returns a relative path that stays in the folder of `live.json`."""
    if Path(text).is_absolute() or ".." in Path(text).parts:
        raise PushError(f"{path}: {text!r} leads out of the folder. Make a version live again: aisle rollback --to VERSION.")
    return text


def index_sha256(manifest: IndexManifest) -> str:
    """Returns one digest of an index: of its files' names and digests, whatever version it is stamped with."""
    return names_sha256(manifest.sha256)


class PushFolder:
    """The versions of one model and its index, and what may be done to them.

    Args:
        folder: `push.folder`.
        name: of the model, a folder name.

    Raises:
        PushError: the name isn't a folder name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        if not name or name.startswith(".") or "/" in name:
            raise PushError(f"name {name!r} isn't a folder name. Set run.name to letters, digits and dashes.")
        self.folder, self.name = folder, name

    def model(self, version: int) -> Path:
        """Returns where a server looks for a version's model."""
        return self.folder / MODELS / self.name / str(version)

    def index(self, version: int) -> Path:
        """Returns where a version's index is."""
        return self.folder / INDEXES / self.name / str(version)

    def withdrawn(self, version: int) -> Path:
        """Returns where the model of a version above the live one is kept, out of servers' sight."""
        return self.folder / WITHDRAWN / self.name / str(version)

    def incoming(self, version: int) -> Path:
        """Returns where a version is put together; as long as it is there, a version that isn't live is half a one."""
        return self.folder / f"{_INCOMING}{version}"

    def found_model(self, version: int) -> Path | None:
        """Returns where a version's model is now; None where it is gone."""
        return next((place for place in (self.model(version), self.withdrawn(version)) if place.is_dir()), None)

    def is_whole(self, version: int) -> bool:
        """Returns whether both folders of a version are there; `checked` looks inside."""
        return self.found_model(version) is not None and self.index(version).is_dir()

    def last_version(self) -> int:
        """Returns the highest version that was ever used here, a half one left by a crash included; 0 for none."""
        folders = [self.folder / kind / self.name for kind in (MODELS, INDEXES, WITHDRAWN)]
        names = [place.name for folder in folders for place in folder.glob("*")]
        names += [place.name.removeprefix(_INCOMING) for place in self.folder.glob(f"{_INCOMING}*")]
        live = self.pointed()
        return max([*(int(name) for name in names if name.isdecimal()), *known_versions(self.changes()), live.version if live else 0])

    def changes(self) -> list[Change]:
        """Returns the history as it must be: with the last change where a crash came before it was appended.

        Pairs that an earlier release pushed, before there was a history, are its beginning.
        """
        changes, live = read_history(self.folder), self.pointed()
        if live and live.change and live.change.number > (changes[-1].number if changes else 0):
            changes.append(live.change)
        return changes or (self._found(live) if live else [])

    def pointed(self) -> Live | None:
        """Returns the pointer, None for a damaged one, too: a rollback must be able to mend it."""
        with contextlib.suppress(PushError):
            return read_pointer(self.folder, self.name)
        return None

    def _found(self, live: Live) -> list[Change]:
        """Returns a change for every pair that an earlier release pushed; the live one comes last. Versions are times."""
        names = [place.name for place in (self.folder / MODELS / self.name).glob("*") if place.name.isdecimal()]
        others = (int(name) for name in names if self.is_whole(int(name)) and not self.incoming(int(name)).exists())
        versions = [*sorted(version for version in others if version != live.version), live.version]
        changes = [self._with_digests(Change(number, version * 1000, FOUND, version)) for number, version in enumerate(versions, 1)]
        origin = live.origin
        changes[-1] = replace(changes[-1], round=origin.round, baseline_version=origin.baseline_version, run=origin.run)
        return changes

    def _with_digests(self, change: Change) -> Change:
        with contextlib.suppress(NeighbourIndexError):
            manifest = read_manifest(self.index(change.version))
            return replace(change, model_sha256=manifest.model_sha256, index_sha256=index_sha256(manifest))
        return change

    @contextlib.contextmanager
    def locked(self, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Lets one process change the folder at a time; the lock falls with the process.

        Raises:
            PushError: another process holds it for longer than `timeout_s`.
        """
        make_folder(self.folder)
        with (self.folder / _LOCK).open("a+", encoding="utf-8") as file:
            _acquire(file.fileno(), self.folder / _LOCK, timeout_s)
            file.truncate(0)
            file.write(f"process {os.getpid()} of {who()}\n")
            file.flush()
            yield

    def tidy(self) -> None:
        """Makes the folder what pointer and history say; only while `locked`. Safe to repeat after a crash at any point."""
        missing = self.changes()[len(read_history(self.folder)) :]
        if missing:
            append_changes(self.folder, missing)
        live = self.pointed()
        self._remove_leftovers(live)
        self.withdraw_above(live)

    def _remove_leftovers(self, live: Live | None) -> None:
        (self.folder / _PART).unlink(missing_ok=True)
        for incoming in self.folder.glob(f"{_INCOMING}*"):
            name = incoming.name.removeprefix(_INCOMING)
            if name.isdecimal() and int(name) not in known_versions(self.changes()) and not (live and live.version == int(name)):
                self.take_back(int(name))
            remove(incoming)
        for trash in self.folder.glob(f"{_TRASH}*"):
            remove(trash)

    def take_back(self, version: int) -> None:
        """Hides both folders of a version that never went live, each in one step, so that no server sees half of one."""
        for kind, place in ((MODELS, self.model(version)), (INDEXES, self.index(version))):
            hidden = self.incoming(version) / f"{kind}-failed"
            if place.exists():
                remove(hidden)
                move(place, hidden)

    def withdraw_above(self, live: Live | None) -> None:
        """Moves models above the live version out of the folder that servers poll."""
        for place in (self.folder / MODELS / self.name).glob("*") if live else ():
            if live and place.name.isdecimal() and int(place.name) > live.version:
                remove(self.withdrawn(int(place.name)))
                move(place, self.withdrawn(int(place.name)))

    def checked(self, version: int) -> Change:
        """Returns what is known of a version after comparing every file of its pair with the digests of its push.

        Raises:
            PushError: it was never pushed here, isn't whole, or isn't what was pushed.
        """
        known = known_versions(self.changes())
        if version not in known:
            told = ", ".join(map(str, self.whole_versions())) or "none"
            raise PushError(f"{self.folder}: version {version} was never live here. Versions that are there: {told}.")
        model = self.found_model(version)
        if model is None or not (model / "saved_model.pb").is_file():
            raise PushError(f"{model or self.model(version)}: the model of version {version} is gone. {self._way_out(version)}")
        try:
            manifest = verify(self.index(version), version)
        except NeighbourIndexError as error:
            raise PushError(f"version {version} can't go live: {error} {self._way_out(version)}") from None
        digest = folder_sha256(model)
        if any(told and told != digest for told in (manifest.model_sha256, known[version].model_sha256)):
            raise PushError(f"{model}: this isn't the model that was pushed as version {version}. {self._way_out(version)}")
        if known[version].index_sha256 not in ("", index_sha256(manifest)):
            raise PushError(f"{self.index(version)}: this isn't the index that was pushed as version {version}. {self._way_out(version)}")
        return known[version]

    def whole_versions(self) -> list[int]:
        """Returns the versions that could be live: known, and with both folders; highest first."""
        return sorted((version for version in known_versions(self.changes()) if self.is_whole(version)), reverse=True)

    def earlier_versions(self, live: int) -> list[int]:
        """Returns the whole versions below the live one that nobody went back from, highest first."""
        out = rolled_back_versions(self.changes())
        return [version for version in self.whole_versions() if version < live and version not in out]

    def _way_out(self, version: int) -> str:
        others = ", ".join(str(other) for other in self.whole_versions() if other != version)
        return f"Name another one with --to: {others}." if others else "There is no other; run again: aisle run."

    def commit(self, change: Change) -> None:
        """Makes a version live: until the rename in here the old one is, and from then on the new one."""
        row = {
            "name": self.name,
            "version": change.version,
            "model": self.model(change.version).relative_to(self.folder).as_posix(),
            "index": self.index(change.version).relative_to(self.folder).as_posix(),
            "round": change.round,
            "baseline_version": change.baseline_version,
            "run": change.run,
            "change": change.to_row(),
        }
        replace_text(self.folder / LIVE, json.dumps(row, indent=2) + "\n", self.folder / _PART)

    def is_committed(self, version: int) -> bool:
        """Returns whether a version is live by now, even if an error came after."""
        live = self.pointed()
        return live is not None and live.version == version

    def discard(self, version: int) -> None:
        """Removes a pair; each of its folders vanishes in one step."""
        trash = self.folder / f"{_TRASH}{version}"
        for kind, place in ((MODELS, self.model(version)), (WITHDRAWN, self.withdrawn(version)), (INDEXES, self.index(version))):
            if place.is_dir():
                move(place, trash / kind)
        remove(trash)


def remove(folder: Path) -> None:
    """Removes a folder that nobody reads; it being gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def who() -> str:
    """Returns user@host of this process, as far as the machine tells."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _acquire(number: int, path: Path, timeout_s: float) -> None:
    given_up_s = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > given_up_s:
                holder = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
                raise PushError(f"{path}: {holder} is changing what is live. Try again when it is done.") from None
            time.sleep(_LOCK_WAIT_S)
        else:
            return


def disk_error(folder: PushFolder, error: OSError, version: int) -> PushError:
    """Returns the error a person reads when the disk failed: whether `version` is live all the same, and the way out."""
    if version and folder.is_committed(version):
        end = f"Version {version} is live all the same; the next push or rollback completes the record"
    else:
        end = "What was live stays live. Free some space, or set push.folder to a folder you may write to, then try again"
    return PushError(f"{error.filename or folder.folder}: {error.strerror or error}. {end}.")
