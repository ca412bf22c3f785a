"""Turns feeds into examples with Beam: read and clean, then decide over all rows, then write. No TFX here.

Rows never pass through a shuffle. Reading spills cleaned, already serialized rows into chunk files, and 17 bytes a
row beside them (hashes of id and group, split); one combine decides over those; writing copies the chunks' bytes into the examples, without
the rows that a later one supersedes. So memory stays flat however many rows there are, and on a cluster the work is shared
by feed and by file of examples.
"""

# mypy: disable-error-code="no-untyped-call,attr-defined,name-defined,misc"
from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.example_records import encode_example, frame
from components.feeds.contract import FeedOptions, RefusedRow
from components.feeds.delimited import read_delimited
from components.feeds.files import open_feed
from components.feeds.products import ProductBatch, read_batches
from components.ingest_plan import ChunkReport, FeedReport, RowKeys, check_refused_share, make_plan, sorted_chunks
from schemas.cleaning import Product, clean_id
from schemas.errors import AisleError, CatalogueError
from schemas.grouping import group_key, split_of
from schemas.product import DEV, FIELDS, GROUP, ID, SHOP, SPLITS, TEST
from schemas.settings import IngestSettings, NetworkSettings

log = logging.getLogger(__name__)

QUARANTINE_FILE = "quarantine.jsonl"
LEFT_OUT_FILE = "left_out.jsonl"
SUMMARY_FILE = "summary.json"
_SPILL = "spill"
_PLAN_FILE = "plan.json"
_KEYS = ".keys"
_CHUNK_ROWS = 10_000
_CHUNK_BYTES = 16 << 20
_COMPRESSION_LEVEL = 1
# Lines of left_out.jsonl a feed and field: a wrong decimal_comma leaves out the price of every row, and one of a kind tells.
_MAX_LEFT_OUT = 1_000
_SCHEMA = pa.schema([("record", pa.large_binary()), ("test", pa.bool_())])

MakePipeline = Callable[[], beam.Pipeline]


@dataclass(frozen=True)
class Feed:
    """One file of a network; `number` is its place in the order in which later rows win."""

    number: int
    network: str
    settings: NetworkSettings
    path: str


@dataclass(frozen=True)
class IngestJob:
    """What the workers must know."""

    settings: IngestSettings
    seed: int
    dense: Mapping[str, int]
    spill: str


# --- Reading ----------------------------------------------------------------------------------------------------------------


class ReadFeed(beam.DoFn):
    """Reads and cleans a feed, spills its rows, and emits `ChunkReport`s and one `FeedReport`."""

    def __init__(self, job: IngestJob) -> None:
        self._job = job

    def setup(self) -> None:
        """Reads the split file once a worker."""
        self._test_ids = read_split(self._job.settings.split) if self._job.settings.split else None

    def process(self, feed: Feed) -> Iterator[ChunkReport | FeedReport]:
        """Emits an unreadable feed's error as a value, because runners wrap exceptions in pages of their own."""
        report = FeedReport(feed.number, feed.path)
        try:
            yield from self._chunks(feed, report)
        except AisleError as error:
            report.error = str(error)
        yield report

    def _chunks(self, feed: Feed, report: FeedReport) -> Iterator[ChunkReport]:
        settings = self._job.settings
        limit = min(_CHUNK_ROWS, settings.shard_rows)
        batch_rows = min(settings.batch_rows, limit)
        chunk = _Chunk()
        number = 0
        spill = self._job.spill
        with _LinesFile(_join(spill, _refused_name(feed.number))) as refused, _LinesFile(_join(spill, _left_out_name(feed.number))) as left:
            for batch in read_batches(feed.network, feed.settings, feed.path, batch_rows, self._job.dense):
                left.write(_left_out(batch, report))
                _count(batch, report)
                refused.write(row._asdict() for row in batch.refused)
                if chunk.records and (len(chunk.records) + len(batch.products) > limit or chunk.size > _CHUNK_BYTES):
                    yield chunk.spill(self._job.spill, feed.number, number)
                    chunk, number = _Chunk(), number + 1
                self._add(batch.products, chunk)
            if chunk.records:
                yield chunk.spill(self._job.spill, feed.number, number)

    def _add(self, products: Sequence[Product], chunk: _Chunk) -> None:
        names = (*FIELDS, GROUP, *self._job.dense)
        for product in products:
            group = group_key(product)
            product[GROUP] = group
            product_id = _id_hash(str(product[ID]))
            if self._test_ids is None:
                test = split_of(group, self._job.settings.test_share, self._job.seed) == TEST
            else:
                test = product_id in self._test_ids
            chunk.add(frame(encode_example(product, names)), product_id, bytes.fromhex(group), test)


