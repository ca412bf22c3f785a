"""Says what is fuzzed: for each kind of input small valid files, words of its format, and what a reader must keep to."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from components.example_records import encode_example
from components.feeds import parquet
from components.feeds.contract import FeedOptions
from components.feeds.parquet_process import limit, write_messages
from components.feeds.products import read_batches
from components.product_ingest import read_split
from components.rule_matching import RuleMatcher
from pipeline.commands.check import settings_in_force
from pipeline.inputs import check_training
from schemas.errors import AisleError
from schemas.features import load_features
from schemas.grouping import group_key
from schemas.label_event import events_sha256, read_label_events, standing_events
from schemas.product import FIELDS, GROUP
from schemas.rules import load_rules
from schemas.settings import NetworkSettings
from schemas.settings_loader import load_settings, setting_places
from schemas.taxonomy import Node, Taxonomy, load_taxonomy, write_taxonomy
from stores.label_events import new_events

TREE = Taxonomy([Node("s", "", "Shoes", True), Node("k", "s", "Sneakers", True), Node("b", "", "Bags", True)])
DENSE = {"vector": 2}


@dataclass(frozen=True)
class Target:
    """One kind of input. `read` returns what was made of a file, and raises nothing but an AisleError."""

    name: str
    seeds: Sequence[bytes]
    tokens: Sequence[bytes]
    read: Callable[[Path], object]
    suffix: str = ""


def read_feed(format: str, **changes: object) -> Callable[[Path], int]:
    """Returns a function that reads a feed as a run does; every row must be a product or refused with a reason."""
    settings = NetworkSettings(format=format, **changes)  # type: ignore[arg-type]

    def read(path: Path) -> int:
        rows = 0
        for batch in read_batches("net", settings, path, 100, DENSE):
            assert batch.rows == len(batch.products) + len(batch.refused)
            numbers = sorted([*batch.row_numbers, *(row.row for row in batch.refused)])
            assert numbers == list(range(rows + 1, rows + batch.rows + 1)), "every row is there, once"
            rows += batch.rows
            for refused in batch.refused:
                assert refused.field and refused.expected
                json.dumps(refused._asdict(), ensure_ascii=False).encode()
            for product in batch.products:
                product[GROUP] = group_key(product)
                assert encode_example(product, (*FIELDS, GROUP, *DENSE))
        return rows

    return read


class _Forked:
    """Stands for the process that reads Parquet: the same code in a fork, because starting a program 10,000 times takes hours."""

    def __init__(self, file: int, options: FeedOptions) -> None:
        readable, writable = os.pipe()
        self._child = os.fork()
        if not self._child:
            try:
                os.close(readable)
                limit(os.fstat(file).st_size)
                with os.fdopen(file, "rb", closefd=False) as source, os.fdopen(writable, "wb") as out:
                    write_messages(source, out, list(options.columns), list(options.optional))
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writable)
        self.stdout = os.fdopen(readable, "rb")
        self._code: int | None = None

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        return self._code


@contextmanager
def _forked(file: int, options: FeedOptions) -> Iterator[_Forked]:
    child = _Forked(file, options)
    try:
        yield child
    finally:
        child.stdout.close()
        if child._code is None:
            os.kill(child._child, signal.SIGKILL)
            child.wait()


def read_parquet_feed(path: Path) -> int:
    """Reads a Parquet feed as a run does, in a fork in place of a program."""
    with mock.patch.object(parquet, "_process", _forked):
        return read_feed("parquet")(path)


def _taxonomy(path: Path) -> int:
    tree = load_taxonomy(path)
    assert [tree.chain(node.id)[-1] for node in tree] == list(range(len(tree)))
    again = path.with_suffix(".again.tsv")
    write_taxonomy(again, tree)
    assert load_taxonomy(again).sha256 == tree.sha256
    return len(tree)


def _rules(path: Path) -> int:
    matcher = RuleMatcher(load_rules(path, TREE), TREE)
    matcher.match({"title": "White café sneaker 42", "brand": "Nordö", "category": "Shoes > Sneakers"})
    return len(matcher.rules)


def _labels(path: Path) -> int:
    events = new_events(read_label_events(path), lambda event_id: None)[0]
    standing_events(events)
    events_sha256(events)
    return len(events)


def _config(path: Path) -> int:
    settings = load_settings(path)
    check_training(settings)
    rows = list(settings_in_force(settings, setting_places(path)))
    json.dumps(rows)
    return len(rows)


def _parquet(rows: list[dict[str, object]], **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=3, **options)
    return sink.getvalue()


_ROWS: list[dict[str, object]] = [
    {"id": str(number), "title": f"Café Sneaker {number} & Co", "brand": "Nordö", "category": "Shoes > Sneakers",
     "description": "<p>white</p>", "price": "12.50", "size": "42 EU", "image": "images/1.jpg", "vector": [0.5, 1.0]}
    for number in range(6)
]  # fmt: skip
_CSV = (
    "id,title,brand,price\n" + "".join(f'{row["id"]},"{row["title"]}","Toys, ""Inc""",12.5\n' for row in _ROWS) + '7,"two\nlines",x,1\n'
).encode()
_TSV = _CSV.replace(b",", b"\t")
_JSONL = "\n".join(json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(_ROWS)).encode()
_XML = (
    '<?xml version="1.0" encoding="UTF-8"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>'
    + "".join(f"<item><g:id>{n}</g:id><title>Café &amp; {n}&nbsp;</title><g:price>9.50 EUR</g:price></item>" for n in range(5))
    + "<item><g:id>9</g:id><g:shipping><g:price>1</g:price></g:shipping><title><![CDATA[<b>x</b>]]></title></item></channel></rss>"
).encode()
_ATOM = b"<feed><!-- none --><entry a='1'><id>1</id><title>A</title></entry><entry><id>2</id><title>B</title></entry></feed>"
_ONE_OF_EACH = [
    {"id": number, "title": ["a", "b"], "brand": {"x": 1}, "size": 4.5, "price": None if number else 1.5, "description": b"\xff\xfe"}
    for number in range(4)
]
_PARQUETS = (
    _parquet(_ROWS),
    _parquet(_ROWS, use_dictionary=False, compression="gzip"),
    _parquet(_ONE_OF_EACH, compression="zstd"),
    _parquet([{"id": "1", "title": "a"}] * 50, compression="none"),
)
_TAXONOMY = (
    b"id\tparent_id\tname\texclusive\tsynonyms\treplaced_by\ns\t\tShoes\t0\tBoots|Clogs\t\n"
    b"k\ts\tSneakers\t1\t\t\no\ts\tOld\t0\t\tk\nb\t\tBags\t1\t\t\n"
)
_PATHS = b"# Google_Product_Taxonomy\n1 - Animals\n3237 - Animals > Live Animals\nApparel > Shoes > Sneakers\nApparel > Bags\n"
_RULES = (
    b"rule_id\tnode_id\tfield\tphrase\tregex\tveto\tnote\tauthor\nr1\tk\ttitle\tsneaker\t\t0\t\tann\n"
    b"r2\ts\tbrand\t\t^nord(.|o)+$\t\t\t\nr3\tb\tcategory\tdoll\t\t1\tx\tbob\nr4\ts\ttitle\t\t(a|b){2,9}\\d+[[:alpha:]]?\t\t\t\n"
)
_RULES_YAML = (
    b"- {rule_id: r1, node_id: k, field: title, phrase: sneaker}\n- rule_id: r2\n  node_id: s\n  field: brand\n  regex: '^nord(.|o)+$'\n"
    b"- {rule_id: r3, node_id: b, field: category, phrase: &doll doll, veto: yes, author: *doll}\n"
    b"- rule_id: r4\n  node_id: b\n  field: title\n  phrase: bag\n  note: >-\n    long\n    text\n"
)
_LABELS = b"".join(
    json.dumps(row).encode() + b"\n"
    for row in (
        {"event_id": "e1", "answered_at_ms": 1000, "labeller": "ann", "product_id": "p1", "kind": "is", "node_id": "k", "group": "g"},
        {"event_id": "e2", "answered_at_ms": 2000, "labeller": "bob", "product_id": "p1", "kind": "is", "node_id": "b", "duration_ms": 9},
        {"event_id": "e3", "answered_at_ms": 3000, "labeller": "bob", "product_id": "p1", "kind": "retract", "retracts": "e2"},
        {"event_id": "e4", "answered_at_ms": 4000, "labeller": "ann", "product_id": "p2", "kind": "skip", "shown": {"top": [1, {"a": 2}]}},
    )
)
_CONFIG = b"""run: {name: tiny, seed: 7, cache: true}
networks:
  awin: &awin {format: csv, feeds: [feeds/*.csv.gz], encoding: latin-1, delimiter: ";", columns: {id: sku, title: name}, decimal_comma: yes}
  other:
    format: jsonl
    constants: {shop: 0501}
taxonomy: {path: taxonomy.tsv}
labels: {events: [answers.jsonl, more.jsonl], store: ":root/x.sqlite"}
ingest: {test_share: 0.2, batch_rows: 500}
model: {family: linear, parameters: {learning_rate: 0.01, refit: false}}
phases:
  - {epochs: 2, rule_based: 1.0, exclusive: 0.0}
tuner: {space: {embedding_size: [64, 128]}}
"""
_FEATURES = Path(__file__).parents[2].joinpath("schemas/default_features.yaml").read_bytes()
_JSON_TOKENS = (
    b'{"id": 1}',
    b"[" * 3000,
    b'{"a":' * 500,
    b'"id":',
    b'"title":',
    b"1E400",
    b"-0",
    b'"\\ud83d"',
    b'{"id": NaN, "title": "x"}',
)
_XML_TOKENS = (
    b"<item>", b"</item>", b"<entry>", b"<item/>", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?x ?>", b"&#0;", b"&#x110000;", b"&nbsp;",
    b"&lol;", b"<!DOCTYPE r [<!ENTITY a 'aaa'>]>", b"<!DOCTYPE r SYSTEM 'file:///etc/passwd'>",
    b"<!DOCTYPE r [<!ATTLIST item a CDATA 'x'>]>", b"<a>" * 500, b'<?xml version="1.0" encoding="utf-16"?>',
    b'<?xml version="1.0" encoding="shift_jis"?>', b'encoding="idna"', b"xmlns:g=''", "<é>".encode(), b"</channel>", b"</rss>",
    b" a='1'" * 300,
)  # fmt: skip
_YAML_TOKENS = (
    b"&a ", b"*a", b"<<: *a", b"!!python/object:os.system x", b"!!binary YQ==", b"!!timestamp 2020-13-45", b"2020-01-01", b"!!set {a}",
    b"? [a]\n: b", b"{" * 400, b"[" * 400, b"- " * 400, b"0x" + b"F" * 5000, b"1:" * 2000, b".inf", b".nan", b"~", b"%YAML 9.9\n",
    b"---\n", b"...", b"|\n", b">-\n", b"!!int 'x'", b"!!float 'x'", b"\\0", b'"\\0"', b"seed: 1e3", b"run: x", b"networks: []",
    b"phases: [1]", b":prefix/:nope", b"epochs: 10s", b"name: ",
)  # fmt: skip
_RULE_TOKENS = (
    b"(a+)+$", b"(?=x)", b"(?P<n>a)", b"\\1", b"a{1000}", b"((a{100}){100}){100}", b"[", b"(", b"\\C", b"(?i)", b"\\pN{900}", b"title",
    b"price", b"r1", b"zz", b"*", b"x{2,1}", b"\\Q", b"(?:" * 300, b"rule_id\t", b"regex", b"field: title", b"veto: 1", b"rule_id: r1",
)  # fmt: skip
_TREE_TOKENS = (
    b" > ",
    b">" * 200,
    b"a > " * 100,
    b"s\t\tShoes\t1\n",
    b"a\ta\tA\t1\n",
    b"b\ts\tB\t1\n",
    b"\t",
    b"id\t",
    b"123 - ",
    b"#",
    b"perhaps",
)
_LABEL_TOKENS = (
    *_JSON_TOKENS,
    b'"kind": "retract", "retracts": "e1"',
    b'"kind": "under"',
    b'"answered_at_ms": 99999999999999999',
    b'"shown": {}',
)
_GZIP_TOKENS = (b"\x1f\x8b\x08", gzip.compress(b"id,title\n1,a\n"), b"\x00" * 8, gzip.compress(b""))


