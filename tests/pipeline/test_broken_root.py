"""Proves that a full or read-only disk and a damaged or locked database are one clear line, and cost nothing that was there."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.cli import main
from pipeline.inputs import live_pair
from pipeline.results import open_metadata
from pipeline.root_state import check_metadata
from schemas.errors import StoreError
from schemas.settings_loader import load_settings
from tests.pipeline.shop import tree, write_shop
from tests.support.disks import fill, small_disk, write_protect
from tests.support.killable_run import REPOSITORY

DONE = '{"event": "result", "results": {"paths": {}}}'


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop whose first run is done: there are metadata and a live pair."""
    monkeypatch.setenv("AISLE_PREFIX", str(tmp_path / "var"))
    config = write_shop(tmp_path / "shop")
    make_root(tmp_path / "var" / "tiny")
    return config


def make_root(root):
    for place in ("serving/models/tiny/7", "serving/indexes/tiny/7", "pipeline/Trainer"):
        (root / place).mkdir(parents=True)
    row = {"name": "tiny", "version": 7, "model": "models/tiny/7", "index": "indexes/tiny/7"}
    (root / "serving" / "live.json").write_text(json.dumps(row))
    with sqlite3.connect(root / "metadata.sqlite") as database:
        database.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(100000));")
    database.close()


def live_version(config, prefix):
    live = live_pair(load_settings(config, [], prefix=str(prefix)))
    return live and live.version


def run(config, capsys):
    """Returns the exit code and the last line that was said; a script stands for the run's own process."""
    code = main(["run", "--config", str(config), "--json"])
    return code, capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(b"this is no database" * 99), "file is not a database"),
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "database disk image is malformed"),
        (lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192 + path.read_bytes()[12288:]), "malformed|damaged"),
    ],
    ids=["other content", "cut off", "overwritten inside"],
)
def test_damaged_metadata_is_named_with_the_way_out_and_touches_nothing(shop, tmp_path, capsys, damage, says):
    root = tmp_path / "var" / "tiny"
    damage(root / "metadata.sqlite")
    before = tree(root)
    code, said = run(shop, capsys)
    assert code == 1
    assert said.startswith(f"error: {root / 'metadata.sqlite'}: the metadata of earlier runs ")
    assert any(word in said for word in says.split("|"))
    assert said.endswith(
        f"Move it and {root / 'pipeline'} away, or restore both from a backup: what is live and people's answers stay as they are."
    )
    assert {name: content for name, content in tree(root).items() if name != ".run.lock"} == before
    assert live_version(shop, tmp_path / "var") == 7


def test_metadata_another_program_holds_is_waited_for_and_then_named(shop, tmp_path):
    root = tmp_path / "var" / "tiny"
    other = sqlite3.connect(root / "metadata.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="database is locked. Another program is using it; try again when it is done.$"):
        check_metadata(root, busy_s=0.2)
    other.execute("ROLLBACK")
    other.close()
    check_metadata(root)


def die_while_writing(database: Path, statements: str) -> None:
    """Leaves a database as a program does that is killed in the middle of a transaction."""
    script = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.executescript('PRAGMA cache_size = 1; BEGIN;' + sys.argv[2])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(database), statements], check=False)
    assert died.returncode == -signal.SIGKILL


def test_a_transaction_a_killed_run_left_open_is_taken_back(shop, tmp_path):
    root = tmp_path / "var" / "tiny"
    die_while_writing(root / "metadata.sqlite", "UPDATE t SET a = zeroblob(200000); INSERT INTO t VALUES (zeroblob(300000));")
    assert (root / "metadata.sqlite-journal").stat().st_size > 512
    check_metadata(root)
    assert not (root / "metadata.sqlite-journal").exists()
    database = sqlite3.connect(root / "metadata.sqlite")
    assert database.execute("SELECT length(a) FROM t").fetchall() == [(100000,)]
    database.close()


def test_metadata_is_read_after_a_run_was_killed_while_it_wrote(tmp_path):
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(config)
    type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Thing"))
    store.put_artifacts([metadata_store_pb2.Artifact(type_id=type_id, uri=f"/things/{number}") for number in range(500)])
    del store
    die_while_writing(tmp_path / "metadata.sqlite", "UPDATE Artifact SET uri = uri || 'x';")
    assert (tmp_path / "metadata.sqlite-journal").stat().st_size > 512
    assert {artifact.uri for artifact in open_metadata(tmp_path).get_artifacts()} == {f"/things/{number}" for number in range(500)}


