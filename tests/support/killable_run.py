"""Runs the program on a small catalogue, kills it -9 at a chosen moment, and says what is left afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from components.folder_digest import folder_sha256
from pipeline.results import latest_artifacts
from tests.support.quick_round import quick_settings

REPOSITORY = Path(__file__).parents[2]
# Who is killed: the program alone, its child that does the work alone, or everything at once.
PROGRAM, WORKER, ALL = "program", "worker", "all"
_DONE = re.compile(r"^\[ *\d+/ *\d+\] (\w+) +([\d.]+) s *(.*)$")
_Execution = metadata_store_pb2.Execution


@dataclass(frozen=True)
class Stage:
    """A stage of a run as the terminal showed it: its name, when it began and ended after the start, and what was said."""

    name: str
    started_s: float
    ended_s: float
    note: str

    @property
    def cached(self) -> bool:
        """Whether it came from the cache."""
        return self.note == "cached"


@dataclass
class Ended:
    """A run that ended or was killed."""

    code: int
    stages: list[Stage]
    said: list[str]
    results: dict[str, Any] | None = None


@dataclass
class Shop:
    """A small catalogue and a root for its runs; every run is the program in a process of its own."""

    folder: Path
    more: tuple[str, ...] = ()
    products: int = 300
    settings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.folder / "var" / "demo"
        self.settings = ["--config", str(self.folder / "demo" / "aisle.yaml")]
        for text in ("run.name=demo", *quick_settings(self.folder), *self.more):
            self.settings += ["--set", text]
        if not (self.folder / "demo").exists():
            command = [sys.executable, "-m", "pipeline.cli", "demo-catalogue", str(self.folder / "demo"), "--products", str(self.products)]
            subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, env=self._environment())

    def run(self, kill: Callable[[subprocess.Popen[str], list[Stage]], str] | None = None, verb: str = "run", *words: str) -> Ended:
        """Runs the program to its end, or until `kill` returns.

        Args:
            kill: called once a stage begins with the process and the stages done so far; returns who is to be killed now,
                or nothing to be called again when the next stage begins.
            verb: of the program.
            words: more of its words.
        """
        command = [sys.executable, "-m", "pipeline.cli", verb, *self.settings, "--json", *words]
        started_s = time.monotonic()
        stages: list[Stage] = []
        said: list[str] = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env=self._environment()
        ) as program:
            assert program.stderr is not None and program.stdout is not None
            pending = kill
            if pending and _strike(program, pending(program, stages)):
                pending = None
            for line in program.stderr:
                said.append(line.rstrip())
                match = _DONE.match(line)
                if match and match[3] != "failed":
                    before = stages[-1].ended_s if stages else time.monotonic() - started_s - float(match[2])
                    stages.append(Stage(match[1], before, time.monotonic() - started_s, match[3]))
                    if pending and _strike(program, pending(program, stages)):
                        pending = None
            text = program.stdout.read()
        return Ended(program.returncode, stages, said, json.loads(text) if program.returncode == 0 and verb == "run" else None)

    def digests(self) -> dict[str, str]:
        """Returns a digest of each thing a round is for, version numbers and folders' names left out."""
        artifacts = latest_artifacts(self.root, "Sampler.batch")
        uri = {name: Path(artifact.uri) for name, artifact in artifacts.items()}
        live = json.loads((self.root / "serving" / "live.json").read_text())
        pushed = {name: self.root / "serving" / live[name] for name in ("model", "index")}
        return {
            "examples": folder_sha256(uri["LabelJoin.labelled_examples"]),
            **_model_digests("model", uri["Trainer.model"] / "Format-Serving"),
            "evaluation": _sha256(uri["CategoryEvaluator.evaluation"] / "metrics.json"),
            "index": _index_sha256(uri["IndexBuilder.index"]),
            "batch": _batch_sha256(uri["Sampler.batch"] / "batch.jsonl"),
            **_model_digests("pushed model", pushed["model"]),
            "pushed index": _index_sha256(pushed["index"]),
        }

    def problems(self) -> list[str]:
        """Returns what must not be left below the root after a run that ended well, in words."""
        live = json.loads((self.root / "serving" / "live.json").read_text())
        history = (self.root / "serving" / "history.jsonl").read_text().splitlines()
        executions = self.executions()
        known = {Path(artifact.uri) for artifact in self._store().get_artifacts()}
        folders = [path for path in (self.root / "pipeline").glob("[A-Z]*/[a-z]*/*") if path.is_dir()]
        found = [
            f"execution {e.id} is still {e.last_known_state}"
            for e in executions
            if e.last_known_state in (_Execution.NEW, _Execution.RUNNING)
        ]
        found += [f"{path} belongs to no artifact" for path in folders if path not in known]
        found += [f"{path} was left" for path in (self.root / "serving").glob(".incoming-*")]
        found += [f"{len(history)} pushes instead of one"] if len(history) != 1 else []
        found += [
            f"version {path.name} isn't live"
            for path in (self.root / "serving" / "models" / "demo").iterdir()
            if path.name != str(live["version"])
        ]
        return found + [f"process {pid} still runs: {line}" for pid, line in self.processes().items()]

    def processes(self) -> Mapping[int, str]:
        """Returns the processes that name this folder on their command line, but for this one."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.folder) in line and int(path.parent.name) != os.getpid() and "pipeline." in line or f"{self.root}/pipeline" in line:
                found[int(path.parent.name)] = line
        return found

    def executions(self, after: int = 0) -> list[metadata_store_pb2.Execution]:
        """Returns the executions in the metadata with ids above `after`; none where nothing ran yet."""
        if not (self.root / "metadata.sqlite").exists():
            return []
        return [execution for execution in self._store().get_executions() if execution.id > after]

    def repeated(self, after: int = 0) -> list[str]:
        """Returns the stages that were started more than once, cached ones not counted."""
        names = [
            e.type.rpartition(".")[2] for e in self.executions(after) if e.last_known_state not in (_Execution.CACHED, _Execution.UNKNOWN)
        ]
        return sorted({name for name in names if names.count(name) > 1})

    def forget(self, stages: list[str]) -> None:
        """Removes what stages made, as if a run had never come so far; they aren't in the cache any more."""
        for name in stages:
            shutil.rmtree(self.root / "pipeline" / name)
        if "PairPusher" in stages:
            shutil.rmtree(self.root / "serving")

    def _store(self) -> metadata_store.MetadataStore:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.root / "metadata.sqlite")
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
        return metadata_store.MetadataStore(config)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"AISLE_PREFIX": str(self.folder / "var"), "PYTHONPATH": str(REPOSITORY)}


