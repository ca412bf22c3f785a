"""Reads and describes the ScoredPool artifact: columns, Parquet files and manifest. NumPy and pyarrow only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import SamplingError
from schemas.product import ANSWER_NODE, ID, PRICE, STRING_FIELDS

CANDIDATE, BLESSED = "candidate", "blessed"
MANIFEST = "manifest.json"
PRODUCT_ID, SPLIT, GROUP, ANSWERED, RULE_IDS, EMBEDDING = "product_id", "split", "group", "answered", "rule_ids", "embedding"
EXCLUSIVE_NODES, EXCLUSIVE_PROBABILITIES, EXCLUSIVE_ENTROPY = "exclusive_nodes", "exclusive_probabilities", "exclusive_entropy"
RULE_BASED_NODES, RULE_BASED_PROBABILITIES = "rule_based_nodes", "rule_based_probabilities"
COMMITTEE_NODES, COMMITTEE_PROBABILITIES = "committee_nodes", "committee_probabilities"
# What needs no person, and how sure the model is of it.
DECISION, ACCEPTED_NODE, CONFIDENCE = "decision", "accepted_node", "confidence"
TITLE_KEY = "title_key"
TEXT_FIELDS = tuple(name for name in STRING_FIELDS if name != ID)

SCHEMA = pa.schema(
    [
        (PRODUCT_ID, pa.string()),
        (SPLIT, pa.string()),
        (GROUP, pa.string()),
        (ANSWERED, pa.bool_()),
        (ANSWER_NODE, pa.string()),
        (TITLE_KEY, pa.string()),
        (EXCLUSIVE_NODES, pa.list_(pa.string())),
        (EXCLUSIVE_PROBABILITIES, pa.list_(pa.float32())),
        (EXCLUSIVE_ENTROPY, pa.float32()),
        (DECISION, pa.string()),
        (ACCEPTED_NODE, pa.string()),
        (CONFIDENCE, pa.float32()),
        (RULE_BASED_NODES, pa.list_(pa.string())),
        (RULE_BASED_PROBABILITIES, pa.list_(pa.float32())),
        (COMMITTEE_NODES, pa.list_(pa.string())),
        (COMMITTEE_PROBABILITIES, pa.list_(pa.float32())),
        (RULE_IDS, pa.list_(pa.string())),
        (EMBEDDING, pa.list_(pa.float32())),
        *((name, pa.string()) for name in TEXT_FIELDS),
        (PRICE, pa.float32()),
    ]
)
COLUMNS = tuple(SCHEMA.names)
_BLOCK_PRODUCTS = 10_000


@dataclass(frozen=True)
class PoolManifest:
    """What `manifest.json` says.

    Attributes:
        num_products: rows in all files.
        embedding_dimension: length of an embedding.
        top_k: nodes kept for each product and head, at most.
        num_nodes: of the model's taxonomy.
        model_uri: folder of the SavedModel that scored.
        model: `candidate` (made by this run) or `blessed` (the live one, because the candidate isn't blessed).
        version: of the live model where it scored; 0 for a candidate, which has none yet.
        model_sha256: digest of the SavedModel that scored; empty where it couldn't be read as local files.
        committee: members whose top-k the committee's columns hold, the model that scored first; 0: no committee.
    """

    num_products: int
    embedding_dimension: int
    top_k: int
    num_nodes: int
    model_uri: str
    model: str
    version: int
    model_sha256: str = ""
    committee: int = 0


class Embeddings(Protocol):
    """Rows of vectors: a NumPy array is one, and so is `StoredEmbeddings`."""

    def __len__(self) -> int:
        """Returns how many rows there are."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Returns float32 `[len(rows), dimension]` for an array of rows or a slice."""


@dataclass(frozen=True)
class ScoredPool:
    """Columns of scored products as arrays, in the order of the files. A column that wasn't asked for is None.

    Attributes:
        manifest: of the whole pool.
        product_ids, splits, groups: object (str) `[n]`.
        answered: bool `[n]`, True where a person answered.
        exclusive_nodes: object (str) `[n, k]`, most probable first.
        exclusive_probabilities: float32 `[n, k]`.
        exclusive_entropy: float32 `[n]`, of all exclusive nodes, in nats.
        decisions: object (str) `[n]`: accept, climb (to an ancestor) or ask (a person).
        accepted_nodes: object (str) `[n]`, empty where a person is asked.
        confidences: float32 `[n]`, calibrated probability of the accepted node, else of the best one.
        rule_based_nodes: object (str) `[n, k]`.
        rule_based_probabilities: float32 `[n, k]`.
        rule_ids: object (list of str) `[n]`.
        embeddings: float32 `[n, dimension]`: an array, a memory map, or what reads the rows it is asked for.
        fields: name to object `[n]` of str (float for price), None where the product has none.
        answer_nodes: object (str) `[n]`, the node a person answered, None where nobody did.
        title_keys: object (str) `[n]`, equal where titles are equal once folded; None where a product has none.
        committee_nodes: object (str) `[n, members, k]`, each member's most probable first, "" where it has fewer than k.
        committee_probabilities: float32 `[n, members, k]`.
    """

    manifest: PoolManifest
    product_ids: npt.NDArray[Any] | None = None
    splits: npt.NDArray[Any] | None = None
    groups: npt.NDArray[Any] | None = None
    answered: npt.NDArray[np.bool_] | None = None
    exclusive_nodes: npt.NDArray[Any] | None = None
    exclusive_probabilities: npt.NDArray[np.float32] | None = None
    exclusive_entropy: npt.NDArray[np.float32] | None = None
    decisions: npt.NDArray[Any] | None = None
    accepted_nodes: npt.NDArray[Any] | None = None
    confidences: npt.NDArray[np.float32] | None = None
    rule_based_nodes: npt.NDArray[Any] | None = None
    rule_based_probabilities: npt.NDArray[np.float32] | None = None
    rule_ids: npt.NDArray[Any] | None = None
    embeddings: Embeddings | None = None
    fields: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    answer_nodes: npt.NDArray[Any] | None = None
    title_keys: npt.NDArray[Any] | None = None
    committee_nodes: npt.NDArray[Any] | None = None
    committee_probabilities: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        for item in fields(self)[1:]:
            column = getattr(self, item.name)
            if column is not None and item.name != "fields":
                return len(column)
        return len(next(iter(self.fields.values()), ()))

    def need(self, attribute: str) -> Any:
        """Returns a column.

        Raises:
            SamplingError: it wasn't read.
        """
        column = getattr(self, attribute)
        if column is None:
            raise SamplingError(f"the scored pool was read without {attribute}. Name its column in read_scored_pool().")
        return column

    def field(self, name: str) -> npt.NDArray[Any]:
        """Returns a field of the products, object `[n]`.

        Raises:
            SamplingError: it wasn't read.
        """
        if name not in self.fields:
            raise SamplingError(f"the scored pool was read without {name}. Name its column in read_scored_pool().")
        return self.fields[name]


_ATTRIBUTES = {
    PRODUCT_ID: "product_ids",
    SPLIT: "splits",
    GROUP: "groups",
    EMBEDDING: "embeddings",
    ANSWER_NODE: "answer_nodes",
    TITLE_KEY: "title_keys",
    DECISION: "decisions",
    ACCEPTED_NODE: "accepted_nodes",
    CONFIDENCE: "confidences",
}
_MATRICES = {
    EXCLUSIVE_NODES: np.object_,
    EXCLUSIVE_PROBABILITIES: np.float32,
    RULE_BASED_NODES: np.object_,
    RULE_BASED_PROBABILITIES: np.float32,
    COMMITTEE_NODES: np.object_,
    COMMITTEE_PROBABILITIES: np.float32,
    EMBEDDING: np.float32,
}
_OF_COMMITTEE = (COMMITTEE_NODES, COMMITTEE_PROBABILITIES)
_ATTRIBUTE_NAMES = tuple(item.name for item in fields(ScoredPool) if item.name not in ("manifest", "fields"))


def pool_files(folder: Path) -> list[Path]:
    """Returns the Parquet files of a scored pool, in order."""
    return sorted(folder.glob("scored-*.parquet"))


def write_pool_manifest(folder: Path, manifest: PoolManifest) -> None:
    """Writes `manifest.json`."""
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def read_pool_manifest(folder: Path) -> PoolManifest:
    """Reads `manifest.json`.

    Raises:
        SamplingError: it is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        return PoolManifest(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SamplingError(f"{path}: there is no such file, so {folder} isn't a scored pool. Run PoolScorer to its end.") from None
    except (ValueError, TypeError) as error:
        raise SamplingError(f"{path}: this isn't the manifest of a scored pool: {error}. Score the pool again.") from None


def read_scored_pool(folder: Path, columns: Sequence[str] | None = None) -> ScoredPool:
    """Reads whole columns of a scored pool, block by block, so that memory holds them once.

    Args:
        folder: of the artifact.
        columns: of `COLUMNS`; None reads all. A million products take 8 bytes a node and 4 a number, plus the strings.

    Raises:
        SamplingError: an unknown column, or a pool that is missing or damaged.
    """
    manifest, names = read_pool_manifest(folder), _checked(columns)
    num_products, found, texts = 0, _Columns(manifest.num_products), _Columns(manifest.num_products)
    for batch in _batches(folder, names, _BLOCK_PRODUCTS):
        block = _from_table(pa.Table.from_batches([batch]), manifest)
        if num_products + len(batch) <= manifest.num_products:
            found.add(num_products, {name: getattr(block, name) for name in _ATTRIBUTE_NAMES if getattr(block, name) is not None})
            texts.add(num_products, block.fields)
        num_products += len(batch)
    if num_products != manifest.num_products:
        raise SamplingError(f"{folder}: found {num_products} products, the manifest says {manifest.num_products}. Score the pool again.")
    if not num_products:
        return _from_table(SCHEMA.empty_table().select(names), manifest)
    return ScoredPool(manifest, **found.arrays, fields=texts.arrays)


class _Columns:
    """Arrays of a whole pool, filled block by block."""

    def __init__(self, num_products: int) -> None:
        self.arrays: dict[str, Any] = {}
        self._num_products = num_products

    def add(self, start: int, block: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, values in block.items():
            if name not in self.arrays:
                self.arrays[name] = np.empty((self._num_products, *values.shape[1:]), values.dtype)
            if values.shape[1:] != self.arrays[name].shape[1:]:
                raise SamplingError(f"column {name!r} of the scored pool has lists of different lengths. Score the pool again.")
            self.arrays[name][start : start + len(values)] = values


class StoredEmbeddings:
    """The embeddings of a pool on disk, read when they are asked for: a million of 256 numbers would fill a gigabyte.

    Whatever is asked for costs one pass over the column, so ask for all that is wanted at once.

    Args:
        folder: of the artifact.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._manifest = folder, read_pool_manifest(folder)

    def __len__(self) -> int:
        return self._manifest.num_products

    def __getitem__(self, rows: Any, /) -> npt.NDArray[np.float32]:
        """Returns float32 `[len(rows), dimension]`, in the order asked."""
        wanted = np.arange(len(self))[rows]
        ordered = np.unique(wanted)
        found = np.empty((len(ordered), self._manifest.embedding_dimension), np.float32)
        for start, block in self.blocks():
            first, last = np.searchsorted(ordered, [start, start + len(block)])
            found[first:last] = block[ordered[first:last] - start]
        taken: npt.NDArray[np.float32] = found[np.searchsorted(ordered, wanted)]
        return taken

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Yields the first row and the vectors of each block, in the order of the pool."""
        start = 0
        for batch in _batches(self._folder, [EMBEDDING], _BLOCK_PRODUCTS):
            block = _matrix(EMBEDDING, batch.column(0))
            yield start, block
            start += len(block)


def embedding_blocks(embeddings: Embeddings, block_products: int = _BLOCK_PRODUCTS) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yields the first row and the vectors of each block, in one pass, wherever the vectors are."""
    if isinstance(embeddings, StoredEmbeddings):
        yield from embeddings.blocks()
        return
    for start in range(0, len(embeddings), block_products):
        yield start, np.asarray(embeddings[start : start + block_products], np.float32)


def read_pool_rows(folder: Path, rows: Sequence[int], columns: Sequence[str] | None = None) -> ScoredPool:
    """Reads a few products only; the rest of the pool passes by in blocks and is never turned into objects.

    Args:
        folder: of the artifact.
        rows: row numbers in `read_scored_pool`, in any order; the result has the same order.
        columns: of `COLUMNS`; None reads all.

    Raises:
        SamplingError: as `read_scored_pool`, or a row that isn't there.
    """
    manifest, names = read_pool_manifest(folder), _checked(columns)
    wanted = np.asarray(rows, np.int64)
    ordered = np.sort(wanted)
    if len(ordered) and not 0 <= ordered[0] <= ordered[-1] < manifest.num_products:
        raise SamplingError(f"{folder}: rows {ordered[0]} to {ordered[-1]} aren't all in a pool of {manifest.num_products} products.")
    found, start = [SCHEMA.empty_table().select(names)], 0
    for batch in _batches(folder, names, _BLOCK_PRODUCTS):
        first, last = np.searchsorted(ordered, [start, start + batch.num_rows])
        found.append(pa.Table.from_batches([batch]).take(pa.array(ordered[first:last] - start)))
        start += batch.num_rows
    return _from_table(pa.concat_tables(found).take(pa.array(np.searchsorted(ordered, wanted))), manifest)


def iterate_scored_pool(folder: Path, columns: Sequence[str] | None = None, block_products: int = _BLOCK_PRODUCTS) -> Iterator[ScoredPool]:
    """Yields a scored pool block by block, in the order of `read_scored_pool`, so that memory stays flat.

    Args:
        folder: of the artifact.
        columns: of `COLUMNS`; None reads all.
        block_products: most products in a block.

    Raises:
        SamplingError: as `read_scored_pool`.
    """
    manifest, names = read_pool_manifest(folder), _checked(columns)
    for batch in _batches(folder, names, block_products):
        yield _from_table(pa.Table.from_batches([batch]), manifest)


def _batches(folder: Path, names: list[str], block_products: int) -> Iterator[pa.RecordBatch]:
    for path in pool_files(folder):
        try:
            with path.open("rb") as file:
                stored = pq.ParquetFile(file)
                _check_columns(path, names, stored.schema_arrow.names)
                yield from stored.iter_batches(batch_size=block_products, columns=names)
        except (OSError, pa.ArrowException) as error:
            raise SamplingError(f"{path}: the scored pool is damaged: {error}. Score the pool again.") from None


def _check_columns(path: Path, names: Sequence[str], stored: Sequence[str]) -> None:
    missing = [name for name in names if name not in stored]
    if missing:
        raise SamplingError(f"{path}: column {missing[0]!r} is missing: an earlier release scored this pool. Score the pool again.")


def _checked(columns: Sequence[str] | None) -> list[str]:
    names = list(COLUMNS if columns is None else columns)
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise SamplingError(f"column {unknown[0]!r} isn't in a scored pool. Known: {', '.join(COLUMNS)}.")
    return names


def _from_table(table: pa.Table, manifest: PoolManifest) -> ScoredPool:
    found: dict[str, Any] = {}
    texts: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks() if table.num_rows else pa.array([], table.schema.field(name).type)
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
        if name == PRICE:
            texts[name] = np.array(column.to_pylist(), dtype=object)
        elif name in TEXT_FIELDS:
            texts[name] = _shared_texts(column)
        else:
            values = _array(name, column)
            found[_ATTRIBUTES.get(name, name)] = _by_member(name, values, manifest) if name in _OF_COMMITTEE else values
    return ScoredPool(manifest, **found, fields=texts)


def _array(name: str, column: pa.Array) -> npt.NDArray[Any]:
    if name in _MATRICES:
        return _matrix(name, column)
    if name == RULE_IDS:
        lists = np.empty(len(column), dtype=object)
        lists[:] = column.to_pylist()
        return lists
    if name == ANSWERED:
        return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)
    if name in (EXCLUSIVE_ENTROPY, CONFIDENCE):
        return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)
    return _shared_texts(column)


