"""Breaks pushes and rollbacks at every step on the disk: what is live is always a whole pair, and the next push succeeds."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest

from components import push_folder
from components.folder_digest import folder_sha256
from components.pair_pushing import push_pair, read_live
from components.pair_rollback import roll_back
from components.push_folder import PushFolder
from components.push_history import REMOVED, read_history
from schemas.errors import PushError
from tests.components.toy_pair import make_pair
from tests.support.step_faults import DISK_FULL, DONE, FAILED, INTERRUPT, KILL, Steps, broken_at

NAME = "shop"


class Scene:
    """A push folder in some state, an act upon it, and what may be live after the act broke."""

    def __init__(self, folder: Path) -> None:
        self.given, self.folder = folder / "given", folder / "serving"
        self.pairs = {version: make_pair(folder / f"pair-{version}", f"weights {version}") for version in (100, 200, 300, 400, 900)}
        self.digests = {folder_sha256(model): version for version, (model, _) in self.pairs.items()}

    def push(self, version: int, keep: int = 5) -> int:
        return push_pair(*self.pairs[version], self.folder, NAME, version, keep=keep, by="ann@shop")

    def back(self, to: int | None = None) -> object:
        return roll_back(self.folder, NAME, 1_000, "ann@shop", to)

    def keep(self) -> None:
        """Remembers the state, for `again`."""
        if self.folder.exists():
            shutil.copytree(self.folder, self.given)

    def again(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.given.exists():
            shutil.copytree(self.given, self.folder)

    def live(self) -> int:
        found = read_live(self.folder, NAME)
        return found.version if found else 0

    def check_whole(self, allowed: set[int]) -> None:
        """What is live is allowed and unchanged, and no server can see half a model."""
        assert self.live() in allowed
        if self.live():
            live = read_live(self.folder, NAME)
            assert self.digests[folder_sha256(live.model)] == live.version
            PushFolder(self.folder, NAME).checked(live.version)
        for model in (self.folder / "models" / NAME).glob("*"):
            assert self.digests[folder_sha256(model)] == int(model.name)

    def check_mended(self) -> None:
        """The next push succeeds, leaves nothing behind, and the history has every change once."""
        before = self.live()
        assert self.push(900) == self.live() == 900
        self.check_whole({900})
        left = [path.name for path in self.folder.glob(".*") if path.name != ".push.lock"]
        assert left == []
        assert max(int(place.name) for place in (self.folder / "models" / NAME).glob("*")) == 900
        changes = read_history(self.folder)
        places = [place for kind in ("models", "indexes", "withdrawn") for place in (self.folder / kind / NAME).glob("*")]
        assert {int(place.name) for place in places} <= {change.version for change in changes}
        assert [change.number for change in changes] == list(range(1, len(changes) + 1))
        steps = [change for change in changes if change.event != REMOVED]
        assert (steps[-1].version, steps[-1].before) == (900, before)
        assert [change.before for change in steps[1:]] == [change.version for change in steps[:-1]]


def first_push(scene):
    return {0, 100}, lambda: scene.push(100)


def push_that_removes_an_old_version(scene):
    for version in (100, 200, 300):
        scene.push(version)
    return {300, 400}, lambda: scene.push(400, keep=2)


def push_after_a_killed_push(scene):
    scene.push(100)
    step = 0
    while not (scene.folder / "models" / NAME / "200").exists() or scene.live() == 200:
        shutil.rmtree(scene.folder)
        scene.push(100)
        step += 1
        assert broken_at(step, KILL, scene.folder, lambda: scene.push(200)) is not None
    return {100, 300}, lambda: scene.push(300)


def going_back_two(scene):
    for version in (100, 200, 300):
        scene.push(version)
    return {100, 300}, lambda: scene.back(100)


def going_forward(scene):
    scene.push(100)
    scene.push(200)
    scene.back()
    return {100, 200}, lambda: scene.back(200)


PUSHES = (first_push, push_that_removes_an_old_version, push_after_a_killed_push)
ROLLBACKS = (going_back_two, going_forward)
CASES = [
    *((make, KILL) for make in (*PUSHES, *ROLLBACKS)),
    *((make, DISK_FULL) for make in (push_that_removes_an_old_version, *ROLLBACKS)),
    *((make, INTERRUPT) for make in ROLLBACKS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "how"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_broken_at_any_step_a_whole_pair_is_live_and_the_next_push_succeeds(make, how, tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda number: None)  # A process that dies loses nothing the system knows.
    allowed, act = make(scene)
    scene.keep()
    ends: list[int] = []
    outcomes = set()
    while True:
        scene.again()
        ended = broken_at(len(ends), how, scene.folder, act)
        if ended is None:
            break
        ends.append(ended)
        scene.check_whole(allowed)
        outcomes.add(scene.live())
        scene.check_mended()
    assert len(ends) > 10
    assert outcomes == allowed, "a break before the commit leaves the old pair, one after it the new one"
    assert set(ends) <= ({-signal.SIGKILL} if how == KILL else {DONE, FAILED})


@pytest.mark.parametrize("limit_bytes", [0, 3, 50, 100, 150, 200, 300, 400, 500, 600, 700, 1000])
def test_files_cut_off_at_any_length_never_go_live(limit_bytes, tmp_path):
    scene = Scene(tmp_path)
    scene.push(100)

    def act():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        scene.push(200)

    assert broken_at(-1, KILL, scene.folder, act) in (DONE, FAILED)
    scene.check_whole({100, 200})
    scene.check_mended()


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    scene.push(100)
    monkeypatch.setattr(shutil, "copytree", _no_space)
    with pytest.raises(
        PushError, match=r"weights: No space left on device\. What was live stays live\. Free some space, or set push.folder"
    ):
        scene.push(200)
    assert scene.live() == 100


def _no_space(source, target):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target / "weights"))


def test_an_error_after_the_commit_says_that_the_version_is_live(tmp_path, monkeypatch):
    scene = Scene(tmp_path)
    scene.push(100)
    (scene.folder / "history.jsonl").rename(tmp_path / "kept")
    (scene.folder / "history.jsonl").mkdir()
    monkeypatch.setattr(push_folder, "read_history", lambda folder: read_history(tmp_path) or [_first(scene)])
    with pytest.raises(PushError, match="history.jsonl: Is a directory. Version 200 is live all the same; the next push or rollback"):
        scene.push(200)
    assert scene.live() == 200


def _first(scene):
    return read_live(scene.folder, NAME).change


def test_everything_the_pointer_names_is_on_disk_before_it_does(tmp_path):
    """A loss of power keeps names whose content it loses, unless the content was put on disk before."""
    scene = Scene(tmp_path)
    scene.push(100)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os._exit(_watched_push(scene, writer))
    assert os.waitstatus_to_exitcode(os.wait()[1]) == DONE
    assert os.read(reader, 10_000).decode().splitlines() == ["pointed", "folder on disk"]


def _watched_push(scene: Scene, writer: int) -> int:
    synced: set[int] = set()
    pointed = False

    def seen(event, arguments):
        nonlocal pointed
        if event == "os.fsync":
            number = os.fstat(arguments[0]).st_ino
            synced.add(number)
            if pointed and number == scene.folder.stat().st_ino:
                os.write(writer, b"folder on disk\n")
                pointed = False
        if event == "os.rename" and str(arguments[1]).endswith("live.json"):
            places = [scene.folder / kind / NAME / "200" for kind in ("models", "indexes")]
            needed = [
                Path(arguments[0]),
                *places,
                *(place.parent for place in places),
                *(path for place in places for path in place.rglob("*")),
            ]
            lost = [path for path in needed if path.stat().st_ino not in synced]
            os.write(writer, f"lost {lost}\n".encode() if lost else b"pointed\n")
            pointed = True

    try:
        Steps(scene.folder, -1, KILL, seen)
        scene.push(200)
    except BaseException as error:
        os.write(writer, repr(error).encode())
        return FAILED
    return DONE
