"""Checks what earlier runs left below a root before a run starts, and clears away what a killed run left half done."""

# mypy: disable-error-code="name-defined,attr-defined"
from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from schemas.errors import StoreError

METADATA = "metadata.sqlite"
_BUSY_S = 10.0
_UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)

log = logging.getLogger(__name__)


def check_metadata(root: Path, busy_s: float = _BUSY_S) -> None:
    """Makes sure that the metadata of earlier runs can be read and written; takes back a transaction that was cut off.

    Args:
        root: `run.root`.
        busy_s: how long to wait for another program that is writing to it.

    Raises:
        StoreError: the file is damaged, is no database, can't be written, or another program holds it.
    """
    path = root / METADATA
    if not path.exists():
        return
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=busy_s)
        try:
            database.execute("BEGIN IMMEDIATE")
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            database.execute("ROLLBACK")
        finally:
            database.close()
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: the metadata of earlier runs can't be used: {error}. {metadata_way_out(str(error), root)}") from None
    if found != "ok":
        raise StoreError(f"{path}: the metadata of earlier runs is damaged: {found}. {metadata_way_out('malformed', root)}")


def take_back_cut_off_write(path: Path) -> None:
    """Lets SQLite take back what a killed process was writing, which a reader without write access can't; a write that goes on stays."""
    if path.with_name(f"{path.name}-journal").exists():
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            database.close()


def metadata_way_out(problem: str, root: Path) -> str:
    """Returns what to do about a problem that SQLite reports."""
    text = problem.lower()
    if "locked" in text or "busy" in text or "concurrent" in text:
        return "Another program is using it; try again when it is done."
    if "readonly" in text or "read-only" in text or "permission" in text or "unable to open" in text:
        return "Make the file and its folder writable, or set run.root to a folder you may write to."
    if "full" in text:
        return "Make room on the disk and give the same command again."
    return f"Move it and {root / 'pipeline'} away, or restore both from a backup: what is live and people's answers stay as they are."


def clear_unfinished(root: Path) -> int:
    """Marks the stages that a killed run left running as cancelled, removes what they had written, and returns how many.

    The caller holds the root's lock, so that nobody is writing there.
    """
    path = root / METADATA
    if not path.exists():
        return 0
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
    store = metadata_store.MetadataStore(config)
    unfinished = [execution for execution in store.get_executions() if execution.last_known_state in _UNFINISHED]
    for execution in unfinished:
        _remove_outputs(root / "pipeline", execution.id)
        execution.last_known_state = metadata_store_pb2.Execution.CANCELED
        store.put_executions([execution])
        log.info("root_state cancelled=%d", execution.id)
    for folder in (root / "pipeline").glob("*/.system/stateful_working_dir/*"):
        shutil.rmtree(folder, ignore_errors=True)
    return len(unfinished)


def _remove_outputs(pipeline: Path, execution_id: int) -> None:
    """Removes the folders TFX gave an execution; ids are never used twice, so no other execution's are touched."""
    for pattern in (f"*/*/{execution_id}", f"*/.system/executor_execution/{execution_id}"):
        for folder in pipeline.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
