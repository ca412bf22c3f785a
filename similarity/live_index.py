"""Answers queries over a built index and its changes since, takes changes that survive a crash, and folds them in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from schemas.errors import IndexSwappedError, IndexWriteError, NeighbourIndexError
from similarity.arrays import FloatArray
from similarity.change_log import ChangeLog, create_log, read_log
from similarity.changes import Change, Upsert, checked, latest, still_holding
from similarity.child_process import ChildProcess
from similarity.contract import NeighbourIndex
from similarity.live_folder import LiveFolder, LivePointer
from similarity.live_moment import LiveAnswer, Moment
from similarity.manifest import IndexManifest, verify
from similarity.planner import load_index
from similarity.product_columns import ProductFilter
from similarity.query_plan import QueryPlan
from similarity.recent_changes import RecentChanges
from similarity.to_embed import ToEmbed, read_to_embed, write_to_embed

COMPACT_ABOVE = 50_000
_MAX_CHANGES_AT_ONCE = 10_000
_MAX_NAMED = 1_000  # Products to embed again, in the status.
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveStatus:
    """What a live index is now.

    Attributes:
        manifest: of the built index.
        base: name of its folder.
        sequence: number of the last change.
        num_products: that can be found.
        num_recent: changed products that aren't in the built index yet.
        num_gone: products of the built index that are deleted, or replaced by a changed one.
        log_bytes: of the changes that aren't in the built index yet.
        compacting: whether they are being folded in.
        last_error: why that failed the last time, or why no more changes are taken; empty where all is well.
        to_embed: products whose upserted vectors were an earlier model's and are gone since another index took over, until they are
            upserted again or deleted; the first 1,000.
        num_to_embed: how many there are.
    """

    manifest: IndexManifest
    base: str
    sequence: int
    num_products: int
    num_recent: int
    num_gone: int
    log_bytes: int
    compacting: bool
    last_error: str
    to_embed: tuple[str, ...]
    num_to_embed: int


@dataclass(frozen=True)
class Installed:
    """What became of the changes when another index took over.

    Attributes:
        carried: changes that hold for the new index as well.
        to_embed: products whose vectors were another model's: embed and upsert them again. The status names them, and those of earlier
            takeovers, until that is done.
    """

    carried: int
    to_embed: tuple[str, ...]


class _Waiting:
    """A group of changes that somebody waits for."""

    def __init__(self, changes: Sequence[Change], version: int | None) -> None:
        self.changes, self.version = changes, version
        self.sequence = 0
        self.error: NeighbourIndexError | None = None


class LiveIndex:
    """A built index with changes on top; `open` or `create` gives one.

    Any thread may search, at any time, and sees the state after some whole group of changes. Any thread may change; changes
    that arrive together are written together. A change is visible, and on disk, when `apply` returns.

    Args:
        folder: held by this process.
        compact_above: changed products from which they are folded into a new index, in the background; 0 for never.
        min_recall: below which a new index isn't taken.
    """

    def __init__(self, folder: LiveFolder, compact_above: int, min_recall: float) -> None:
        self._folder, self._compact_above, self._min_recall = folder, compact_above, min_recall
        self._compact_from = compact_above
        self._queue_lock, self._commit_lock, self._compact_lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._queue: list[_Waiting] = []
        self._since_rotation: list[Change] = []
        self._background: threading.Thread | None = None
        self._child = ChildProcess()
        self._closed = False
        self._log: ChangeLog
        self._to_embed = ToEmbed()
        self._last_error = ""
        self._pointer = folder.read()
        folder.tidy(self._pointer)
        self._read(self._pointer)

    @classmethod
    def create(cls, folder: Path, built: Path, compact_above: int = COMPACT_ABOVE, min_recall: float = 0.0) -> LiveIndex:
        """Makes a live index of a built one, whose files it shares where the file system can.

        Raises:
            NeighbourIndexError: there is a live index in the folder, another process has it, or the built one is damaged.
        """
        live = LiveFolder(folder)
        try:
            if not live.is_empty:
                raise NeighbourIndexError(f"{folder}: there is a live index already. Open it, or install the new one in it.")
            manifest = verify(built)
            number = live.next_number()
            live.take_copy(built, live.base(number))
            create_log(live.log(number), manifest.dimension, 1).close()
            live.write(LivePointer(live.base(number).name, "", number))
            return cls(live, compact_above, min_recall)
        except BaseException:
            live.close()
            raise

    @classmethod
    def open(cls, folder: Path, compact_above: int = COMPACT_ABOVE, min_recall: float = 0.0) -> LiveIndex:
        """Opens a live index with every change that was ever acknowledged.

        The digests of its files were compared when they were put there; here only their names are.

        Raises:
            NeighbourIndexError: no live index, a damaged one, or one that another process has.
        """
        live = LiveFolder(folder)
        try:
            return cls(live, compact_above, min_recall)
        except BaseException:
            live.close()
            raise

    def close(self) -> None:
        """Takes no more changes, ends a compaction that is under way, and lets another process have the folder."""
        with self._commit_lock:
            if self._closed:
                return
            self._closed = True
            self._log.close()
        self._child.end()
        background = self._background
        if background is not None and background is not threading.current_thread():
            background.join()
        self._folder.close()

    def __enter__(self) -> LiveIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def search(self, queries: FloatArray, k: int, node_id: str | None = None, wanted: ProductFilter | None = None) -> LiveAnswer:
        """Returns the `k` most similar products of each query, never fewer while there are so many.

        Args:
            queries: float `[num_queries, dimension]`, of any length; zeros are similar to nothing.
            k: how many, at least 1.
            node_id: within this node and all below it; None: in the whole index.
            wanted: what products must be like; None: anything.

        Raises:
            NeighbourIndexError: another dimension, a number that isn't finite, `k` below 1, an unknown node, or a filter on an
                index without fields.
        """
        return self._moment.search(queries, k, node_id, wanted)

    def explain(self, k: int, node_id: str | None = None, wanted: ProductFilter | None = None) -> QueryPlan:
        """Says how a query would be answered, and why so; `search` says the same of one that was."""
        return self._moment.explain(k, node_id, wanted)

    def similar(self, product_id: str, k: int, node_id: str | None = None, wanted: ProductFilter | None = None) -> LiveAnswer:
        """Returns the neighbours of a product of the index, itself left out.

        Raises:
            NeighbourIndexError: no such product, or as `search`.
        """
        vector = self.vector_of(product_id)
        if vector is None:
            raise NeighbourIndexError(f"product {product_id!r} isn't in the index. Ask with its vector, or upsert it first.")
        answer = self.search(vector[None], k + 1, node_id, wanted)
        others = np.flatnonzero(answer.ids[0] != product_id)[:k]
        return replace(answer, ids=answer.ids[:, others], similarities=answer.similarities[:, others], node_ids=answer.node_ids[:, others])

    def find(self, product_id: str) -> Upsert | None:
        """Returns a product as it is now, None where it isn't there."""
        return self._recent.find(product_id)

    def vector_of(self, product_id: str) -> FloatArray | None:
        """Returns float32 `[dimension]`, the vector of a product as it is now, None where it isn't there."""
        return self._recent.vector_of(product_id)

    @property
    def version(self) -> int:
        """Number of the index, and of the model whose vectors it holds."""
        return self._moment.manifest.version

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        return self._moment.manifest.dimension

    @property
    def node_ids(self) -> tuple[str, ...]:
        """Every node of its taxonomy, in tree order."""
        return self._moment.index.products.node_ids

    def subtree_nodes(self, node_id: str) -> tuple[str, ...]:
        """Returns a node and all below it.

        Raises:
            NeighbourIndexError: no node has this id.
        """
        products = self._moment.index.products
        subtree = products.subtree(node_id)
        return products.node_ids[subtree.start : subtree.stop]

    def apply(self, changes: Sequence[Change], version: int | None = None) -> int:
        """Keeps changes, all or none, and returns the sequence number of the last; they are visible from then on.

        Args:
            changes: what happens.
            version: of the index they are meant for; None: whichever is there.

        Raises:
            NeighbourIndexError: a change that can't be taken, which one it says; or too many at once.
            IndexSwappedError: another version is there now, and nothing was changed.
            IndexWriteError: a disk that failed, or a closed index.
        """
        if len(changes) > _MAX_CHANGES_AT_ONCE:
            raise NeighbourIndexError(f"{len(changes):,} changes at once; at most {_MAX_CHANGES_AT_ONCE:,} are taken. Send groups.")
        dimension = self._moment.index.products.dimension
        group = _Waiting([checked(change, self._node_numbers, dimension) for change in changes], version)
        if not changes:
            return self._moment.sequence
        with self._queue_lock:
            self._queue.append(group)
        with self._commit_lock:
            if not group.sequence and group.error is None:
                self._commit()
        if group.error is not None:
            raise group.error
        self._compact_when_large()
        return group.sequence

    def status(self) -> LiveStatus:
        """Returns what the index is now."""
        now, pointer, to_embed = self._moment, self._pointer, self._to_embed
        return LiveStatus(
            manifest=now.manifest,
            base=pointer.base,
            sequence=now.sequence,
            num_products=len(now.index.products) - now.recent.built_gone + len(now.recent.alive()),
            num_recent=now.recent.count,
            num_gone=now.recent.built_gone,
            log_bytes=self._folder.log_bytes(pointer.first_log),
            compacting=self._compact_lock.locked(),
            last_error=self._last_error or self._log.why_broken(),
            to_embed=to_embed.first(_MAX_NAMED),
            num_to_embed=len(to_embed),
        )

    def is_to_embed(self, product_id: str) -> bool:
        """Says whether a product has to be upserted again, since its vector was an earlier model's."""
        return product_id in self._to_embed

    def compact(self) -> None:
        """Folds all changes into a new built index, while queries and changes go on, and returns when it is in use.

        Raises:
            NeighbourIndexError: it can't be built, such as under the recall floor; the old one stays in use, nothing is lost.
        """
        with self._compact_lock:
            started_s = time.monotonic()
            with self._commit_lock:
                self._refuse_closed()
                old = self._rotate()
            self._build(old)
            base, history = self._folder.base(old.next_log).name, self._folder.history(old.next_log).name
            pointer = LivePointer(base, history, old.next_log, self._pointer.to_embed)
            self._swap(pointer)
            log.info("live_index compacted base=%s changes=%d seconds=%.1f", pointer.base, old.changes, time.monotonic() - started_s)

    def install(self, built: Path, since: int = 0) -> Installed:
        """Puts another built index, such as that of a new model, in the place of this one, with what still holds of the changes.

        Deletions and moves hold for any index; upserts for one of the same model only. Queries see the old index with all its
        changes up to the moment they see the new one.

        Args:
            built: folder of the new index.
            since: sequence number of the last change that the new index knows of; later ones are carried over. A product id or
                node that the new index doesn't know is left out.

        Raises:
            NeighbourIndexError: it is damaged.
        """
        manifest = verify(built)
        with self._compact_lock:
            number = self._folder.next_number()
            self._folder.take_copy(built, self._folder.base(number))
            index, _ = load_index(self._folder.base(number), content=False)
            with self._commit_lock:
                self._refuse_closed()
                carried, to_embed = self._carried(index, manifest, since)
                new_log = create_log(self._folder.log(number), manifest.dimension, self._log.next_sequence)
                for start in range(0, len(carried), _MAX_CHANGES_AT_ONCE):
                    new_log.append(carried[start : start + _MAX_CHANGES_AT_ONCE])
                all_to_embed = [*self._to_embed.first(), *to_embed]
                if all_to_embed:
                    write_to_embed(self._folder.to_embed(number), all_to_embed)
                listed = self._folder.to_embed(number).name if all_to_embed else ""
                pointer = LivePointer(self._folder.base(number).name, "", number, listed)
                self._folder.write(pointer)
                self._log.close()
                self._log, self._pointer, self._to_embed = new_log, pointer, ToEmbed(all_to_embed)
                self._use(index, manifest, [carried] if carried else [])
        log.info(
            "live_index installed base=%s version=%d carried=%d to_embed=%d", pointer.base, manifest.version, len(carried), len(to_embed)
        )
        return Installed(len(carried), tuple(to_embed))

    def _read(self, pointer: LivePointer) -> None:
        index, manifest = load_index(self._folder.path / pointer.base, content=False)
        logs = self._folder.logs_from(pointer.first_log)
        if not logs:
            raise NeighbourIndexError(
                f"{self._folder.path}: {self._folder.log(pointer.first_log).name} is missing. Restore it from a copy."
            )
        changes = [change for path in logs for change in read_log(path, manifest.dimension, may_be_cut=path == logs[-1])]
        history = read_log(self._folder.path / pointer.history, manifest.dimension, may_be_cut=False) if pointer.history else []
        self._log = ChangeLog(logs[-1], max((sequence for sequence, _ in [*history, *changes]), default=0) + 1)
        if pointer.to_embed:
            self._to_embed = ToEmbed(read_to_embed(self._folder.path / pointer.to_embed))
            self._to_embed.settle(change for _, change in [*history, *changes])
        self._use(index, manifest, [[change for _, change in changes]] if changes else [])

    def _use(self, index: NeighbourIndex, manifest: IndexManifest, groups: Sequence[Sequence[Change]]) -> None:
        """Answers from another index from now on."""
        recent = RecentChanges(index.products)
        for group in groups:
            recent.take(group)
        self._node_numbers = {node_id: number for number, node_id in enumerate(index.products.node_ids)}
        self._recent = recent
        self._moment = Moment(index, manifest, recent.view(), self._log.next_sequence - 1)

    def _commit(self) -> None:
        """Writes and shows all groups that wait; whoever waits finds theirs done."""
        with self._queue_lock:
            groups, self._queue = self._queue, []
        now = self._moment.manifest.version
        for group in groups:
            if group.version not in (None, now):
                group.error = IndexSwappedError(f"the changes are for index {group.version}, index {now} is there. Make them for that one.")
        groups = [group for group in groups if group.error is None]
        if groups:
            try:
                self._keep(groups)
            except BaseException as error:
                for group in groups:  # Nobody may take a group for kept that isn't.
                    if not group.sequence and group.error is None:
                        group.error = IndexWriteError(f"{self._folder.path}: the changes can't be kept: {error!r}. Open the index again.")
                raise

    def _keep(self, groups: Sequence[_Waiting]) -> None:
        changes = [change for group in groups for change in group.changes]
        first = self._log.next_sequence
        try:
            self._refuse_closed()
            self._log.append(changes)
        except NeighbourIndexError as error:
            if len(groups) > 1 and not isinstance(error, IndexWriteError):  # Only together they are too many.
                for group in groups:
                    self._keep([group])
                return
            for group in groups:
                group.error = error
            return
        self._recent.take(changes)
        self._to_embed.settle(changes)
        if self._compact_lock.locked():
            self._since_rotation.extend(changes)
        for group in groups:
            first += len(group.changes)
            group.sequence = first - 1
        self._moment = replace(self._moment, recent=self._recent.view(), sequence=self._log.next_sequence - 1)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise IndexWriteError(f"{self._folder.path}: the live index is closed. Open it again.")

    def _compact_when_large(self) -> None:
        recent = self._moment.recent
        if not self._compact_above or recent.count + recent.built_gone < self._compact_from:
            return
        with self._queue_lock:
            if self._background is not None and self._background.is_alive():
                return
            self._background = threading.Thread(target=self._compact_quietly, name="compaction", daemon=True)
            self._background.start()

    def _compact_quietly(self) -> None:
        try:
            self.compact()
            self._last_error, self._compact_from = "", self._compact_above
        except (NeighbourIndexError, OSError) as error:
            recent = self._moment.recent
            self._last_error, self._compact_from = str(error), 2 * (recent.count + recent.built_gone)  # Not again at once.
            if not self._closed:
                log.error("live_index compaction failed error=%s", error)

    def _rotate(self) -> _Rotated:
        """Starts a new log, so that those before it stay as they are."""
        if self._log.broken:
            raise NeighbourIndexError(self._log.why_broken())
        number = self._folder.next_number()
        logs = self._folder.logs_from(self._pointer.first_log)
        new_log = create_log(self._folder.log(number), self._moment.index.products.dimension, self._log.next_sequence)
        self._log.close()
        self._log = new_log
        self._since_rotation = []
        history = [self._folder.path / self._pointer.history] if self._pointer.history else []
        return _Rotated(self._folder.path / self._pointer.base, [*history, *logs], number, self._moment.recent.count)

    def _build(self, old: _Rotated) -> None:
        target, history = self._folder.base(old.next_log), self._folder.history(old.next_log)
        words = [str(old.base), str(target), str(history), *map(str, old.logs), "--min-recall", str(self._min_recall)]
        self._child.run("similarity.compaction", words, f"{target}: the changes can't be folded in")

    def _swap(self, pointer: LivePointer) -> None:
        """Takes the new index into use; changes since the rotation are put on top of it, the last of them under the lock."""
        index, manifest = load_index(self._folder.path / pointer.base, content=False)
        recent = RecentChanges(index.products)
        done = len(self._since_rotation)
        if done:
            recent.take(self._since_rotation[:done])
        with self._commit_lock:
            self._refuse_closed()
            if self._since_rotation[done:]:
                recent.take(self._since_rotation[done:])
            self._folder.write(pointer)
            self._pointer, self._recent, self._since_rotation = pointer, recent, []
            self._moment = Moment(index, manifest, recent.view(), self._log.next_sequence - 1)

    def _carried(self, index: NeighbourIndex, manifest: IndexManifest, since: int) -> tuple[list[Change], list[str]]:
        pointer, dimension = self._pointer, self._moment.index.products.dimension
        paths = [self._folder.path / pointer.history] if pointer.history else []
        paths += self._folder.logs_from(pointer.first_log)
        last = latest(change for path in paths for change in read_log(path, dimension, may_be_cut=False))
        same_model = bool(manifest.model_sha256) and manifest.model_sha256 == self._moment.manifest.model_sha256
        return still_holding(last.values(), since, {*index.products.node_ids, ""}, same_model)


@dataclass(frozen=True)
class _Rotated:
    """What a compaction starts from."""

    base: Path
    logs: list[Path]
    next_log: int
    changes: int
