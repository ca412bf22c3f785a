"""The manifest: versions and digests."""

import json

import numpy as np
import pytest

from schemas.errors import NeighbourIndexError
from similarity.exact_index import ExactIndex
from similarity.manifest import FORMAT_VERSION, read_manifest, stamp_version, verify
from similarity.planner import BuiltIndex, load_index, save_index
from similarity.product_ids import ID_FILES
from similarity.vectors import in_tree_order


@pytest.fixture
def folder(tmp_path):
    products = in_tree_order(np.eye(3, dtype=np.float32), ["a", "b", "ü"], np.array([1, 0, 1]), ["r", "l"], [2, 2])
    save_index(tmp_path / "index", BuiltIndex(ExactIndex(products), 1.0, 10), model_sha256="m", taxonomy_sha256="t")
    return tmp_path / "index"


def test_it_says_what_the_index_is(folder):
    manifest = verify(folder)
    assert (manifest.kind, manifest.num_products, manifest.dimension, manifest.version) == ("exact", 3, 3, 0)
    assert (manifest.model_sha256, manifest.taxonomy_sha256) == ("m", "t")
    assert set(manifest.sha256) == {"vectors.npy", "node_starts.npy", "tree.json", *ID_FILES}


def test_a_stamped_version_changes_no_file(folder):
    before = verify(folder)
    assert stamp_version(folder, 12).version == verify(folder, 12).version == 12
    assert verify(folder).sha256 == before.sha256


def test_another_version_than_the_live_model_is_refused(folder):
    stamp_version(folder, 12)
    with pytest.raises(NeighbourIndexError, match=r"built for model 12 \(dim 3\), the live model is 13. Deploy index and model together"):
        load_index(folder, 13)


def test_another_format_version_is_refused(folder):
    row = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(row | {"format_version": FORMAT_VERSION + 1}))
    said = f"format_version is {FORMAT_VERSION + 1}, this release reads 1 and {FORMAT_VERSION}. Build the index again, or use the release"
    with pytest.raises(NeighbourIndexError, match=said):
        load_index(folder)


@pytest.mark.parametrize("version", [2**63, -1, 7.5, "7", None, True])
def test_a_version_that_no_message_can_hold_is_refused(folder, version):
    row = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(row | {"version": version}))
    with pytest.raises(NeighbourIndexError, match=f"version is {version!r}, expected a whole number"):
        load_index(folder)


def test_a_file_that_nobody_wrote_is_refused(folder):
    (folder / "scann_docids.pkl").write_bytes(b"x")
    with pytest.raises(NeighbourIndexError, match="scann_docids.pkl isn't in the manifest"):
        verify(folder)


def test_a_folder_that_is_no_index_is_refused(tmp_path):
    with pytest.raises(NeighbourIndexError, match="isn't an index"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"format_version": 1}', "{"])
def test_a_damaged_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(NeighbourIndexError, match="manifest.json: "):
        load_index(folder)