def _id_hash(product_id: str) -> bytes:
    return blake2b(product_id.encode(), digest_size=8).digest()


def _count(batch: ProductBatch, report: FeedReport) -> None:
    report.rows += batch.rows
    report.refused += len(batch.refused)
    for product in batch.products:
        report.count_shop(str(product.get(SHOP, "")), refused=False)
    for row in batch.refused:
        shop = report.count_shop(row.shop, refused=True)
        report.reasons[shop, row.field, _reason(row)] += 1
    for number, problem in batch.blanked:
        report.blanked[problem.field] += 1
        place = f"{report.path}:{number}: {problem.found!r} isn't {problem.expected}"
        report.blanked_examples.setdefault(problem.field, place)


def _left_out(batch: ProductBatch, report: FeedReport) -> Iterator[dict[str, Any]]:
    counted = report.blanked.copy()
    for number, problem in batch.blanked:
        counted[problem.field] += 1
        if counted[problem.field] <= _MAX_LEFT_OUT:
            yield {"feed": report.path, "row": number, **problem._asdict()}


def _reason(row: RefusedRow) -> str:
    """Returns what was expected without what was found, so that like reasons are counted together."""
    return row.expected.partition(", found")[0]


@dataclass
class _Chunk:
    """Rows that are spilled together."""

    records: list[bytes] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    groups: list[bytes] = field(default_factory=list)
    tests: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, record: bytes, product_id: bytes, group: bytes, test: bool) -> None:
        self.records.append(record)
        self.ids.append(product_id)
        self.groups.append(group)
        self.tests.append(test)
        self.size += len(record)

    def spill(self, folder: str, feed: int, number: int) -> ChunkReport:
        """Writes the rows and returns what the decision over all rows needs."""
        test = pa.array(np.frombuffer(bytes(self.tests), dtype=np.uint8).astype(bool))
        batch = pa.record_batch([pa.array(self.records, pa.large_binary()), test], schema=_SCHEMA)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, _SCHEMA) as writer:
            writer.write_batch(batch)
        report = ChunkReport(feed, number, len(self.records))
        with _create(_join(folder, report.name)) as file:
            file.write(sink.getvalue())
        with _create(_join(folder, f"{report.name}{_KEYS}")) as file:
            file.write(b"".join((*self.ids, *self.groups, self.tests)))
        return report


class _LinesFile:
    """JSON lines; there is no file where there is no line."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: Any = None

    def __enter__(self) -> _LinesFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            if self._file is None:
                self._file = _create(self._path)
            self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


_SPLIT_OPTIONS = FeedOptions(("product_id", "split"), delimiter="\t", quoting=False, way_out="Expected product_id and split.")


def read_split(path: str) -> frozenset[bytes]:
    """Returns the hashes of the ids whose split is `test`. Ids that aren't in the file go to dev.

    Raises:
        CatalogueError: the columns `product_id` and `split` aren't there, a split is neither dev nor test, or a product is in
            both. Names the line.
    """
    splits: dict[bytes, bool] = {}
    with open_feed(path) as stream:
        for raw in read_delimited(stream, path, _SPLIT_OPTIONS):
            if isinstance(raw, RefusedRow):
                raise CatalogueError(f"{path}:{raw.row + 1}: found {raw.found!r}, expected {raw.expected}.")
            product_id, split = raw.values
            if split not in SPLITS:
                raise CatalogueError(f"{path}:{raw.row + 1}: split {split!r} must be {DEV} or {TEST}.")
            key = _id_hash(clean_id(product_id))
            if splits.setdefault(key, split == TEST) != (split == TEST):
                raise CatalogueError(f"{path}:{raw.row + 1}: product {product_id!r} is in both splits. Keep one line of it.")
    return frozenset(key for key, test in splits.items() if test)


def is_test(product_id: str, test_ids: frozenset[bytes]) -> bool:
    """Returns whether a product's id is one of those that `read_split` returned."""
    return _id_hash(product_id) in test_ids


