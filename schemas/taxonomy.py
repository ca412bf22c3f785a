"""Holds the shop's category tree in tree order, where every subtree is a contiguous range."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import TaxonomyError
from schemas.text import fold, split_lines
from schemas.text_files import read_text_file

# Bounds no shop's tree comes near; a depth is a column of every example's labels, so depth costs everybody.
MAX_NODES = 1_000_000
MAX_DEPTH = 64
MAX_ID_LENGTH = 200
MAX_NAME_LENGTH = 1_000
_MAX_BYTES = 256 << 20
_COLUMNS = ("id", "parent_id", "name", "exclusive")
_TRUE = {"1", "true", "yes"}
_FALSE = {"0", "false", "no", ""}
PATH_SEPARATOR = " > "


@dataclass(frozen=True)
class Node:
    """One category. `parent_id` is empty at a root; `exclusive` nodes may be a final answer."""

    id: str
    parent_id: str
    name: str
    exclusive: bool
    synonyms: tuple[str, ...] = ()
    replaced_by: str = ""


class Taxonomy:
    """The nodes, depth first, children in the order of the file: `taxonomy[i]` is node number i.

    >>> tree = Taxonomy([Node("s", "", "Shoes", True), Node("b", "", "Bags", True), Node("k", "s", "Sneakers", True)])
    >>> [node.name for node in tree], tree.subtree("s"), tree.path("k")
    (['Shoes', 'Sneakers', 'Bags'], range(0, 2), 'Shoes > Sneakers')

    Args:
        nodes: in any order; children keep theirs.
        source: what errors call it, such as the file.
        rows: for errors, where in the source each node is written.

    Raises:
        TaxonomyError: a duplicate id, an orphan, a cycle, a node deeper than `MAX_DEPTH`, or no exclusive node at all.
    """

    def __init__(self, nodes: Iterable[Node], source: str = "taxonomy", rows: Sequence[int] = ()) -> None:
        given = list(nodes)
        by_id = _by_id(given, source, rows)
        self._nodes = _depth_first(given, by_id, source, rows)
        self._index = {node.id: i for i, node in enumerate(self._nodes)}
        self.parents: list[int] = [self._index[n.parent_id] if n.parent_id else -1 for n in self._nodes]
        self.depths: list[int] = []
        for parent in self.parents:
            self.depths.append(1 if parent < 0 else self.depths[parent] + 1)
        _check_depth(self, source)
        self._ends = _subtree_ends(self.parents)
        self.exclusive: list[int] = [i for i, node in enumerate(self._nodes) if node.exclusive]
        if not self.exclusive:
            raise TaxonomyError(f"{source}: no node is exclusive, so nothing could be answered. Set exclusive to 1 at the leaves.")

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, index: int) -> Node:
        return self._nodes[index]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._index

    @property
    def ids(self) -> list[str]:
        """Every node id, in tree order."""
        return [node.id for node in self._nodes]

    @property
    def exclusive_ids(self) -> list[str]:
        """The ids that may be a final answer, in tree order: class k of the exclusive head is the k-th."""
        return [self._nodes[i].id for i in self.exclusive]

    def index(self, node_id: str) -> int:
        """Returns the number of a node in tree order.

        Raises:
            TaxonomyError: no node has this id.
        """
        try:
            return self._index[node_id]
        except KeyError:
            raise TaxonomyError(f"node {node_id!r} isn't in the taxonomy of {len(self)} nodes. Use one of its ids.") from None

    def node(self, node_id: str) -> Node:
        """Returns the node with this id."""
        return self._nodes[self.index(node_id)]

    def resolve(self, node_id: str) -> str:
        """Returns the id of the node that stands for this one today: `replaced_by`, followed to its end.

        Stops before a replacement that isn't in the tree; an id that isn't in the tree comes back as it is.

        >>> tree = Taxonomy([Node("old", "", "Trainers", False, replaced_by="new"), Node("new", "", "Sneakers", True)])
        >>> tree.resolve("old"), tree.resolve("new"), tree.resolve("gone")
        ('new', 'new', 'gone')
        """
        seen = {node_id}
        while node_id in self._index:
            following = self._nodes[self._index[node_id]].replaced_by
            if following not in self._index or following in seen:
                break
            seen.add(following)
            node_id = following
        return node_id

    def subtree(self, node_id: str) -> range:
        """Returns the numbers of a node and all its descendants."""
        start = self.index(node_id)
        return range(start, self._ends[start])

    @property
    def subtree_ends(self) -> list[int]:
        """For node number i, one past the last number of its subtree."""
        return list(self._ends)

    def chain(self, node_id: str) -> list[int]:
        """Returns the numbers from the root down to the node itself."""
        found, at = [], self.index(node_id)
        while at >= 0:
            found.append(at)
            at = self.parents[at]
        return found[::-1]

    def closure(self, node_ids: Iterable[str]) -> list[int]:
        """Returns the sorted numbers of the nodes and all their ancestors."""
        found: set[int] = set()
        for node_id in node_ids:
            at = self.index(node_id)
            while at >= 0 and at not in found:
                found.add(at)
                at = self.parents[at]
        return sorted(found)

    def depth(self, node_id: str) -> int:
        """Returns 1 at a root."""
        return self.depths[self.index(node_id)]

    def path(self, node_id: str) -> str:
        """Returns the names from the root to the node, joined by ` > `."""
        return PATH_SEPARATOR.join(self._nodes[i].name for i in self.chain(node_id))

    @property
    def sha256(self) -> str:
        """A digest of the content, the same for any order of rows that gives the same tree order."""
        digest = hashlib.sha256()
        for node in self._nodes:
            digest.update(repr((node.id, node.parent_id, node.name, node.exclusive, node.synonyms, node.replaced_by)).encode())
        return digest.hexdigest()


def _place(source: str, rows: Sequence[int], number: int) -> str:
    return f"{source}:{rows[number]}" if number < len(rows) else source


def _by_id(nodes: Sequence[Node], source: str, rows: Sequence[int]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for number, node in enumerate(nodes):
        if node.id in found:
            raise TaxonomyError(
                f"{_place(source, rows, number)}: id {node.id!r} is used by {found[node.id].name!r} and by {node.name!r}. "
                "Give each node its own id."
            )
        found[node.id] = node
    for number, node in enumerate(nodes):
        if node.parent_id and node.parent_id not in found:
            raise TaxonomyError(
                f"{_place(source, rows, number)}: node {node.id!r} names parent {node.parent_id!r}, which isn't there. "
                "Add it or leave parent_id empty."
            )
    return found


def _check_depth(taxonomy: Taxonomy, source: str) -> None:
    deepest = max(range(len(taxonomy)), key=taxonomy.depths.__getitem__, default=-1)
    if deepest >= 0 and taxonomy.depths[deepest] > MAX_DEPTH:
        raise TaxonomyError(
            f"{source}: node {taxonomy[deepest].id!r} is at depth {taxonomy.depths[deepest]:,}; at most {MAX_DEPTH} are read. "
            "Check parent_id: a tree of products is seldom deeper than 8."
        )


def _depth_first(nodes: Sequence[Node], by_id: Mapping[str, Node], source: str, rows: Sequence[int]) -> list[Node]:
    children: dict[str, list[Node]] = {}
    for node in nodes:
        children.setdefault(node.parent_id, []).append(node)
    ordered: list[Node] = []
    stack = children.get("", [])[::-1]
    while stack:
        node = stack.pop()
        ordered.append(node)
        stack.extend(reversed(children.get(node.id, [])))
    if len(ordered) < len(nodes):
        reached = {node.id for node in ordered}
        cycle = _cycle(next(node for node in nodes if node.id not in reached), by_id)
        number = next(number for number, node in enumerate(nodes) if node.id == cycle[0])
        raise TaxonomyError(
            f"{_place(source, rows, number)}: node {cycle[0]!r} is its own ancestor: {' -> '.join(cycle[:10])}. "
            "Break the cycle by naming another parent."
        )
    return ordered


def _cycle(node: Node, by_id: Mapping[str, Node]) -> list[str]:
    """Returns the ids of the cycle that a node is in or below, the first one again at the end."""
    seen: dict[str, None] = {}
    while node.id not in seen:
        seen[node.id] = None
        node = by_id[node.parent_id]
    way = list(seen)
    return [*way[way.index(node.id) :], node.id]


def _subtree_ends(parents: Sequence[int]) -> list[int]:
    ends = list(range(1, len(parents) + 1))
    for i in range(len(parents) - 1, -1, -1):
        if parents[i] >= 0:
            ends[parents[i]] = max(ends[parents[i]], ends[i])
    return ends


def load_taxonomy(path: Path) -> Taxonomy:
    """Reads a taxonomy: TSV with the columns id, parent_id, name, exclusive (synonyms, replaced_by), or a list of paths.

    A list of paths has one `A > B > C` a line, as Google publishes; a leading `# comment` or `123 - ` id is understood.

    Raises:
        TaxonomyError: the file is missing, too large, isn't UTF-8, lacks a column, or isn't a tree. Names file and row.
    """
    text = read_text_file(path, "taxonomy", "Set taxonomy.path", TaxonomyError, _MAX_BYTES)
    lines = split_lines(text)
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    if not first:
        raise TaxonomyError(f"{path}: the file is empty. Expected the columns {', '.join(_COLUMNS)}, or one path a line.")
    nodes, rows = [], []
    for row, node in _read_table(lines, path) if "\t" in first else _read_paths(lines, path):
        _check_node(node, f"{path}:{row}")
        nodes.append(node)
        rows.append(row)
        if len(nodes) > MAX_NODES:
            raise TaxonomyError(f"{path}:{row}: more than {MAX_NODES:,} nodes aren't read. Leave out categories nobody sells in.")
    return Taxonomy(nodes, str(path), rows)


def _check_node(node: Node, place: str) -> None:
    for name, value, most in (("id", node.id, MAX_ID_LENGTH), ("name", node.name, MAX_NAME_LENGTH)):
        if len(value) > most:
            raise TaxonomyError(f"{place}: {name} {value[:60]!r}... has {len(value):,} characters, at most {most:,} are read. Shorten it.")


def _read_table(lines: Sequence[str], path: Path) -> Iterator[tuple[int, Node]]:
    """Yields each node with the row it is in."""
    reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        columns = reader.fieldnames or ()
        missing = [column for column in _COLUMNS if column not in columns]
        if missing:
            raise TaxonomyError(f"{path}:1: column {missing[0]!r} is missing. Found {reader.fieldnames}; expected {', '.join(_COLUMNS)}.")
        twice = next((column for column in (*_COLUMNS, "synonyms", "replaced_by") if columns.count(column) > 1), "")
        if twice:
            raise TaxonomyError(f"{path}:1: column {twice!r} is there twice. Rename one of them.")
        for row in reader:
            yield reader.line_num, _node(row, f"{path}:{reader.line_num}")
    except csv.Error as error:
        raise TaxonomyError(f"{path}:{reader.reader.line_num}: this isn't a table: {error}. Expected tab-separated text.") from None


def _node(row: Mapping[str | None, Any], place: str) -> Node:
    node_id, name = (row["id"] or "").strip(), (row["name"] or "").strip()
    flag = (row["exclusive"] or "").strip().lower()
    if not node_id or not name:
        raise TaxonomyError(f"{place}: id {node_id!r} and name {name!r} must both be filled.")
    if flag not in _TRUE | _FALSE:
        raise TaxonomyError(f"{place}: exclusive {flag[:60]!r} isn't 0 or 1.")
    if any(row.get(None) or ()):
        raise TaxonomyError(f"{place}: found {len(row[None])} more cells than columns. Remove the surplus tabs.")
    return Node(
        id=node_id,
        parent_id=(row["parent_id"] or "").strip(),
        name=name,
        exclusive=flag in _TRUE,
        synonyms=tuple(part.strip() for part in (row.get("synonyms") or "").split("|") if part.strip()),
        replaced_by=(row.get("replaced_by") or "").strip(),
    )


def _read_paths(lines: Sequence[str], path: Path) -> Iterator[tuple[int, Node]]:
    """Yields each node with the row it is first named in."""
    rows: dict[tuple[str, ...], int] = {}
    leaves: set[tuple[str, ...]] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        names = _names(line, f"{path}:{number}")
        for depth in range(1, len(names) + 1):
            prefix = names[:depth]
            if prefix not in rows:
                rows[prefix] = number
                leaves.add(prefix)
            leaves.discard(prefix[:-1])
    for names, number in rows.items():
        yield number, Node(_path_id(names), _path_id(names[:-1]) if names[:-1] else "", names[-1], names in leaves)


def _names(line: str, place: str) -> tuple[str, ...]:
    if "\t" in line or "\0" in line:
        raise TaxonomyError(
            f"{place}: the path {line[:60]!r} holds a tab or a NUL. Is this a table? Then its first line names the columns."
        )
    head, dash, tail = line.partition(" - ")
    names = tuple(part.strip() for part in (tail if dash and head.strip().isdigit() else line).split(">", MAX_DEPTH))
    if not all(names):
        raise TaxonomyError(f"{place}: the path {line[:60]!r} has an empty name. Write A > B > C.")
    if len(names) > MAX_DEPTH:
        raise TaxonomyError(f"{place}: the path {line[:60]!r}... has more than {MAX_DEPTH} levels. Write A > B > C, one path a line.")
    return names


def _path_id(names: Sequence[str]) -> str:
    words = "-".join(fold(names[-1]).split())[:40] or "node"
    return f"{words}-{hashlib.sha256(PATH_SEPARATOR.join(names).encode()).hexdigest()[:8]}"


def write_taxonomy(path: Path, taxonomy: Taxonomy) -> None:
    """Writes the TSV that `load_taxonomy` reads, in tree order."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join([*_COLUMNS, "synonyms", "replaced_by"]) + "\n")
        for node in taxonomy:
            row = [node.id, node.parent_id, node.name, str(int(node.exclusive)), "|".join(node.synonyms), node.replaced_by]
            file.write("\t".join(value.replace("\t", " ") for value in row) + "\n")


def node_fingerprint(node_id: str) -> int:
    """Returns a number in [1, 2**62) that stands for a node id in every taxonomy; 0 is left for padding."""
    return int.from_bytes(hashlib.sha256(node_id.encode()).digest()[:8], "big") % (2**62 - 1) + 1