def _packed(name: str, seed: bytes, read: Callable[[Path], object]) -> Target:
    return Target(f"{name} packed", (gzip.compress(seed), gzip.compress(seed) + gzip.compress(seed, 0)), _GZIP_TOKENS, read)


def _split(path: Path) -> int:
    return len(read_split(str(path)))


def _features(path: Path) -> int:
    return len(list(load_features(path)))


TARGETS = (
    Target("csv", (_CSV, _CSV.replace(b"\n", b"\r\n")), (b'""', b'","', b'a","\n', b"id,title", b'"\n"'), read_feed("csv")),
    Target("csv of another encoding", (_CSV.decode().encode("utf-16"),), (b'"\0', b",\0"), read_feed("csv", encoding="utf-16")),
    Target("tsv", (_TSV,), (b'\t"', b"\t\t", b"id\ttitle"), read_feed("tsv")),
    Target("jsonl", (_JSONL,), _JSON_TOKENS, read_feed("jsonl")),
    Target("google_xml", (_XML, _ATOM), _XML_TOKENS, read_feed("google_xml")),
    Target(
        "google_xml of another encoding",
        (_XML.decode().replace("UTF-8", "UTF-16").encode("utf-16"),),
        (b"<\0", b"&\0"),
        read_feed("google_xml"),
    ),
    Target("parquet", _PARQUETS, (b"PAR1", b"\x15\x02", b"\xff\xff\xff\x7f", b"ARROW:schema"), read_parquet_feed),
    _packed("csv", _CSV, read_feed("csv")),
    _packed("jsonl", _JSONL, read_feed("jsonl")),
    _packed("google_xml", _XML, read_feed("google_xml")),
    _packed("parquet", _PARQUETS[0], read_parquet_feed),
    Target("split", (b"product_id\tnode_id\tsplit\n1\tn\tdev\n2\tn\ttest\n",), (b"dev", b"test", b"\t"), _split, ".tsv"),
    Target("taxonomy", (_TAXONOMY,), _TREE_TOKENS, _taxonomy, ".tsv"),
    Target("taxonomy of paths", (_PATHS,), _TREE_TOKENS, _taxonomy, ".txt"),
    Target("rules", (_RULES,), _RULE_TOKENS, _rules, ".tsv"),
    Target("rules in yaml", (_RULES_YAML,), (*_YAML_TOKENS, *_RULE_TOKENS), _rules, ".yaml"),
    Target("label events", (_LABELS,), _LABEL_TOKENS, _labels, ".jsonl"),
    Target("configuration", (_CONFIG,), _YAML_TOKENS, _config, ".yaml"),
    Target("feature config", (_FEATURES,), _YAML_TOKENS, _features, ".yaml"),
)


def outcome(target: Target, content: bytes, folder: Path) -> str:
    """Reads one input and returns `used` or `refused`.

    Raises:
        Exception: whatever the reader raised that isn't an AisleError of one line: a bug.
    """
    path = folder / f"input{target.suffix}"
    path.write_bytes(content)
    try:
        target.read(path)
    except AisleError as error:
        assert str(error).isprintable(), f"an error is one line: {error!r}"
        assert str(path.name) in str(error) or "event " in str(error) or "rule " in str(error) or target.suffix == ".yaml", str(error)
        return "refused"
    return "used"
