"""Adds vectors to examples, as a plain call and as a stage of a real TFX pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from components.encoder import Encoder, vector_cache_path
from components.encoding import EncodingCounts, ExampleEncoder, load_field_encoders
from encoders.batch_encoding import encode_texts
from encoders.kinds import describe_encoder
from encoders.registry import load_encoder
from encoders.vector_cache import VectorCache
from schemas.errors import CatalogueError
from tests.support.example_source import ExampleSource
from tests.support.examples import example, write_examples
from tests.support.hostile_images import JPEG, TRANSCODED
from tests.support.tiny_bert import HIDDEN, write_tiny_bert

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "mobilenet_v2_0.35_224_no_top.weights.h5"
ROWS = [
    {"id": "p0", "title": "Nice red shoes", "description": "the shoe", "split": "dev"},
    {"id": "p1", "title": "Nice red shoes", "split": "dev"},
    {"id": "p2", "split": "dev"},
    {"id": "p3", "title": "bag", "description": "the shoe", "price": 3.5, "split": "test"},
]


def plan(name, weights, kind="minilm", field="title", most=128):
    found = describe_encoder(kind, weights, most)
    return {
        "name": name, "kind": kind, "field": field, "weights": str(weights), "max_tokens": most,
        "reads": found.reads, "size": found.size, "digest": found.digest,
    }  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("encoding") / "bert")


@pytest.fixture(scope="module")
def expected(weights):
    """The vector of a text, from the encoder itself."""
    encoder = load_encoder("minilm", weights)
    return lambda *texts: encode_texts(encoder, texts)


def vector_of(record, name):
    return np.array(tf.train.Example.FromString(record).features.feature[name].float_list.value, np.float32)


def run_stage(root, plans, run):
    source = ExampleSource(folder=str(root / "examples"))
    encoder = Encoder(
        examples=source.outputs["examples"], encoders=json.dumps(plans), images="", images_sha256=run,
        cache=vector_cache_path(str(root)), cache_gb=0.1,
    )  # fmt: skip
    connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    LocalDagRunner().run(pipeline.Pipeline("p", str(root / "runs"), components=[source, encoder], metadata_connection_config=connection))
    with metadata.Metadata(connection) as handle:
        kinds = {kind.id: kind.name for kind in handle.store.get_artifact_types()}
        latest = {kinds[found.type_id]: Path(found.uri) for found in sorted(handle.store.get_artifacts(), key=lambda a: a.id)}
    report = json.loads((latest["components.EncodingReport"] / "encoding_report.json").read_text())
    return latest["Examples"], {row["name"]: row for row in report["encoders"]}


@pytest.mark.slow
def test_the_stage_adds_vectors_in_order_and_a_second_run_encodes_nothing(tmp_path, weights, expected):
    write_examples(tmp_path / "examples", ROWS)
    plans = [plan("title_vector", weights), plan("description_vector", weights, field="description")]
    folder, report = run_stage(tmp_path, plans, "first")
    files = [str(path) for split in ("dev", "test") for path in sorted((folder / f"Split-{split}").glob("*.gz"))]
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    found = {tf.train.Example.FromString(record).features.feature["id"].bytes_list.value[0].decode(): record for record in records}
    assert list(found) == [row["id"] for row in ROWS]
    for row in ROWS:
        parsed = tf.train.Example.FromString(found[row["id"]])
        plain = example(row)
        for name in plain.features.feature:
            assert parsed.features.feature[name] == plain.features.feature[name]
        for name, field in (("title_vector", "title"), ("description_vector", "description")):
            if field in row:
                np.testing.assert_allclose(vector_of(found[row["id"]], name), expected(row[field])[0], atol=1e-5)
            else:
                assert name not in parsed.features.feature
    title = report["title_vector"]
    assert (title["products"], title["vectors"], title["size"]) == (4, 3, HIDDEN)
    _, again = run_stage(tmp_path, plans, "second")
    assert all(row["cached"] == row["unique"] > 0 for row in again.values())


def test_pictures_are_counted_by_why_there_is_none(tmp_path, mobilenet_file):
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "b.webp").write_bytes(TRANSCODED["webp"])
    (tmp_path / "c.jpg").write_bytes(JPEG[:300])
    images = ["a.jpg", "b.webp", "c.jpg", "a.jpg", "gone.jpg", "../x.jpg", "https://shop/a.jpg", None, None]
    records = [example({"id": f"p{k}", "image": image}).SerializeToString() for k, image in enumerate(images)]
    plans = [plan("picture", mobilenet_file, "mobilenet_v2", "image")]
    counts = EncodingCounts()
    encoder = ExampleEncoder(load_field_encoders(plans, VectorCache(tmp_path / "cache.sqlite")), tmp_path)
    found = [vector_of(record, "picture") for record in encoder.encode(records, counts, "here")]
    assert [len(vector) for vector in found] == [1280, 1280, 0, 1280, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(found[0], found[3])
    assert dict(counts.by_name["picture"]) == {
        "products": 9, "vectors": 3, "unique": 2, "cached": 0,
        "undecodable": 1, "not_found": 1, "outside_folder": 1, "on_the_web": 1, "no_image": 2,
    }  # fmt: skip


@pytest.fixture(scope="module")
def mobilenet_file():
    if not WEIGHTS.exists():
        pytest.skip(f"no MobileNetV2 weights at {WEIGHTS}")
    return WEIGHTS


def test_what_is_no_example_is_refused_by_place(weights):
    encoder = ExampleEncoder(load_field_encoders([plan("title_vector", weights)], None), None)
    with pytest.raises(CatalogueError, match="file 7: an example can't be read"):
        encoder.encode([b"\xff\xff\xff"], EncodingCounts(), "file 7")


def test_vectors_are_kept_under_a_local_root_alone():
    assert vector_cache_path("/data/shop") == "/data/shop/cache/vectors.sqlite"
    assert vector_cache_path("s3://bucket/shop") == ""