# --- Deciding ---------------------------------------------------------------------------------------------------------------


class _Decide(beam.DoFn):
    """Writes the plan made of all reports and row keys; it is a file, so that it needn't come back through the runner."""

    def __init__(self, job: IngestJob) -> None:
        self._job = job

    def process(self, reports: list[ChunkReport | FeedReport]) -> None:
        plan = make_plan(reports, _read_keys(sorted_chunks(reports), self._job.spill), self._job.settings.shard_rows)
        with _create(_join(self._job.spill, _PLAN_FILE)) as file:
            file.write(json.dumps(plan).encode())


def _read_keys(chunks: Sequence[ChunkReport], folder: str) -> RowKeys:
    rows = sum(chunk.rows for chunk in chunks)
    keys = RowKeys(np.empty(rows, np.uint64), np.empty(rows, np.uint64), np.empty(rows, np.bool_))
    start = 0
    for chunk in chunks:
        with FileSystems.open(_join(folder, f"{chunk.name}{_KEYS}"), "application/octet-stream", CompressionTypes.UNCOMPRESSED) as file:
            data = file.read()
        part = slice(start, start + chunk.rows)
        keys.ids[part] = np.frombuffer(data, np.uint64, chunk.rows)
        keys.groups[part] = np.frombuffer(data, np.uint64, chunk.rows, 8 * chunk.rows)
        keys.tests[part] = np.frombuffer(data, np.bool_, chunk.rows, 16 * chunk.rows)
        start += chunk.rows
    return keys


# --- Writing ----------------------------------------------------------------------------------------------------------------


class WriteShard(beam.DoFn):
    """Writes one file of each split from chunks, without their superseded rows."""

    def __init__(self, spill: str, examples: str) -> None:
        self._spill, self._examples = spill, examples

    def process(self, element: tuple[int, int, list[list[Any]]]) -> None:
        """Writes the shard `number` of `count`."""
        number, count, chunks = element
        files = {split: _GzipFile(_join(self._examples, f"Split-{split}", f"examples-{number:05d}-of-{count:05d}.gz")) for split in SPLITS}
        for name, superseded in chunks:
            rows = _read_chunk(_join(self._spill, name), superseded)
            for split, file in files.items():
                file.write(_bytes_of(rows, split == TEST))
        for file in files.values():
            file.close()


def _read_chunk(path: str, superseded: Sequence[int]) -> pa.RecordBatch:
    with FileSystems.open(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED) as file:
        rows = next(iter(pa.ipc.open_stream(file.read())))
    if superseded:
        keep = np.ones(rows.num_rows, dtype=bool)
        keep[superseded] = False
        rows = rows.filter(pa.array(keep))
    return rows


def _bytes_of(rows: pa.RecordBatch, test: bool) -> bytes:
    """Returns the records of one split one after another: just the data buffer of the filtered column."""
    wanted = rows.column("test") if test else pc.invert(rows.column("test"))
    records = rows.filter(wanted).column("record")
    data = records.buffers()[2]
    return data.to_pybytes() if len(records) and data is not None else b""


class _GzipFile:
    """A gzip file without a date or name inside, so that the same rows give the same bytes."""

    def __init__(self, path: str) -> None:
        self._file = _create(path)
        self._compressor = zlib.compressobj(_COMPRESSION_LEVEL, wbits=31)

    def write(self, data: bytes) -> None:
        self._file.write(self._compressor.compress(data))

    def close(self) -> None:
        self._file.write(self._compressor.flush())
        self._file.close()


# --- The whole stage --------------------------------------------------------------------------------------------------------


