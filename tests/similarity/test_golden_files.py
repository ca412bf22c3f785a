"""Every format version ever released is read and answers as it did; later ones are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import NeighbourIndexError
from similarity.changes import Delete
from similarity.live_index import LiveIndex
from similarity.manifest import FORMAT_VERSION
from similarity.planner import load_index
from similarity.product_columns import ProductFilter
from tests.similarity.golden_files import GOLDEN, NUM_RING, VERSION, ring_vector, write_index

FOLDER = Path(__file__).parent / "golden"
NAMES = sorted(path.name for path in FOLDER.iterdir())


def named(*kinds):
    return [name for name in NAMES if name.rpartition("-")[0] in kinds]


def loaded(name):
    index, manifest = load_index(FOLDER / name, version=VERSION)
    assert manifest.format_version == int(name.rpartition("v")[2])
    return index, manifest


def test_every_format_that_is_written_has_its_golden_file():
    assert set(GOLDEN) <= set(NAMES)
    assert {f"{kind}-v{FORMAT_VERSION}" for kind in ("exact", "exact_int8", "scann", "hnsw")} <= set(NAMES)


def test_golden_files_are_small():
    for name in NAMES:
        assert sum(path.stat().st_size for path in (FOLDER / name).rglob("*")) < 120_000, name


@pytest.mark.parametrize("name", named("exact", "exact_int8"))
def test_an_exact_index_of_every_format_answers_as_it_did(name):
    index, manifest = loaded(name)
    query = np.array([[1.0, 0.1, 0.0]], np.float32)
    assert index.search(query, 2).ids.tolist() == [["sneaker-1", "sneaker-2"]]
    assert index.search(query, 2, index.products.subtree("bags")).ids.tolist() == [["bag-1"]]
    if manifest.format_version > 1:
        cheap = index.products.mask(ProductFilter(shop=("first",), max_price=50), slice(0, 3))
        assert index.search(np.array([[0.0, 1.0, 0.0]], np.float32), 3, None, cheap).ids.tolist() == [["sneaker-1"]]


@pytest.mark.parametrize("name", named("scann", "hnsw"))
def test_an_approximate_index_of_every_format_answers_as_it_did(name):
    index, manifest = loaded(name)
    count = NUM_RING[name.partition("-")[0]]
    half = count // 2
    query = ring_vector(half + 0.2, count)[None]
    assert index.plan(5).method == "approximate"
    found = index.search(query, 5)
    assert found.ids.tolist() == [[f"p{half + step}" for step in (0, 1, -1, 2, -2)]]
    assert np.allclose(found.similarities, index.products.vectors[found.positions[0]] @ query[0] / np.sqrt(2), atol=1e-6)
    assert index.search(query, 3, index.products.subtree("second")).ids.tolist() == [[f"p{half - step}" for step in (1, 2, 3)]]
    if manifest.format_version > 1:
        even = index.products.mask(ProductFilter(shop=("even",)), slice(0, count))
        assert index.search(query, 2, None, even).ids.tolist() == [[f"p{half}", f"p{half + 2}"]]


@pytest.mark.parametrize("name", named("live"))
def test_a_live_folder_of_every_format_opens_with_every_change_and_takes_more(name, tmp_path):
    shutil.copytree(FOLDER / name, tmp_path / "live")
    with LiveIndex.open(tmp_path / "live", compact_above=0) as live:
        status = live.status()
        assert (live.version, status.sequence, status.num_products) == (VERSION, 6, 12)
        assert (status.to_embed, status.num_to_embed) == ((), 0)
        assert live.search(ring_vector(4.55, 12)[None], 3).ids.tolist() == [["new-1", "new-2", "p5"]]
        assert (live.find("new-1").node_id, live.find("new-1").fields) == ("fourth", {"shop": "odd", "price": 5.5})
        assert (live.find("new-2").node_id, live.find("new-2").fields) == ("", {"brand": "ü"})
        assert (live.find("p3"), live.find("p8"), live.find("p7").node_id) == (None, None, "first")
        assert live.apply([Delete("p0")]) == 7
        live.compact()
        assert live.find("p0") is None
        assert live.search(ring_vector(4.55, 12)[None], 3).ids.tolist() == [["new-1", "new-2", "p5"]]


@pytest.mark.parametrize("name", named("live"))
def test_the_history_of_every_format_is_carried_over_to_another_index(name, tmp_path):
    shutil.copytree(FOLDER / name, tmp_path / "live")
    write_index(tmp_path / "built", "exact")
    with LiveIndex.open(tmp_path / "live", compact_above=0) as live:
        live.install(tmp_path / "built")
        assert (live.find("p3"), live.find("p8"), live.find("p7").node_id, live.find("new-1").node_id) == (None, None, "first", "fourth")


@pytest.mark.parametrize("name", named("live_to_embed"))
def test_a_live_folder_of_every_format_knows_what_is_to_embed(name, tmp_path):
    shutil.copytree(FOLDER / name, tmp_path / "live")
    with LiveIndex.open(tmp_path / "live", compact_above=0) as live:
        assert (live.version, live.find("new-2").node_id) == (VERSION, "first")
        assert (live.status().to_embed, live.status().num_to_embed) == (("new-1", "ü"), 2)


def test_a_live_folder_of_a_later_format_is_refused_and_left_as_it_is(tmp_path):
    folder = tmp_path / "live"
    shutil.copytree(FOLDER / "live-v1", folder)
    pointer = json.loads((folder / "current.json").read_text())
    (folder / "current.json").write_text(json.dumps(pointer | {"format_version": 2, "base": "elsewhere"}))
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(NeighbourIndexError, match="format_version is 2, this release reads 1. Use the release that wrote it, or create"):
        LiveIndex.open(folder)
    assert sorted(path.name for path in folder.rglob("*") if path.name != ".lock") == before
