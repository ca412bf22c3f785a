"""The real component runs under TFX, sets what standard parts ask of examples, and is cached by content."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest
import tensorflow as tf
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline

from components.feeds.fingerprint import feeds_fingerprint
from components.product_example_gen import ProductExampleGen, parse_feeds, true_fingerprint
from schemas.errors import CatalogueError
from schemas.settings import IngestSettings, NetworkSettings


@pytest.fixture
def catalogue(tmp_path):
    csv, jsonl = tmp_path / "a.csv", tmp_path / "b.jsonl"
    csv.write_text("nr;name;preis\n" + "".join(f"{n};Schuh {n};{n},50\n" for n in range(60)) + "broken\n", encoding="latin-1")
    jsonl.write_text("".join(json.dumps({"id": f"j{n}", "title": f"Bag {n}", "price": n}) + "\n" for n in range(40)))
    first = NetworkSettings(columns={"id": "nr", "title": "name", "price": "preis"}, encoding="latin-1", delimiter=";", decimal_comma=True)
    second = NetworkSettings(format="jsonl")
    return [
        {"network": "first", "settings": dataclasses.asdict(first), "files": [str(csv)]},
        {"network": "second", "settings": dataclasses.asdict(second), "files": [str(jsonl)]},
    ]


def run(tmp_path, catalogue, with_statistics=False, **changes):
    files = [file for network in catalogue for file in network["files"]]
    gen = ProductExampleGen(
        feeds=json.dumps(catalogue),
        ingest=json.dumps(dataclasses.asdict(IngestSettings(**changes))),
        seed=1,
        fingerprint=feeds_fingerprint(files),
    )
    nodes = [gen, StatisticsGen(examples=gen.outputs["examples"])] if with_statistics else [gen]
    database = tmp_path / "metadata.sqlite"
    connection = metadata.sqlite_metadata_connection_config(str(database))
    # Another test may have lowered the root logger; TFX's own lines aren't what we look at.
    logging.getLogger("absl").setLevel(logging.ERROR)
    LocalDagRunner().run(
        Pipeline("ingest", str(tmp_path / "root"), components=nodes, enable_cache=True, metadata_connection_config=connection)
    )
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(database)
    return metadata_store.MetadataStore(config)


@pytest.mark.slow
def test_the_component_runs_under_tfx_and_standard_parts_read_its_examples(tmp_path, catalogue):
    store = run(tmp_path, catalogue, with_statistics=True)
    (examples,) = store.get_artifacts_by_type("Examples")
    (quarantine,) = store.get_artifacts_by_type("components.Quarantine")
    assert examples.properties["split_names"].string_value == '["dev", "test"]'
    assert examples.custom_properties["file_format"].string_value == "tfrecords_gzip"
    assert examples.custom_properties["payload_format"].string_value == "FORMAT_TF_EXAMPLE"
    assert quarantine.custom_properties["rows"].int_value == 101 and quarantine.custom_properties["refused"].int_value == 1
    records = [
        tf.train.Example.FromString(record)
        for split in ("dev", "test")
        for path in tf.io.gfile.glob(f"{examples.uri}/Split-{split}/*")
        for record in tf.data.TFRecordDataset([path], compression_type="GZIP").as_numpy_iterator()
    ]
    assert len(records) == 100
    assert store.get_artifacts_by_type("ExampleStatistics")


@pytest.mark.slow
def test_touched_feeds_come_from_the_cache_and_changed_ones_do_not(tmp_path, catalogue):
    run(tmp_path, catalogue)
    path = tmp_path / "b.jsonl"
    path.touch()
    assert len(run(tmp_path, catalogue).get_artifacts_by_type("Examples")) == 1
    path.write_text(path.read_text().replace("Bag", "Sack"))
    assert len(run(tmp_path, catalogue).get_artifacts_by_type("Examples")) == 2


@pytest.mark.slow
def test_the_quarantine_of_a_stopped_run_outlives_the_failed_stage(tmp_path, catalogue):
    with pytest.raises(CatalogueError, match=r"1 of 101 rows \(1\.0%\) were refused") as error:
        run(tmp_path, catalogue, max_refused_share=0.0)
    (kept,) = (tmp_path / "root").glob("ProductExampleGen/quarantine/*-stopped/quarantine.jsonl")
    assert str(kept) in str(error.value)
    assert json.loads(kept.read_text())["found"] == "broken"


def test_files_are_numbered_in_the_order_of_the_networks(catalogue):
    assert [(feed.number, feed.network, feed.settings.format) for feed in parse_feeds(json.dumps(catalogue))] == [
        (0, "first", "csv"),
        (1, "second", "jsonl"),
    ]


def test_feeds_may_be_patterns_which_are_looked_up_when_the_stage_runs(catalogue):
    first, *others = catalogue
    folder = Path(first["files"][0]).parent
    (folder / "new").mkdir()
    names = [folder / "new" / name for name in ("b.csv", "a.csv")]
    for path in names:
        path.write_bytes(Path(first["files"][0]).read_bytes())
    found = parse_feeds(json.dumps([{**first, "files": [str(folder / "new" / "*.csv")]}, *others]))
    assert [feed.path for feed in found][:2] == sorted(map(str, names))


def test_a_digest_is_believed_and_anything_else_is_replaced_by_the_true_one(catalogue):
    feeds, settings = json.dumps(catalogue), json.dumps({"split": ""})
    assert true_fingerprint(feeds, settings, "a" * 64) == "a" * 64
    true = feeds_fingerprint(feed.path for feed in parse_feeds(feeds))
    assert true_fingerprint(feeds, settings, "") == true_fingerprint(feeds, settings, "2026-11-21") == true