def ingest(
    feeds: Sequence[Feed],
    settings: IngestSettings,
    *,
    seed: int,
    examples: str,
    quarantine: str,
    dense: Mapping[str, int] | None = None,
    make_pipeline: MakePipeline = beam.Pipeline,
) -> dict[str, Any]:
    """Writes the examples and the quarantine, and returns what `summary.json` holds.

    Args:
        feeds: the files, in the order in which later rows win.
        settings: test share or split file, limits and batch sizes.
        seed: draws the split.
        examples: folder, local or remote; `Split-dev` and `Split-test` are written in it.
        quarantine: folder for `quarantine.jsonl`, `left_out.jsonl` and `summary.json`. Where the run stops they are in
            `<quarantine>-stopped`, because TFX removes the outputs of a stage that failed.
        dense: the vector fields and their sizes.
        make_pipeline: makes the Beam pipeline; called twice, as the decision in between may stop the run.

    Raises:
        CatalogueError: a feed or the split file can't be read, or too many rows were refused.
    """
    started = time.monotonic()
    job = IngestJob(settings, seed, dict(dense or {}), _join(quarantine, _SPILL))
    _make_folders(job.spill, *(_join(examples, f"Split-{split}") for split in SPLITS))
    if settings.split:
        read_split(settings.split)
    try:
        plan = _read(feeds, job, make_pipeline)
        _stop_where_refused(plan, job, len(feeds), quarantine)
        with make_pipeline() as pipeline:
            shards = [(number, len(plan["shards"]), chunks) for number, chunks in enumerate(plan["shards"])]
            pipeline | "Shards" >> beam.Create(shards) | beam.Reshuffle() | "Write" >> beam.ParDo(WriteShard(job.spill, examples))
        _write_quarantine(quarantine, plan["summary"], job.spill, len(feeds))
    finally:
        FileSystems.delete([job.spill])
    _log_counts(plan["summary"], time.monotonic() - started)
    return dict(plan["summary"])


def _read(feeds: Sequence[Feed], job: IngestJob, make_pipeline: MakePipeline) -> dict[str, Any]:
    with make_pipeline() as pipeline:
        reports = pipeline | "Feeds" >> beam.Create(list(feeds)) | beam.Reshuffle() | "Read" >> beam.ParDo(ReadFeed(job))
        reports | "Together" >> beam.combiners.ToList() | "Decide" >> beam.ParDo(_Decide(job))
    with FileSystems.open(_join(job.spill, _PLAN_FILE), "application/json", CompressionTypes.UNCOMPRESSED) as file:
        plan: dict[str, Any] = json.loads(file.read())
    if plan["errors"]:
        more = f" ({len(plan['errors']) - 1} more feeds can't be read.)" if len(plan["errors"]) > 1 else ""
        raise CatalogueError(plan["errors"][0] + more)
    return plan


def _stop_where_refused(plan: dict[str, Any], job: IngestJob, num_feeds: int, quarantine: str) -> None:
    stopped = f"{quarantine.rstrip('/')}-stopped"
    try:
        check_refused_share(plan, job.settings.max_refused_share, _join(stopped, QUARANTINE_FILE))
    except CatalogueError:
        _make_folders(stopped)
        _write_quarantine(stopped, plan["summary"], job.spill, num_feeds)
        raise


def _write_quarantine(folder: str, summary: Mapping[str, Any], spill: str, num_feeds: int) -> None:
    for name, part_name in ((QUARANTINE_FILE, _refused_name), (LEFT_OUT_FILE, _left_out_name)):
        with _create(_join(folder, name)) as file:
            for number in range(num_feeds):
                _copy(_join(spill, part_name(number)), file)
    with _create(_join(folder, SUMMARY_FILE)) as file:
        file.write(json.dumps(summary, ensure_ascii=False, indent=2).encode() + b"\n")


def _copy(path: str, file: Any) -> None:
    if FileSystems.exists(path):
        with FileSystems.open(path, "application/json", CompressionTypes.UNCOMPRESSED) as part:
            while data := part.read(1 << 20):
                file.write(data)


def _log_counts(summary: Mapping[str, Any], seconds: float) -> None:
    for path, counts in summary["by_feed"].items():
        if not counts["rows"]:
            log.warning("product_ingest feed=%s rows=0", path)
    log.info(
        "product_ingest rows=%d refused=%d duplicates=%d groups=%d dev=%d test=%d seconds=%.1f",
        summary["rows"], summary["refused"], summary["duplicates"], summary["groups"],
        summary["by_split"][DEV], summary["by_split"][TEST], seconds,
    )  # fmt: skip


def _refused_name(feed: int) -> str:
    return f"refused-{feed:05d}.jsonl"


def _left_out_name(feed: int) -> str:
    return f"left-out-{feed:05d}.jsonl"


def _join(folder: str, *names: str) -> str:
    return "/".join((folder.rstrip("/"), *names))


def _create(path: str) -> Any:
    return FileSystems.create(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED)


def _make_folders(*folders: str) -> None:
    for folder in folders:
        if not FileSystems.exists(folder):
            FileSystems.mkdirs(folder)
