"""What is to be embedded again is known after any number of swaps, restarts and crashes, until it is done."""

import json
import shutil

import pytest

from schemas.errors import NeighbourIndexError
from similarity.changes import Delete, Move
from similarity.live_index import LiveIndex
from tests.similarity.catalogue import upsert, write_built


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Indexes of the models 7, 8 and 9, by number."""
    root = tmp_path_factory.mktemp("models")
    return {number: write_built(root / str(number), 100, number, f"model {number}", number) for number in (7, 8, 9)}


@pytest.fixture
def folder(models, tmp_path):
    """A live folder of model 7 with three upserts."""
    with LiveIndex.create(tmp_path / "live", models[7], compact_above=0) as live:
        live.apply([upsert(name, number) for number, name in enumerate(("a", "ü", "c"))])
    return tmp_path / "live"


def opened(folder):
    return LiveIndex.open(folder, compact_above=0)


def listed(live):
    status = live.status()
    assert status.num_to_embed == len(status.to_embed)
    assert all(live.is_to_embed(product_id) for product_id in status.to_embed)
    return status.to_embed


def test_what_is_to_embed_outlives_swaps_and_restarts(models, folder):
    with opened(folder) as live:
        assert listed(live) == ()
        live.install(models[8])
        assert listed(live) == ("a", "ü", "c")
    with opened(folder) as live:
        assert listed(live) == ("a", "ü", "c")
        live.apply([upsert("d", 4), upsert("a", 5)])
        assert live.install(models[9]).to_embed == ("d", "a")
        assert listed(live) == ("ü", "c", "d", "a")
    with opened(folder) as live:
        assert listed(live) == ("ü", "c", "d", "a")


def test_upserts_and_deletions_settle_it_and_moves_dont(models, folder):
    with opened(folder) as live:
        live.install(models[8])
        live.apply([Move("a", "n5"), Move("ü", "n5"), upsert("c", 6), Move("c", "n5")])
        assert listed(live) == ("a", "ü")
        live.apply([Delete("ü")])
        assert listed(live) == ("a",)
    with opened(folder) as live:
        assert listed(live) == ("a",)
        live.compact()
        assert listed(live) == ("a",)
    with opened(folder) as live:
        assert listed(live) == ("a",)
        live.install(models[8])  # Of the same model: what was upserted since is carried over.
        assert (listed(live), live.find("c").node_id) == (("a",), "n5")
    with opened(folder) as live:
        live.apply([upsert("a", 7)])
        live.install(models[8])
        assert listed(live) == ()
        assert not json.loads((folder / "current.json").read_text())["to_embed"]
        assert list(folder.glob("to_embed*")) == []


def test_the_status_names_the_first_and_counts_all(models, folder):
    with opened(folder) as live:
        live.apply([upsert(f"more-{number}", number) for number in range(1_100)])
        live.install(models[8])
        status = live.status()
    assert (len(status.to_embed), status.to_embed[0], status.num_to_embed) == (1_000, "a", 1_103)


def test_a_swap_that_fails_at_any_file_leaves_the_list_before(models, folder, monkeypatch):
    with opened(folder) as live:
        live.install(models[8])
        live.apply([upsert("a", 5)])

    def fails(*_):
        raise OSError(28, "No space left on device")

    for place in ("write_to_embed", "LiveFolder.write", "create_log"):
        with opened(folder) as live, monkeypatch.context() as patch:
            patch.setattr(f"similarity.live_index.{place}", fails)
            with pytest.raises(OSError, match="No space"):
                live.install(models[9])
            assert (live.version, listed(live)) == (8, ("ü", "c"))
        with opened(folder) as live:
            assert (live.version, listed(live)) == (8, ("ü", "c"))
        assert len(list(folder.glob("to_embed*"))) == 1


def test_a_folder_of_a_release_without_the_list_opens(models, folder):
    with opened(folder) as live:
        live.install(models[8])
    pointer = json.loads((folder / "current.json").read_text())
    del pointer["to_embed"]
    (folder / "current.json").write_text(json.dumps(pointer))
    with opened(folder) as live:
        assert (live.version, listed(live)) == (8, ())


@pytest.mark.parametrize("text", [None, "", "[]", '{"product_ids": "a"}', '{"product_ids": [1]}'])
def test_a_damaged_list_is_refused(models, folder, tmp_path, text):
    with opened(folder) as live:
        live.install(models[8])
    (path,) = folder.glob("to_embed*")
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(NeighbourIndexError, match=r"to_embed-\d+.json: the products to embed can't be read"):
        opened(folder)
    pointer = json.loads((folder / "current.json").read_text())
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "current.json").write_text(json.dumps({**pointer, "to_embed": "../to_embed-00000001.json"}))
    with pytest.raises(NeighbourIndexError, match="isn't a name inside this folder"):
        opened(tmp_path / "copy")
