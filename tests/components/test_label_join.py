"""Runs the snapshots and LabelJoin in a real TFX pipeline."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts

from components.artifacts import LabelSnapshot, RuleReport, RuleSnapshot, TaxonomySnapshot
from components.example_rewriting import rewrite_tasks
from components.frozen_events import frozen_events
from components.label_join import LabelJoin
from components.snapshots import LabelSnapshotGen, RuleSnapshotGen, TaxonomySnapshotGen
from schemas.errors import CatalogueError, LabelError, RuleError, SettingsError
from schemas.label_event import LabelEvent, events_sha256, write_label_events
from stores.sqlite_label_events import SqliteLabelEventStore
from tests.support.example_source import ExampleSource, example_folder

TAXONOMY = "id\tparent_id\tname\texclusive\nshoes\t\tShoes\t0\nboots\tshoes\tBoots\t1\nbags\t\tBags\t1\n"
RULES = (
    "rule_id\tnode_id\tfield\tphrase\tregex\tveto\nr1\tboots\ttitle\tboot\t\t0\nr2\tbags\ttitle\t\tbags?\t0\nno\tboots\tbrand\tdolls\t\t1\n"
)
EVENTS = [
    LabelEvent("e1", 1, "ann", "dev0", "is", "boots", group="g0"), LabelEvent("e2", 2, "ann", "test0", "is", "bags"),
    LabelEvent("e3", 3, "ann", "gone", "is", "bags"), LabelEvent("e4", 4, "ann", "dev1", "is", "shoes"),
    LabelEvent("e5", 5, "ann", "dev4", "is", "bags", group="g2"),
]  # fmt: skip


def write_examples(path, rows):
    with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
        for row in rows:
            made = tf.train.Example()
            for name, value in row.items():
                made.features.feature[name].bytes_list.value.append(value.encode())
            writer.write(made.SerializeToString())


def read_examples(path):
    for record in tf.data.TFRecordDataset([str(path)], compression_type="GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        yield {name: [v.decode() for v in f.bytes_list.value] or list(f.int64_list.value) for name, f in features.items()}


def product(split, i):
    titles = ("Red Boot", "Bag for boots", "Handbag", "Boot bag")
    row = {"id": f"{split}{i}", "title": titles[i % 4], "group": f"g{i // 2}"}
    return {**row, "brand": "Dolls"} if i == 3 else row


@pytest.fixture
def inputs(tmp_path):
    folder = example_folder(tmp_path)
    write_examples(folder / "Split-dev" / "examples-00000-of-00002.gz", [product("dev", i) for i in range(4)])
    write_examples(folder / "Split-dev" / "examples-00001-of-00002.gz", [product("dev", i) for i in range(4, 700)])
    write_examples(folder / "Split-test" / "examples-00000-of-00001.gz", [product("test", i) for i in range(4)])
    (tmp_path / "taxonomy.tsv").write_text(TAXONOMY)
    (tmp_path / "rules.tsv").write_text(RULES)
    with SqliteLabelEventStore(tmp_path / "labels.sqlite") as store:
        store.append(EVENTS[:3])
    write_label_events(tmp_path / "more.jsonl", EVENTS[1:])
    return tmp_path


def run_pipeline(root, code="1"):
    examples = ExampleSource(folder=str(root / "examples"))
    taxonomy = TaxonomySnapshotGen(path=str(root / "taxonomy.tsv"), sha256="t", code=code)
    rules = RuleSnapshotGen(taxonomy=taxonomy.outputs["taxonomy"], path=str(root / "rules.tsv"), sha256="r", code=code)
    events = json.dumps([str(root / "more.jsonl")])
    labels = LabelSnapshotGen(events=events, store=str(root / "labels.sqlite"), sha256="l", code=code)
    join = LabelJoin(examples.outputs["examples"], taxonomy.outputs["taxonomy"], rules.outputs["rules"], labels.outputs["labels"], code)
    connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    LocalDagRunner().run(
        pipeline.Pipeline(
            "labels", str(root / "runs"), components=[examples, taxonomy, rules, labels, join], metadata_connection_config=connection
        )
    )
    return connection


def artifacts(connection, kind):
    with metadata.Metadata(connection) as store:
        return store.store.get_artifacts_by_type(kind.TYPE_NAME)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_snapshots_and_label_join_run_in_tfx(inputs):
    connection = run_pipeline(inputs)
    labelled = Path(artifacts(connection, standard_artifacts.Examples)[-1].uri)
    names = sorted(path.relative_to(labelled).as_posix() for path in labelled.rglob("*.gz"))
    assert names == [
        "Split-dev/examples-00000-of-00002.gz",
        "Split-dev/examples-00001-of-00002.gz",
        "Split-test/examples-00000-of-00001.gz",
    ]
    first = list(read_examples(labelled / names[0]))
    assert [row["id"] for row in first] == [["dev0"], ["dev1"], ["dev2"], ["dev3"]]
    assert first[0] == {
        "id": ["dev0"], "title": ["Red Boot"], "group": ["g0"], "rule_ids": ["r1"], "rule_nodes": ["shoes", "boots"],
        "answer_node": ["boots"], "answer_event": ["e1"], "answer_kind": ["is"], "category_depth": [2],
    }  # fmt: skip
    assert "answer_node" not in first[1]  # spoken for by an answer at a node that isn't exclusive
    assert (first[3]["rule_ids"], first[3]["rule_nodes"]) == (["r1", "r2", "no"], ["bags"])
    test_rows = list(read_examples(labelled / names[2]))
    assert (test_rows[0]["answer_node"], test_rows[0]["category_depth"]) == (["bags"], [1])
    assert "answer_node" not in test_rows[1]  # the group's answer was given in the other split
    second = list(read_examples(labelled / names[1]))
    assert len(second) == 696
    assert [row.get("answer_event") for row in second[:3]] == [["e5"], ["e5"], None]  # dev4, its group's dev5, and dev6

    report = json.loads((Path(artifacts(connection, RuleReport)[-1].uri) / "rule_report.json").read_text())
    assert report["products"] == 704
    assert report["labels"] == {
        "joined": 3, "joined_by_group": 1, "unknown_product": 1, "unknown_node": 0, "not_exclusive": 1, "other_kind": 0,
        "partial": 0, "group_members": 0, "contradicted": 0, "dropped": 0,
    }  # fmt: skip
    assert [row["rule_id"] for row in report["rules"]] == ["r1", "r2", "no"]

    snapshot = artifacts(connection, LabelSnapshot)[-1]
    assert snapshot.custom_properties["sha256"].string_value == events_sha256(EVENTS)
    assert snapshot.custom_properties["num_events"].int_value == 5
    assert artifacts(connection, RuleSnapshot)[-1].custom_properties["num_rules"].int_value == 3
    assert artifacts(connection, TaxonomySnapshot)[-1].custom_properties["num_nodes"].int_value == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_rule_that_cannot_be_matched_stops_the_run_by_name(inputs):
    (inputs / "rules.tsv").write_text(RULES + "bad\tboots\ttitle\t\ta(b\t0\n")
    with pytest.raises(RuleError, match="rule 'bad': regex"):
        run_pipeline(inputs)


def test_a_split_without_files_is_refused(tmp_path):
    source, target = standard_artifacts.Examples(), standard_artifacts.Examples()
    source.uri, target.uri = str(tmp_path / "in"), str(tmp_path / "out")
    source.split_names = '["dev"]'
    examples_utils.set_file_format(source, "tfrecords_gzip")
    with pytest.raises(CatalogueError, match="Split-dev: the split 'dev' has no file of examples. Run ProductExampleGen again."):
        rewrite_tasks(source, target)


def test_events_of_store_and_files_are_each_taken_once(inputs):
    assert frozen_events(str(inputs / "labels.sqlite"), json.dumps([str(inputs / "more.jsonl")])) == EVENTS
    assert frozen_events(str(inputs / "not-yet.sqlite"), "[]") == []
    assert not (inputs / "not-yet.sqlite").exists()


def test_events_that_contradict_each_other_are_refused(inputs):
    write_label_events(inputs / "other.jsonl", [LabelEvent("e1", 1, "ann", "dev0", "is", "bags")])
    with pytest.raises(LabelError, match="event 'e1' is there already and says something else"):
        frozen_events(str(inputs / "labels.sqlite"), json.dumps([str(inputs / "other.jsonl")]))


def test_a_list_of_files_that_is_no_json_is_refused():
    with pytest.raises(SettingsError, match="must be a JSON list of paths"):
        frozen_events("", "labels.jsonl")
