"""Reads the demo's outline into a taxonomy, with the words, part-of-shop words and kind of size of each node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from pipeline.demo.outline import OUTLINE
from schemas.taxonomy import Node, Taxonomy

_INDENT = 2


@dataclass(frozen=True)
class CategoryWords:
    """What people call the products of one node. `words` is empty at a node that is no final answer."""

    words: tuple[str, ...]
    german: str
    swedish: str
    branch_words: tuple[str, ...]
    size_kind: str


@dataclass(frozen=True)
class DemoTree:
    """The demo's taxonomy and what is said about each of its nodes."""

    taxonomy: Taxonomy
    words: dict[str, CategoryWords]

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The ids that may be a final answer, in tree order."""
        return tuple(self.taxonomy.exclusive_ids)

    @cached_property
    def roots(self) -> tuple[Node, ...]:
        """The nodes at depth 1, in tree order."""
        return tuple(node for node in self.taxonomy if not node.parent_id)

    def chain(self, node_id: str) -> list[str]:
        """Returns the ids from the root down to the node."""
        return [self.taxonomy[i].id for i in self.taxonomy.chain(node_id)]

    def root(self, node_id: str) -> str:
        """Returns the id of the root above a node."""
        return self.chain(node_id)[0]

    def leaves_below(self, node_id: str) -> list[str]:
        """Returns the ids in a node's subtree that may be a final answer, in tree order."""
        return [self.taxonomy[i].id for i in self.taxonomy.subtree(node_id) if self.taxonomy[i].exclusive]


@dataclass
class _Entry:
    depth: int
    name: str
    words: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    branch_words: list[str] = field(default_factory=list)
    size_kind: str = ""


@lru_cache(maxsize=1)
def demo_tree() -> DemoTree:
    """Returns the demo's tree; the same for every seed."""
    nodes: list[Node] = []
    words: dict[str, CategoryWords] = {}
    above: list[tuple[str, CategoryWords]] = []
    for number, entry in enumerate(_entries(OUTLINE), 1):
        del above[entry.depth :]
        parent_id, inherited = above[-1] if above else ("", CategoryWords((), "", "", (), "none"))
        node_id = f"n{number:03d}"
        said = _category_words(entry, inherited)
        nodes.append(Node(node_id, parent_id, entry.name, bool(entry.words), entry.synonyms))
        words[node_id] = said
        above.append((node_id, said))
    return DemoTree(Taxonomy(nodes, "demo outline"), words)


def _category_words(entry: _Entry, inherited: CategoryWords) -> CategoryWords:
    german, swedish = entry.foreign if entry.foreign else ("", "")
    return CategoryWords(
        words=entry.words,
        german=german,
        swedish=swedish,
        branch_words=inherited.branch_words[-10:] + tuple(entry.branch_words),
        size_kind=entry.size_kind or inherited.size_kind,
    )


def _entries(outline: str) -> Iterator[_Entry]:
    current: _Entry | None = None
    for line in outline.strip("\n").splitlines():
        text = line.strip()
        if current is not None and text.startswith("~"):
            current.branch_words.extend(_listed(text[1:]))
        elif current is not None and text.startswith("#"):
            current.size_kind = text[1:].strip()
        else:
            if current is not None:
                yield current
            current = _entry((len(line) - len(text)) // _INDENT, text)
    if current is not None:
        yield current


def _entry(depth: int, text: str) -> _Entry:
    name, words, foreign, synonyms = ([part.strip() for part in text.split("|")] + ["", "", ""])[:4]
    return _Entry(depth, name, _listed(words), _listed(foreign), _listed(synonyms))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
