"""Artifacts come from object storage and go back whole, in place where they are mounted, through Kubeflow's launcher where it is.

A folder stands in for a bucket, behind the same interface of pyarrow. Against a real server of the S3 protocol:

    AISLE_TEST_S3=http://127.0.0.1:9000/bucket AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... .venv/bin/pytest tests/pipeline/kubeflow
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from pyarrow import fs

from pipeline.kubeflow.staging import Staging, launcher_folder, object_store, split_uri
from schemas.errors import StoreError

SERVER = os.environ.get("AISLE_TEST_S3", "")
FILES = {"manifest.json": b"{}", "Split-dev/examples.gz": b"\x1f\x8b", "Split-dev/deep/empty": b""}
FLAT = {"taxonomy.tsv": b"id", "empty": b""}
MANY = {f"Split-dev/{number:05d}.gz": bytes([number]) * 1000 for number in range(100)}


def buckets(folder: Path):
    """Returns what opens a folder of buckets as an object store."""
    return lambda scheme: fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())


def write(folder: Path, files: dict[str, bytes] = FILES) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path) -> Path:
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    return tmp_path / "store"


def staging(tmp_path: Path, store: Path, name: str = "scratch", launcher: Path | None = None) -> Staging:
    return Staging(tmp_path / name, launcher, buckets(store))


@pytest.mark.parametrize("files", [FILES, FLAT, MANY])
def test_what_one_step_delivers_the_next_fetches(tmp_path, store, files):
    one, other = staging(tmp_path, store, "one"), staging(tmp_path, store, "other")
    write(one.place("minio://bucket/run/1/model"), files)
    one.deliver(["minio://bucket/run/1/model"])
    assert read(store / "bucket" / "run" / "1" / "model") == files
    assert read(other.fetch("minio://bucket/run/1/model")) == files


def test_an_artifact_that_is_one_file_stays_one(tmp_path, store):
    one = staging(tmp_path, store)
    place = one.place("s3://bucket/run/report_page")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"<!doctype html>")
    one.deliver(["s3://bucket/run/report_page"])
    assert (store / "bucket" / "run" / "report_page").read_bytes() == b"<!doctype html>"


def test_an_artifact_without_files_is_an_empty_folder(tmp_path, store):
    found = staging(tmp_path, store).fetch("s3://bucket/run/nothing")
    assert found.is_dir()
    assert not list(found.iterdir())


def test_paths_are_used_in_place(tmp_path, store):
    write(tmp_path / "volume" / "model")
    one = staging(tmp_path, store)
    assert one.fetch(f"{tmp_path}/volume/model") == one.fetch(f"file://{tmp_path}/volume/model") == tmp_path / "volume" / "model"
    one.deliver([f"{tmp_path}/volume/model"])
    assert not (tmp_path / "scratch").exists()


def test_where_the_launcher_was_nothing_is_transferred(tmp_path, store):
    write(tmp_path / "minio" / "bucket" / "run" / "model")
    inputs, outputs = ["minio://bucket/run/model"], ["minio://bucket/run/index"]
    launcher = launcher_folder(inputs, outputs, tmp_path)
    assert launcher == tmp_path
    one = Staging(tmp_path / "scratch", launcher, _no_store)
    assert one.fetch(inputs[0]) == tmp_path / "minio" / "bucket" / "run" / "model"
    assert one.place("gs://bucket/a") == tmp_path / "gcs" / "bucket" / "a"
    write(one.place(outputs[0]))
    one.deliver(outputs)
    assert read(tmp_path / "minio" / "bucket" / "run" / "index") == FILES


def _no_store(scheme: str) -> fs.FileSystem:
    raise AssertionError(f"{scheme} was opened")


def test_a_launcher_is_known_by_the_folders_it_made_for_outputs(tmp_path):
    assert launcher_folder([], ["s3://bucket/run/model"], tmp_path) is None
    (tmp_path / "s3" / "bucket" / "run").mkdir(parents=True)
    assert launcher_folder([], ["s3://bucket/run/model"], tmp_path) == tmp_path
    assert launcher_folder(["/volume/a"], ["file:///volume/b"], tmp_path) is None


def test_a_failed_delivery_leaves_nothing_behind(tmp_path, store):
    one = staging(tmp_path, store)
    write(one.place("s3://bucket/run/model"))
    write(one.place("s3://bucket/taken/index"))
    (store / "bucket" / "taken").write_bytes(b"a file where a folder must be")
    with pytest.raises(StoreError, match=r"s3://bucket/taken/index: can't be written: .*Check bucket, endpoint and credentials"):
        one.deliver(["s3://bucket/run/model", "s3://bucket/taken/index"])
    assert not (store / "bucket" / "run" / "model").exists()


def test_an_input_that_cant_be_read_is_named(tmp_path):
    def refused(scheme: str) -> fs.FileSystem:
        raise OSError("ACCESS_DENIED")

    with pytest.raises(StoreError, match="s3://bucket/a: can't be read: ACCESS_DENIED"):
        Staging(tmp_path / "scratch", None, refused).fetch("s3://bucket/a")


@pytest.mark.parametrize(
    "uri", ["ftp://host/a", "s3://bucket/../other/a", "/volume/../etc/passwd", "relative/path", "s3://", "", "file://etc/passwd"]
)
def test_a_uri_that_leads_elsewhere_is_refused(tmp_path, uri):
    with pytest.raises(StoreError):
        Staging(tmp_path, None).fetch(uri)


def test_uris_that_end_alike_have_places_of_their_own(tmp_path):
    one = Staging(tmp_path, None)
    assert one.place("s3://bucket/1/model") != one.place("s3://bucket/2/model")
    assert split_uri("gs://bucket/a") == ("gs", "bucket/a")


def test_the_endpoint_comes_from_the_environment():
    assert isinstance(object_store("minio", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}), fs.S3FileSystem)


@pytest.mark.skipif(not SERVER, reason="needs a server of the S3 protocol: AISLE_TEST_S3=http://host:port/bucket and AWS_ACCESS_KEY_ID")
@pytest.mark.parametrize("files", [FILES, FLAT, MANY])
def test_a_real_server_keeps_what_is_delivered(tmp_path, files):
    endpoint, _, bucket = SERVER.rpartition("/")
    uri = f"minio://{bucket}/{uuid.uuid4().hex}/model"

    def open_store(scheme: str) -> fs.FileSystem:
        return object_store(scheme, {"AWS_ENDPOINT_URL": endpoint})

    one, other = Staging(tmp_path / "one", None, open_store), Staging(tmp_path / "other", None, open_store)
    write(one.place(uri), files)
    one.deliver([uri])
    assert read(other.fetch(uri)) == files
    page = one.place(f"{uri}-page")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_bytes(b"page")
    one.deliver([f"{uri}-page"])
    assert other.fetch(f"{uri}-page").read_bytes() == b"page"
    with pytest.raises(StoreError, match="can't be written"):
        write(one.place("minio://no-such-bucket-here/a"))
        one.deliver(["minio://no-such-bucket-here/a"])
