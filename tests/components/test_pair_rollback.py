"""Goes back to earlier pairs and forward again; a rolled-back model never comes back by itself."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest

from components.folder_digest import folder_sha256
from components.pair_pushing import Origin, RolledBackError, push_pair, read_live
from components.pair_rollback import Rollback, kept_versions, roll_back
from components.push_folder import PushFolder
from components.push_history import PUSH, REMOVED, ROLLBACK, read_history
from schemas.errors import PushError
from tests.components.toy_pair import make_pair

NAME = "shop"


@pytest.fixture
def pairs(tmp_path):
    return {version: make_pair(tmp_path / f"pair-{version}", f"weights {version}") for version in (100, 200, 300, 400)}


@pytest.fixture
def folder(tmp_path, pairs):
    """Returns a push folder with three versions, each of its own round."""
    for version in (100, 200, 300):
        origin = Origin(f"round {version}", version - 100, f"run {version}")
        push_pair(*pairs[version], tmp_path / "serving", NAME, version, origin, by="ann@shop")
    return tmp_path / "serving"


def back(folder, to=None, **more):
    return roll_back(folder, NAME, 5_000, "bob@shop", to, **more)


def polled(folder):
    """Returns what a server that takes the highest number under models/NAME serves."""
    return max(int(place.name) for place in (folder / "models" / NAME).iterdir())


def test_the_previous_pair_is_live_again_whole_and_as_it_was_pushed(folder, pairs):
    assert back(folder) == Rollback(300, 200, True)
    live = read_live(folder, NAME)
    assert live.version == 200
    assert folder_sha256(live.model) == folder_sha256(pairs[200][0])
    assert live.origin == Origin("round 200", 100, "run 200")


def test_a_server_that_takes_the_highest_number_follows(folder):
    back(folder)
    assert polled(folder) == 200
    back(folder)
    assert polled(folder) == 100
    back(folder, 300)
    assert polled(folder) == 300


def test_forward_is_undone_by_naming_the_newer_version(folder, pairs):
    back(folder, 100)
    assert back(folder, 300) == Rollback(100, 300, True)
    assert folder_sha256(read_live(folder, NAME).model) == folder_sha256(pairs[300][0])
    assert back(folder) == Rollback(300, 100, True), "200 was rolled back from and nobody put it back"


def test_what_is_live_already_stays_and_nothing_is_written(folder):
    before = (folder / "history.jsonl").read_bytes()
    assert back(folder, 300) == Rollback(300, 300, False)
    assert (folder / "history.jsonl").read_bytes() == before


def test_a_dry_run_changes_nothing(folder):
    before = {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert back(folder, dry_run=True) == Rollback(300, 200, True)
    assert {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_below_the_first_version_there_is_nothing_to_go_back_to(folder):
    back(folder, 100)
    with pytest.raises(PushError, match=r"nothing to go back to below version 100\. Name one that is there, 300, 200, with --to\."):
        back(folder)
    assert read_live(folder, NAME).version == 100


def test_a_single_version_has_nothing_before_it(tmp_path, pairs):
    push_pair(*pairs[100], tmp_path / "serving", NAME, 100)
    with pytest.raises(PushError, match=r"nothing to go back to below version 100\. Run again for another one: aisle run\.$"):
        back(tmp_path / "serving")


def test_where_nothing_is_live_the_way_out_is_named(tmp_path):
    with pytest.raises(PushError, match="nothing is live here. Run until a model is blessed: aisle run."):
        back(tmp_path / "serving")
    assert not (tmp_path / "serving").exists()


def test_a_version_that_was_never_live_is_refused(folder, pairs):
    shutil.copytree(pairs[400][0], folder / "models" / NAME / "250")
    shutil.copytree(folder / "indexes" / NAME / "200", folder / "indexes" / NAME / "250")
    with pytest.raises(PushError, match="version 250 was never live here. Versions that are there: 300, 200, 100"):
        back(folder, 250)


def spoil_model(folder):
    (folder / "models" / NAME / "200" / "variables" / "variables.index").write_text("other")


def spoil_index(folder):
    (folder / "indexes" / NAME / "200" / "id_text.npy").write_text("[]")


def swap_index(folder):
    shutil.rmtree(folder / "indexes" / NAME / "200")
    shutil.copytree(folder / "indexes" / NAME / "100", folder / "indexes" / NAME / "200")


def remove_model(folder):
    shutil.rmtree(folder / "models" / NAME / "200")


def remove_index(folder):
    shutil.rmtree(folder / "indexes" / NAME / "200")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_model, "models/shop/200: this isn't the model that was pushed as version 200"),
        (spoil_index, "id_text.npy: the content isn't what the manifest says"),
        (swap_index, "index was built for model 100"),
        (remove_model, "models/shop/200: the model of version 200 is gone"),
        (remove_index, "indexes/shop/200/manifest.json: there is no such file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_damaged_pair_is_refused_and_the_live_one_stays(folder, spoil, told):
    spoil(folder)
    with pytest.raises(PushError, match=told) as refused:
        back(folder, 200)
    assert "--to: 300, 100" in str(refused.value) and "\n" not in str(refused.value)
    assert read_live(folder, NAME).version == 300


def test_a_lost_or_damaged_live_pair_does_not_keep_one_from_going_back(folder):
    shutil.rmtree(folder / "models" / NAME / "300")
    assert back(folder) == Rollback(300, 200, True)
    (folder / "live.json").write_text("{")
    assert back(folder).version == 100
    assert read_live(folder, NAME).version == 100


def test_a_rolled_back_model_is_not_pushed_again_until_somebody_says_so(folder, pairs):
    back(folder)
    with pytest.raises(RolledBackError, match="the model of version 300, which was rolled back.* aisle rollback --to 300"):
        push_pair(*pairs[300], folder, NAME, 500)
    assert read_live(folder, NAME).version == 200
    back(folder, 300)
    assert push_pair(*pairs[300], folder, NAME, 500) == 300


def test_after_a_rollback_another_model_goes_live_as_ever(folder, pairs):
    back(folder)
    assert push_pair(*pairs[400], folder, NAME, 400) == 400 == polled(folder)
    assert back(folder) == Rollback(400, 200, True)


def test_the_history_tells_what_was_live_when_and_who_changed_it(folder):
    back(folder, reason="shoes went to bags")
    rows = [(change.number, change.event, change.version, change.before, change.by, change.reason) for change in read_history(folder)]
    assert rows == [
        (1, PUSH, 100, 0, "ann@shop", ""),
        (2, PUSH, 200, 100, "ann@shop", ""),
        (3, PUSH, 300, 200, "ann@shop", ""),
        (4, ROLLBACK, 200, 300, "bob@shop", "shoes went to bags"),
    ]
    kept = [(version.version, version.is_live, version.is_rolled_back, version.is_whole) for version in kept_versions(folder, NAME)]
    assert kept == [(300, False, True, True), (200, True, False, True), (100, False, False, True)]


@pytest.mark.parametrize("torn", [b'{"number": 4, "at', b"\xff\xfe", b"{"])
def test_a_line_torn_by_a_crash_is_cut_away(folder, torn):
    with (folder / "history.jsonl").open("ab") as file:
        file.write(torn)
    assert len(read_history(folder)) == 3
    back(folder)
    assert [change.number for change in read_history(folder)] == [1, 2, 3, 4]


@pytest.mark.parametrize("line", ["[]", "{}", '{"number": "1", "at_ms": 1, "event": "push", "version": 1}', "[" * 5_000, "x"])
def test_a_damaged_line_of_history_is_named(folder, line):
    lines = (folder / "history.jsonl").read_text().splitlines()
    (folder / "history.jsonl").write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(PushError, match=r"history.jsonl:2: this isn't a .*Restore the file from a copy, or remove this line\.$"):
        back(folder)
    assert read_live(folder, NAME).version == 300


@pytest.mark.parametrize("place", ["/etc", "../../etc", "models/../../x"])
def test_a_pointer_that_leads_out_of_the_folder_is_refused(folder, place):
    row = json.loads((folder / "live.json").read_text()) | {"model": place}
    (folder / "live.json").write_text(json.dumps(row))
    with pytest.raises(PushError, match="leads out of the folder"):
        read_live(folder, NAME)


def test_pairs_that_an_earlier_release_pushed_are_known(folder):
    (folder / "history.jsonl").unlink()
    row = json.loads((folder / "live.json").read_text())
    (folder / "live.json").write_text(json.dumps({name: row[name] for name in ("name", "version", "model", "index")}))
    assert [version.version for version in kept_versions(folder, NAME)] == [300, 200, 100]
    assert back(folder) == Rollback(300, 200, True)
    assert [change.event for change in read_history(folder)] == ["found", "found", "found", ROLLBACK]


def test_old_versions_are_removed_but_never_the_live_one_nor_the_one_before(folder, pairs):
    push_pair(*pairs[400], folder, NAME, 400, keep=2)
    assert [version.version for version in kept_versions(folder, NAME) if version.is_whole] == [400, 300]
    assert not (folder / "indexes" / NAME / "100").exists()
    assert [change.version for change in read_history(folder) if change.event == REMOVED] == [200, 100]
    with pytest.raises(PushError, match="version 200 is gone"):
        back(folder, 200)
    assert back(folder) == Rollback(400, 300, True)


def test_the_version_one_would_go_back_to_outlives_younger_ones_that_were_rolled_back(folder, pairs):
    back(folder, 100)
    push_pair(*pairs[400], folder, NAME, 400, keep=2)
    assert [version.version for version in kept_versions(folder, NAME) if version.is_whole] == [400, 300, 100]
    assert back(folder) == Rollback(400, 100, True)


def test_pushes_and_rollbacks_at_once_take_turns(folder, pairs):
    """Each child does one; whatever their order, every change is in the history once and what is live is whole."""

    def act(number):
        if number % 2:
            push_pair(*pairs[400], folder, NAME, 400 + number)
        else:
            back(folder, (100, 200, 300)[number % 3])

    children = []
    for number in range(12):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                act(number)
                code = 0
            except RolledBackError:
                code = 2
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(codes) <= {0, 2}
    changes = read_history(folder)
    assert [change.number for change in changes] == list(range(1, len(changes) + 1))
    assert [change.before for change in changes[1:]] == [change.version for change in changes[:-1]]
    live = read_live(folder, NAME)
    assert live.version == changes[-1].version == polled(folder)
    assert PushFolder(folder, NAME).checked(live.version)


def test_who_holds_the_lock_is_told_when_it_is_held_for_too_long(folder):
    held, done = threading.Event(), threading.Event()

    def hold():
        with PushFolder(folder, NAME).locked():
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        told = rf"process {os.getpid()} of .* is changing what is live. Try again when it is done."
        with pytest.raises(PushError, match=told), PushFolder(folder, NAME).locked(timeout_s=0.1):
            raise AssertionError("the lock was taken twice")
    finally:
        done.set()
        thread.join()
