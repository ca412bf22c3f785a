"""Keeps a live index at the version that is pushed: watches the pointer and swaps index and version in one step."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from schemas.errors import NeighbourIndexError
from serving.similarity_server.pushed_pointer import Pushed, read_pushed
from similarity.child_process import ChildProcess
from similarity.live_index import LiveIndex
from similarity.manifest import read_manifest
from similarity.vectors import STARTS

SHARD, _WHOLE = "shard.json", "null"
_RETRY_S = 30.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """The part of an index that one server holds.

    Attributes:
        nodes: what each of its subtrees begins with.
        with_rest: whether products that are at no node belong to it, too.
    """

    nodes: tuple[str, ...]
    with_rest: bool = False


class FollowedIndex:
    """A live index and, where it follows a push folder, the thread that looks there for another version.

    Args:
        folder: of the live index, which is this server's own; made from what is pushed where it is empty.
        push_folder: to follow; None: `built` once and for all.
        built: folder of a built index, where nothing is followed.
        poll_s: between two looks; 0: none after the start.
        shard: what is held of the index; None: all of it.

    Raises:
        NeighbourIndexError: nothing is pushed, the index can't be opened, or the folder can't be used or holds another shard.
    """

    def __init__(
        self, folder: Path, push_folder: Path | None = None, built: Path | None = None, poll_s: float = 1.0, shard: Shard | None = None
    ) -> None:
        self._folder, self._push_folder, self._poll_s, self._shard = folder, push_folder, poll_s, shard
        self._child = ChildProcess()
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.last_error = ""
        self._failed: tuple[Pushed, float] | None = None
        self.pushed = read_pushed(push_folder) if push_folder else None
        try:
            self._open(self.pushed.index if self.pushed else built)
        except OSError as error:
            raise NeighbourIndexError(
                f"{error.filename or folder}: can't be used: {error.strerror or error}. Name a folder that you may write to with --folder."
            ) from None
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def _open(self, source: Path | None) -> None:
        folder = self._folder
        if source is not None and not (folder / "current.json").exists():
            with self._part(source) as part:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / SHARD).write_text(self._described(), encoding="utf-8")
                self.live = LiveIndex.create(folder, part)
            if self.pushed and self.live.version != self.pushed.version:
                self.live.close()
                raise _mixed(self.pushed, self.live.version)
        else:
            self.live = LiveIndex.open(folder)
            held = (folder / SHARD).read_text(encoding="utf-8") if (folder / SHARD).exists() else _WHOLE
            if held != self._described():
                self.live.close()
                raise NeighbourIndexError(f"{folder}: this holds another shard. Start that one, or use a folder of your own.")
            self.refresh()

    def start(self) -> None:
        """Follows the pointer from now on."""
        if self._push_folder and self._poll_s > 0:
            self._thread.start()

    def close(self) -> None:
        """Stops following, and lets another process have the live index."""
        self._stopped.set()
        self._child.end()
        if self._thread.is_alive():
            self._thread.join()
        self.live.close()

    def nodes(self) -> list[str]:
        """Returns the nodes whose products it holds; an empty id for products that are at no node."""
        if self._shard is None:
            return [*self.live.node_ids, ""]
        held = [node_id for root in self._shard.nodes for node_id in self.live.subtree_nodes(root)]
        return [*dict.fromkeys(held), *([""] if self._shard.with_rest else [])]

    def elsewhere(self, node_ids: Iterable[str]) -> str | None:
        """Returns the first of some nodes whose products are in another shard, None where there is none; unknown ones are nowhere."""
        if self._shard is None:
            return None
        other = {*self.live.node_ids, ""}.difference(self.nodes())
        return next((node_id for node_id in node_ids if node_id in other), None)

    def refresh(self) -> None:
        """Takes what is pushed now, where that is another version; on a failure the old one stays in use, and `last_error` says why."""
        if not self._push_folder:
            return
        with self._lock:
            try:
                self.pushed = read_pushed(self._push_folder)
                if self.live.version != self.pushed.version:
                    if self._failed_lately(self.pushed):
                        return
                    self._take(self.pushed)
                self.last_error, self._failed = "", None
            except (NeighbourIndexError, OSError) as error:
                if self.pushed:
                    self._failed = (self.pushed, time.monotonic())
                if str(error) != self.last_error:
                    log.error("similarity swap failed error=%s", error)
                self.last_error = str(error)

    def _failed_lately(self, pushed: Pushed) -> bool:
        return self._failed is not None and self._failed[0] == pushed and time.monotonic() < self._failed[1] + _RETRY_S

    def _take(self, pushed: Pushed) -> None:
        found = read_manifest(pushed.index).version
        if found != pushed.version:
            raise _mixed(pushed, found)
        before = self.live.version
        with self._part(pushed.index) as part:
            installed = self.live.install(part)
        counts = installed.carried, len(installed.to_embed)
        log.info("similarity swapped version=%d before=%d carried=%d to_embed=%d", pushed.version, before, *counts)

    def _described(self) -> str:
        return json.dumps(asdict(self._shard)) if self._shard else _WHOLE

    @contextlib.contextmanager
    def _part(self, built: Path) -> Iterator[Path]:
        """Yields the folder of what is held of an index, which is its own where that is all."""
        if self._shard is None:
            yield built
            return
        if not self._shard.nodes:
            _check_rest(built)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder.parent, prefix=f"{self._folder.name}-part-") as scratch:
            part = Path(scratch) / built.name
            words = [str(built.absolute()), str(part.absolute()), *["--rest"] * self._shard.with_rest, "--nodes", *self._shard.nodes]
            self._child.run("similarity.subtree_part", words, f"{built}: the shard can't be made")
            yield part

    def _follow(self) -> None:
        while not self._stopped.wait(self._poll_s):
            self.refresh()


def _check_rest(built: Path) -> None:
    """Refuses a shard of products at no node where there are none; whatever else is wrong with the index is for who reads it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        starts = np.load(built / STARTS, mmap_mode="r", allow_pickle=False)
        if int(starts[-1]) == read_manifest(built).num_products:
            raise NeighbourIndexError(
                f"{built}: every product is at a node, so a shard of the rest alone is empty. Name nodes with --shard, too."
            )


def _mixed(pushed: Pushed, found: int) -> NeighbourIndexError:
    return NeighbourIndexError(
        f"{pushed.index}: the index says version {found}, live.json says {pushed.version}. Make a version live again: aisle rollback."
    )
