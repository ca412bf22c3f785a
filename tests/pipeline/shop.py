"""Writes a tiny shop with a configuration: two feeds, a tree, rules and answers."""

from __future__ import annotations

from pathlib import Path

CONFIG = """\
run: {name: tiny}
networks:
  awin: {feeds: [feeds/*.csv], columns: {id: sku, title: name, brand: maker, price: price}}
  lines: {format: jsonl, feeds: [feeds/*.jsonl]}
taxonomy: {path: taxonomy.tsv}
rules: {path: rules.tsv}
labels: {events: [answers.jsonl]}
"""
FILES = {
    "aisle.yaml": CONFIG,
    "taxonomy.tsv": "id\tparent_id\tname\texclusive\ns\t\tShoes\t1\nk\ts\tSneakers\t1\nb\t\tBags\t1\n",
    "rules.tsv": "rule_id\tnode_id\tfield\tphrase\tveto\nr1\tk\ttitle\tsneaker\t0\nr2\ts\ttitle\tdoll\t1\nr3\tb\ttitle\tbag\t0\n",
    "feeds/a.csv": "sku,name,maker,price\na1,White sneaker Sneakers,Nordö,12.50\na2,Leather bag Bags,,\n"
    ',Black shoe,Nordö,1.00\na4,Doll with sneaker,"Toys, Inc",free\n',
    "feeds/b.jsonl": '{"id": "b1", "title": "Red shoes"}\n',
    "answers.jsonl": (
        '{"event_id": "e1", "answered_at_ms": 1, "labeller": "ann", "product_id": "a1", "kind": "is", "node_id": "k"}\n'
        '{"event_id": "e2", "answered_at_ms": 2, "labeller": "ann", "product_id": "a2", "kind": "skip"}\n'
    ),
}


def write_shop(folder: Path, **changed: str) -> Path:
    """Writes the shop and returns its configuration; `changed` has other contents by file name without its suffix."""
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed.get(path.stem, content), encoding="utf-8")
    return folder / "aisle.yaml"


def tree(folder: Path) -> dict[str, bytes | None]:
    """Returns every file below a folder with its content, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