def test_damaged_metadata_is_one_line_for_who_only_reads(tmp_path):
    (tmp_path / "metadata.sqlite").write_bytes(b"this is no database" * 99)
    with pytest.raises(StoreError) as error:
        open_metadata(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'metadata.sqlite'}: the metadata of the runs can't be read: ")
    assert "Move it and " in str(error.value) and "\n" not in str(error.value)


def test_a_read_only_disk_is_named_and_what_is_live_can_be_read(tmp_path, capsys, monkeypatch):
    with small_disk(tmp_path / "disk", 1000) as disk:
        monkeypatch.setenv("AISLE_PREFIX", str(disk))
        config = write_shop(tmp_path / "shop")
        make_root(disk / "tiny")
        write_protect(disk)
        code, said = run(config, capsys)
        assert (code, said) == (
            1,
            f"error: {disk / 'tiny'}: can't be written: Read-only file system. Set run.root to a folder you may write to.",
        )
        assert live_version(config, disk) == 7


def test_a_disk_without_room_for_the_log_is_named_and_what_is_live_can_be_read(tmp_path, capsys, monkeypatch):
    with small_disk(tmp_path / "disk", 1000) as disk:
        monkeypatch.setenv("AISLE_PREFIX", str(disk))
        config = write_shop(tmp_path / "shop")
        make_root(disk / "tiny")
        filler = fill(disk)
        code, said = run(config, capsys)
        assert code == 1 and "error: " in said and str(disk / "tiny") in said
        assert "the disk is full. Make room, then give the same command again" in said or "No space left on device. Make room" in said
        assert live_version(config, disk) == 7
        filler.unlink()
        check_metadata(disk / "tiny")


ANSWER = '{{"event_id": "{}", "answered_at_ms": 1, "labeller": "ann", "product_id": "a1", "kind": "is", "node_id": "k"}}\n'


def import_answers(config, folder, capsys, ids):
    answers = folder / "more.jsonl"
    answers.write_text("".join(map(ANSWER.format, ids)))
    code = main(["labels", "import", str(answers), "--config", str(config)])
    said = capsys.readouterr()
    return code, (said.err or said.out).splitlines()[-1]


def test_an_import_on_a_full_disk_is_refused_whole_and_can_be_repeated(tmp_path, capsys, monkeypatch):
    with small_disk(tmp_path / "disk", 1000) as disk:
        monkeypatch.setenv("AISLE_PREFIX", str(disk))
        config = write_shop(tmp_path / "shop")
        assert import_answers(config, tmp_path, capsys, ["first"])[0] == 0
        filler = fill(disk, leave_bytes=100_000)
        many = [f"answer-{number}" for number in range(3000)]
        code, said = import_answers(config, tmp_path, capsys, many)
        assert code == 1
        assert said == (
            f"error: {disk}/tiny/label_events.sqlite: the store of label events can't be written: database or disk is full. "
            "Make room on the disk."
        )
        filler.unlink()
        assert import_answers(config, tmp_path, capsys, ["first", *many]) == (
            0,
            f"added 3000, already there 1; {disk}/tiny/label_events.sqlite holds 3001 events",
        )


def test_a_store_of_answers_on_a_read_only_disk_is_named(tmp_path, capsys, monkeypatch):
    with small_disk(tmp_path / "disk", 1000) as disk:
        monkeypatch.setenv("AISLE_PREFIX", str(disk))
        config = write_shop(tmp_path / "shop")
        assert import_answers(config, tmp_path, capsys, ["first"])[0] == 0
        write_protect(disk)
        code, said = import_answers(config, tmp_path, capsys, ["second"])
        assert code == 1 and said.startswith(f"error: {disk}/tiny/label_events.sqlite: the store of label events can't be ")
        assert said.endswith("Make the file and its folder writable.")
        assert main(["labels", "list", "--config", str(config), "--json"]) == 0


@pytest.mark.slow
def test_a_disk_that_fills_up_during_a_run_is_one_line_and_the_next_run_goes_on(tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", 3000) as disk:
        monkeypatch.setenv("AISLE_PREFIX", str(disk))
        config = write_shop(tmp_path / "shop")
        filler = fill(disk, leave_bytes=420_000)
        command = [sys.executable, "-m", "pipeline.cli", "run", "--config", str(config), "--set", "ingest.max_refused_share=0.9"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: ") and "full. Make room" in last and "give the same command again" in last, done.stderr
        filler.unlink()
        check_metadata(disk / "tiny")