def _matrix(name: str, column: pa.Array) -> npt.NDArray[Any]:
    """Returns a list column, whose lists are all equally long, as `[n, length]`."""
    values = column.flatten()
    width, rest = divmod(len(values), len(column)) if len(column) else (0, 0)
    if rest or column.null_count:
        raise SamplingError(f"column {name!r} of the scored pool has lists of different lengths. Score the pool again.")
    flat = _shared_texts(values) if _MATRICES[name] is np.object_ else values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return flat.reshape(len(column), width)


def _by_member(name: str, values: npt.NDArray[Any], manifest: PoolManifest) -> npt.NDArray[Any]:
    """Returns `[n, members * k]` as `[n, members, k]`; a pool without a committee has none of either."""
    members = max(1, manifest.committee)
    if values.shape[1] % members:
        raise SamplingError(f"column {name!r} holds {values.shape[1]} nodes a product for {members} members. Score the pool again.")
    return values.reshape(len(values), manifest.committee, values.shape[1] // members)


def _shared_texts(column: pa.Array) -> npt.NDArray[Any]:
    """Returns texts as objects; equal texts of a block are one object, so that a node id costs 8 bytes wherever it stands."""
    if not len(column):
        return np.empty(0, dtype=object)
    encoded = column.dictionary_encode()
    dictionary = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    codes = encoded.indices.fill_null(len(dictionary) - 1).to_numpy(zero_copy_only=False)
    texts: npt.NDArray[Any] = dictionary[codes]
    return texts
