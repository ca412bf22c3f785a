"""Keeps a live index at the version that is pushed: watches the pointer and swaps index and version in one step."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from schemas.errors import NeighbourIndexError
from serving.similarity_server.pushed_pointer import Pushed, read_pushed
from similarity.live_index import LiveIndex
from similarity.manifest import read_manifest

_RETRY_S = 30.0
_MAX_TO_EMBED = 1_000
log = logging.getLogger(__name__)


class FollowedIndex:
    """A live index and, where it follows a push folder, the thread that looks there for another version.

    Args:
        folder: of the live index, which is this server's own; made from what is pushed where it is empty.
        push_folder: to follow; None: `built` once and for all.
        built: folder of a built index, where nothing is followed.
        poll_s: between two looks; 0: none after the start.

    Raises:
        NeighbourIndexError: nothing is pushed, or the index can't be opened.
    """

    def __init__(self, folder: Path, push_folder: Path | None = None, built: Path | None = None, poll_s: float = 1.0) -> None:
        self._push_folder, self._poll_s = push_folder, poll_s
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.last_error, self.num_to_embed = "", 0
        self.to_embed: tuple[str, ...] = ()
        self._failed: tuple[Pushed, float] | None = None
        self.pushed = read_pushed(push_folder) if push_folder else None
        source = self.pushed.index if self.pushed else built
        if source is not None and not (folder / "current.json").exists():
            self.live = LiveIndex.create(folder, source)
            if self.pushed and self.live.version != self.pushed.version:
                self.live.close()
                raise _mixed(self.pushed, self.live.version)
        else:
            self.live = LiveIndex.open(folder)
            self.refresh()
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def start(self) -> None:
        """Follows the pointer from now on."""
        if self._push_folder and self._poll_s > 0:
            self._thread.start()

    def close(self) -> None:
        """Stops following, and lets another process have the live index."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self.live.close()

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
        installed = self.live.install(pushed.index)
        self.num_to_embed, self.to_embed = len(installed.to_embed), installed.to_embed[:_MAX_TO_EMBED]
        log.info(
            "similarity swapped version=%d before=%d carried=%d to_embed=%d", pushed.version, before, installed.carried, self.num_to_embed
        )

    def _follow(self) -> None:
        while not self._stopped.wait(self._poll_s):
            self.refresh()


def _mixed(pushed: Pushed, found: int) -> NeighbourIndexError:
    return NeighbourIndexError(
        f"{pushed.index}: the index says version {found}, live.json says {pushed.version}. Make a version live again: aisle rollback."
    )