def _strike(program: subprocess.Popen[str], whom: str) -> bool:
    """Kills, and returns whether anybody was to be killed."""
    while whom == WORKER and not children(program.pid) and program.poll() is None:
        time.sleep(0.02)  # A moment before the worker was started means its first moment.
    if whom in (WORKER, ALL):
        for child in children(program.pid):
            os.killpg(child, signal.SIGKILL) if whom == ALL else os.kill(child, signal.SIGKILL)
    if whom in (PROGRAM, ALL):
        program.kill()
    return bool(whom)


def children(pid: int) -> list[int]:
    """Returns the processes a process started and that live."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _model_digests(name: str, model: Path) -> dict[str, str]:
    """Returns a digest of each part of a SavedModel but its graph, which TensorFlow writes in another order every time."""
    return {f"{name}'s {part}": folder_sha256(model / part) for part in ("variables", "assets", "assets.extra")}


def _index_sha256(index: Path) -> str:
    manifest = json.loads((index / "manifest.json").read_text())
    return hashlib.sha256(json.dumps(manifest["sha256"], sort_keys=True).encode()).hexdigest()


def _batch_sha256(path: Path) -> str:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return hashlib.sha256(json.dumps([{k: v for k, v in row.items() if "version" not in k} for row in rows]).encode()).hexdigest()
