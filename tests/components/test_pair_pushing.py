"""Model and index go live together or not at all, whatever fails on the way."""

import json
import shutil

import numpy as np
import pytest

from components.folder_digest import folder_sha256
from components.pair_pushing import Live, push_pair, read_live
from schemas.errors import PushError
from similarity.exact_index import ExactIndex
from similarity.manifest import read_manifest
from similarity.planner import BuiltIndex, load_index, save_index
from similarity.vectors import in_tree_order
from tests.components.toy_pair import make_pair


@pytest.fixture
def pair(tmp_path):
    return make_pair(tmp_path / "first")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "serving"


def visible(folder):
    """Returns every path a server could see."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != ".push.lock")


def test_nothing_is_live_before_the_first_push(folder):
    assert read_live(folder, "shop") is None


def test_a_pushed_pair_is_live_under_the_time(pair, folder):
    assert push_pair(*pair, folder, "shop", 1_700_000_000) == 1_700_000_000
    live = read_live(folder, "shop")
    assert live == Live("shop", 1_700_000_000, folder / "models/shop/1700000000", folder / "indexes/shop/1700000000")
    assert folder_sha256(live.model) == folder_sha256(pair[0])
    assert load_index(live.index, live.version)[1].version == 1_700_000_000
    row = json.loads((folder / "live.json").read_text())
    assert (row["name"], row["version"]) == ("shop", 1_700_000_000)
    assert (row["model"], row["index"]) == ("models/shop/1700000000", "indexes/shop/1700000000")


def test_the_source_folders_stay_as_they_were(pair, folder):
    before = [folder_sha256(path) for path in pair]
    push_pair(*pair, folder, "shop", 5)
    assert [folder_sha256(path) for path in pair] == before
    assert read_manifest(pair[1]).version == 0


def test_versions_only_grow_even_when_the_clock_goes_back(pair, folder, tmp_path):
    push_pair(*pair, folder, "shop", 100)
    assert push_pair(*make_pair(tmp_path / "second", "other"), folder, "shop", 50) == 101


def test_the_live_pair_pushed_again_keeps_its_version(pair, folder):
    push_pair(*pair, folder, "shop", 100)
    before = visible(folder)
    assert push_pair(*pair, folder, "shop", 200) == 100
    assert visible(folder) == before


def test_the_same_model_with_another_index_is_another_version(pair, folder, tmp_path):
    push_pair(*pair, folder, "shop", 100)
    products = in_tree_order(np.eye(3, dtype=np.float32), list("xyz"), np.zeros(3, np.int64), ["n"], [1])
    save_index(tmp_path / "index2", BuiltIndex(ExactIndex(products), 1.0, 10), folder_sha256(pair[0]))
    assert push_pair(pair[0], tmp_path / "index2", folder, "shop", 200) == 200
    assert read_live(folder, "shop").index.name == "200"


def test_what_a_crash_left_behind_is_removed_and_its_version_not_used_again(pair, folder):
    (folder / ".incoming-90" / "models").mkdir(parents=True)
    (folder / "indexes" / "shop" / "500").mkdir(parents=True)
    assert push_pair(*pair, folder, "shop", 100) == 501
    assert not (folder / ".incoming-90").exists()


def test_an_index_of_another_model_is_refused(pair, folder, tmp_path):
    other = make_pair(tmp_path / "second", "other")
    with pytest.raises(PushError, match="index was built for model .*, the model to push is .*. Score the pool and build the index"):
        push_pair(other[0], pair[1], folder, "shop", 100)
    assert not folder.exists()


def test_a_damaged_index_is_refused(pair, folder):
    (pair[1] / "id_text.npy").write_text("[]")
    with pytest.raises(PushError, match="id_text.npy: the content isn't what the manifest says"):
        push_pair(*pair, folder, "shop", 100)


def test_a_folder_without_a_saved_model_is_refused(pair, folder):
    (pair[0] / "saved_model.pb").unlink()
    with pytest.raises(PushError, match="there is no saved_model.pb"):
        push_pair(*pair, folder, "shop", 100)


def test_another_models_folder_is_refused(pair, folder):
    push_pair(*pair, folder, "shop", 100)
    with pytest.raises(PushError, match="model 'shop' is live here, this run makes 'other'"):
        push_pair(*pair, folder, "other", 200)


@pytest.mark.parametrize("name", ["", "a/b", ".."])
def test_a_name_that_is_no_folder_name_is_refused(pair, folder, name):
    with pytest.raises(PushError, match="isn't a folder name"):
        push_pair(*pair, folder, name, 100)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "shop", "version": "x", "model": "m", "index": "i"}'])
def test_a_damaged_live_json_is_refused(pair, folder, text):
    folder.mkdir()
    (folder / "live.json").write_text(text)
    with pytest.raises(PushError, match="live.json: this can't be read"):
        read_live(folder, "shop")


def test_a_live_folder_that_is_gone_is_named(pair, folder):
    push_pair(*pair, folder, "shop", 100)
    shutil.rmtree(folder / "models" / "shop" / "100")
    with pytest.raises(PushError, match="models/shop/100 is gone"):
        read_live(folder, "shop")
