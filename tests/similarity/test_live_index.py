"""Changes on top of a built index: visible, kept, folded in, and never in the way of queries."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import NeighbourIndexError
from similarity.changes import Delete, Move, Upsert
from similarity.compaction import compact
from similarity.exact_index import ExactIndex
from similarity.live_index import LiveIndex
from similarity.planner import build_index, save_index
from similarity.product_columns import ProductFilter, columns_from_values
from similarity.recent_changes import RecentChanges, merged
from similarity.vectors import in_tree_order
from tests.similarity.catalogue import DIMENSION, NODES, small_catalogue, upsert, write_built
from tests.support.written_examples import examples_of, said_by


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return write_built(tmp_path_factory.mktemp("built") / "index")


@pytest.fixture
def live(built, tmp_path):
    with LiveIndex.create(tmp_path / "live", built, compact_above=0) as index:
        yield index


def reopened(index, folder):
    index.close()
    return LiveIndex.open(folder, compact_above=0)


def test_a_new_product_is_its_own_nearest_at_once(live):
    new = upsert("new", 1, shop="a", price=5)
    assert live.apply([new]) == 1
    answer = live.search(new.vector[None], 3)
    assert (answer.ids[0, 0], answer.node_ids[0, 0], answer.sequence) == ("new", "n1", 1)
    assert answer.similarities[0, 0] == pytest.approx(1, abs=1e-5)
    assert live.search(new.vector[None], 1, "n1", ProductFilter(shop=("a",), max_price=5)).ids.tolist() == [["new"]]
    assert live.search(new.vector[None], 1, "n4").ids[0, 0] != "new"


def test_a_deleted_product_is_found_nowhere(live):
    vector = live.find("p5").vector
    live.apply([Delete("p5"), Delete("never there")])
    assert live.find("p5") is None
    assert "p5" not in live.search(vector[None], 400).ids
    assert live.status().num_products == 299


def test_a_moved_product_is_in_its_new_category_alone(live):
    before = live.find("p7")
    target = next(node for node in ("n5", "n3") if node != before.node_id)
    live.apply([Move("p7", target)])
    after = live.find("p7")
    assert after.node_id == target
    assert after.fields == before.fields
    assert np.allclose(after.vector, before.vector)
    assert live.search(before.vector[None], 1, target).ids[0, 0] == "p7"
    assert live.search(before.vector[None], 400).ids[0].tolist().count("p7") == 1


def test_a_product_is_similar_to_others_than_itself(live):
    answer = live.similar("p3", 10)
    assert answer.ids.shape == (1, 10)
    assert "p3" not in answer.ids
    with pytest.raises(NeighbourIndexError, match="'gone' isn't in the index"):
        live.similar("gone", 1)


def test_a_vector_is_that_of_the_product_as_it_is_now(live):
    before = live.find("p9").vector
    live.apply([upsert("p3", 1), Delete("p5"), Move("p9", "n5")])
    assert np.array_equal(live.vector_of("p3"), live.find("p3").vector)
    assert np.array_equal(live.vector_of("p9"), before)
    assert np.array_equal(live.vector_of("p11"), live.find("p11").vector)
    assert (live.vector_of("p5"), live.vector_of("never there")) == (None, None)


def test_an_answer_says_how_it_came_about(live):
    live.apply([upsert("new", 1)])
    answer = live.search(np.ones((1, DIMENSION)), 3, "n0", ProductFilter(shop=("shop-1",)))
    assert answer.plan.method == "exact"
    assert answer.plan == live.explain(3, "n0", ProductFilter(shop=("shop-1",)))
    assert (answer.version, answer.num_recent) == (7, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Upsert("", "n1", np.ones(DIMENSION, np.float32)), "names no product"),
        (Upsert("x" * 3000, "n1", np.ones(DIMENSION, np.float32)), "3,000 bytes; at most 2,000"),
        (Upsert("a", "n99", np.ones(DIMENSION, np.float32)), "'a': node 'n99' isn't in the index's taxonomy of 7 nodes"),
        (Upsert("a", "n1", np.ones(3, np.float32)), r"'a': the vector has the shape \[3\], the index has dimension 16"),
        (Upsert("a", "n1", np.zeros(DIMENSION, np.float32)), "'a' has a vector of length 0.0"),
        (Upsert("a", "n1", np.full(DIMENSION, np.nan, np.float32)), "'a' has a vector of length nan"),
        (Upsert("a", "n1", np.ones(DIMENSION, np.float32), {"price": "5"}), "'a': price is '5', expected a number"),
        (Upsert("a", "n1", np.ones(DIMENSION, np.float32), {"price": 1e300}), r"'a': price is 1e\+300, expected a number"),
        (
            Upsert("a", "n1", np.ones(DIMENSION, np.float32), {"size": "5"}),
            "'a': field 'size' is unknown. Known: shop, brand, gender, price",
        ),
        (Move("p1", "n99"), "'p1': node 'n99' isn't"),
        (Delete("\ud800"), "isn't valid Unicode"),
    ],
)
def test_a_bad_change_is_refused_with_all_that_came_with_it(live, change, said):
    with pytest.raises(NeighbourIndexError, match=said):
        live.apply([upsert("beside", 1), change])
    assert live.find("beside") is None
    assert live.status().sequence == 0


def test_changes_are_there_after_opening_again(built, tmp_path):
    live = LiveIndex.create(tmp_path / "live", built, compact_above=0)
    live.apply([upsert("new", 1, brand="ü"), Delete("p1"), Move("p2", "n5")])
    live = reopened(live, tmp_path / "live")
    assert live.find("new").fields == {"brand": "ü"}
    assert live.find("p1") is None
    assert live.find("p2").node_id == "n5"
    assert live.apply([Delete("new")]) == 4
    live.close()


def test_folding_changes_in_changes_no_answer(built, tmp_path):
    live = LiveIndex.create(tmp_path / "live", built, compact_above=0)
    live.apply([*(upsert(f"new-{number}", number, shop="fresh") for number in range(40)), Delete("p1"), Move("p2", "n5"), Delete("new-3")])
    queries = np.random.default_rng(5).normal(size=(20, DIMENSION))
    asked = [(None, None), ("n0", None), (None, ProductFilter(shop=("fresh",), brand=()))]
    before = [live.search(queries, 30, node, wanted) for node, wanted in asked]
    live.compact()
    assert live.status().num_recent == 0
    assert live.status().num_products == 300 + 40 - 1 - 1
    for answer, (node, wanted) in zip(before, asked, strict=True):
        after = live.search(queries, 30, node, wanted)
        assert np.allclose(after.similarities, answer.similarities, atol=1e-5)
        assert (np.sort(after.ids, axis=1) == np.sort(answer.ids, axis=1)).all()
    assert (live.status().manifest.version, live.status().manifest.model_sha256) == (7, "model")
    live = reopened(live, tmp_path / "live")
    assert live.find("new-3") is None
    assert live.apply([Delete("new-4")]) == 44
    live.close()


def test_many_changes_are_folded_in_by_themselves_while_more_arrive(built, tmp_path):
    with LiveIndex.create(tmp_path / "live", built, compact_above=50) as live:
        for number in range(120):
            live.apply([upsert(f"new-{number}", number)])
            time.sleep(0.005)
        until = time.monotonic() + 60
        while live.status().base == "base-00000001" and time.monotonic() < until:
            time.sleep(0.05)
        assert live.status().base != "base-00000001"
        assert live.status().num_products == 420
        assert all(live.find(f"new-{number}") is not None for number in range(120))


def test_a_compaction_that_fails_loses_nothing_and_says_why(built, tmp_path):
    with LiveIndex.create(tmp_path / "live", built, compact_above=0, min_recall=0.0) as live:
        live.apply([Delete(f"p{number}") for number in range(300)])
        with pytest.raises(NeighbourIndexError, match="can't be folded in: the index is empty"):
            live.compact()
        live.apply([upsert("new", 1)])
        live.compact()
        assert live.search(np.ones((1, DIMENSION)), 5).ids.tolist() == [["new"]]


def test_an_index_of_another_model_takes_over_what_still_holds(built, tmp_path):
    other = write_built(tmp_path / "other", num_products=200, seed=9, model_sha256="another model", version=8)
    with LiveIndex.create(tmp_path / "live", built, compact_above=0) as live:
        live.apply([Delete("p1"), Move("p2", "n5"), upsert("new", 1)])
        live.compact()
        live.apply([upsert("newer", 2), Move("new", "n3")])
        installed = live.install(other)
        assert (installed.carried, set(installed.to_embed)) == (2, {"new", "newer"})
        assert live.find("p1") is None
        assert live.find("p2").node_id == "n5"
        assert (live.status().manifest.version, live.status().num_products) == (8, 199)
    with LiveIndex.open(tmp_path / "live") as live:
        assert (live.find("p1"), live.status().num_products) == (None, 199)


def test_an_index_of_the_same_model_takes_over_later_changes_only(built, tmp_path):
    with LiveIndex.create(tmp_path / "live", built, compact_above=0) as live:
        known = live.apply([Delete("p1"), upsert("old", 1)])
        live.apply([upsert("new", 2)])
        assert live.install(built, since=known).carried == 1
        assert (live.find("p1") is not None, live.find("old"), live.find("new") is not None) == (True, None, True)


def test_another_process_cannot_open_it_meanwhile(live, tmp_path):
    with pytest.raises(NeighbourIndexError, match="another process has this live index open"):
        LiveIndex.open(tmp_path / "live")


def test_an_index_is_not_created_over_another(live, built, tmp_path):
    live.close()
    with pytest.raises(NeighbourIndexError, match="there is a live index already"):
        LiveIndex.create(tmp_path / "live", built)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format_version": 1}', '{"format_version": 1, "base": "../x", "history": "", "first_log": 1}']
)
def test_a_damaged_pointer_is_refused(live, tmp_path, text):
    live.close()
    (tmp_path / "live" / "current.json").write_text(text)
    with pytest.raises(NeighbourIndexError, match="current.json: "):
        LiveIndex.open(tmp_path / "live")


def test_what_a_crash_left_half_made_is_removed(live, tmp_path):
    live.close()
    (tmp_path / "live" / "base-00000009.partial").mkdir()
    (tmp_path / "live" / "history-00000009.log").write_bytes(b"")
    (tmp_path / "live" / "notes.txt").write_text("not ours")
    LiveIndex.open(tmp_path / "live").close()
    assert sorted(path.name for path in (tmp_path / "live").iterdir()) == [
        ".lock", "base-00000001", "changes-00000001.log", "current.json", "notes.txt",
    ]  # fmt: skip


def test_a_full_disk_is_said_and_what_was_acknowledged_stays(live, tmp_path, monkeypatch):
    live.apply([upsert("kept", 1)])

    def full(file, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("similarity.change_log.os.write", full)
    with pytest.raises(NeighbourIndexError, match="No space left on device. Make room, then open the index again"):
        live.apply([upsert("lost", 2)])
    monkeypatch.undo()
    with pytest.raises(NeighbourIndexError, match="an earlier write failed"):
        live.apply([upsert("later", 3)])
    assert live.find("lost") is None
    assert "an earlier write failed ([Errno 28] No space left on device). Open the index again." in live.status().last_error
    live = reopened(live, tmp_path / "live")
    assert live.find("kept") is not None
    assert live.apply([upsert("later", 3)]) == 2
    live.close()


@pytest.fixture
def no_room(monkeypatch):
    """A disk that takes no more files, though it takes folders."""

    def full(*_, **__):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("similarity.live_folder.os.link", full)
    monkeypatch.setattr("similarity.live_folder.shutil.copy2", full)
    monkeypatch.setattr("similarity.compaction.save_index", full)


def test_an_index_that_has_no_room_leaves_nothing_behind_and_says_so(live, no_room, tmp_path):
    before = sorted(path.name for path in (tmp_path / "live").iterdir())
    other = write_built(tmp_path / "other", 60, seed=1)
    message = "base-00000002: .*other can't be put here: No space left on device. Make room, and see that you may write here."
    with pytest.raises(NeighbourIndexError, match=message):
        live.install(other)
    with pytest.raises(NeighbourIndexError, match="can't be put here: No space left on device"):
        LiveIndex.create(tmp_path / "new", other)
    assert sorted(path.name for path in (tmp_path / "live").iterdir()) == before
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".lock"]
    assert live.apply([upsert("new", 1)]) == 1


def test_a_compaction_that_has_no_room_leaves_nothing_behind_and_says_so(live, no_room, tmp_path):
    live.apply([upsert("new", 1)])
    folder = tmp_path / "live"
    (log,) = folder.glob("changes-*")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(NeighbourIndexError, match="base-00000009: the new index can't be written: No space left on device. Make room."):
        compact(folder / "base-00000001", [log], folder / "base-00000009", folder / "history-00000009.log", 0.0)
    assert sorted(path.name for path in folder.iterdir()) == before


def applied_together(live, *groups):
    """Returns what became of groups of changes that arrive while another is written."""
    with ThreadPoolExecutor(len(groups)) as pool:
        with live._commit_lock:
            calls = [pool.submit(live.apply, group) for group in groups]
            while len(live._queue) < len(groups):
                time.sleep(0.001)
        return [call.exception() or call.result() for call in calls]


def test_groups_that_are_too_large_only_together_are_kept_one_by_one(live, tmp_path, monkeypatch):
    small, large = [upsert("one", 1)], [upsert(f"many-{number}", number) for number in range(9)]
    monkeypatch.setattr("similarity.change_log.MAX_FRAME_BYTES", 400)
    one, many, other = applied_together(live, small, large, [upsert("other", 2)])
    assert sorted([one, other]) == [1, 2]
    assert "9 changes at once take" in str(many)
    monkeypatch.undo()
    live = reopened(live, tmp_path / "live")
    assert [live.find(name) is not None for name in ("one", "other", "many-0")] == [True, True, False]
    live.close()


def test_no_group_is_taken_for_kept_when_writing_them_fails_in_any_way(live, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(live._recent, "take", fail)
    found = applied_together(live, [upsert("one", 1)], [upsert("other", 2)])
    assert sorted(type(one).__name__ for one in found) == ["IndexWriteError", "MemoryError"]


def test_every_query_sees_whole_groups_while_changes_arrive(live):
    """Each group replaces a pair of products by the next pair; a query must always see both of one pair."""
    vector = np.random.default_rng(3).normal(size=DIMENSION).astype(np.float32)
    wrong, ended = [], threading.Event()

    def ask():
        while not ended.is_set():
            ids = live.search(vector[None], 2, None, ProductFilter(shop=("pair",))).ids[0].tolist()
            if len({name.partition("/")[0] for name in ids}) != 1 or len(ids) != 2:
                wrong.append(ids)

    live.apply([Upsert("0/a", "n1", vector, {"shop": "pair"}), Upsert("0/b", "n1", vector, {"shop": "pair"})])
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(1, 150):
        new = [Upsert(f"{number}/{side}", "n1", vector, {"shop": "pair"}) for side in "ab"]
        live.apply([*new, Delete(f"{number - 1}/a"), Delete(f"{number - 1}/b")])
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []


CHANGES = st.lists(
    st.one_of(
        st.builds(Delete, st.sampled_from(["p0", "p1", "q0", "q1"])),
        st.builds(Move, st.sampled_from(["p0", "p1", "q0", "q1"]), st.sampled_from([*NODES, ""])),
        st.builds(upsert, st.sampled_from(["p0", "p1", "q0", "q1"]), st.integers(0, 9), st.sampled_from([*NODES, ""])),
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CHANGES, st.integers(1, 5))
def test_any_changes_come_to_what_applying_them_to_a_dictionary_comes_to(changes, group):
    catalogue = small_catalogue(30)
    recent = RecentChanges(catalogue)
    expected = {catalogue.product_ids[row]: (catalogue.node_id(row), catalogue.vectors[row]) for row in range(30)}
    for start in range(0, len(changes), group):
        recent.take(changes[start : start + group])
    for change in changes:
        if isinstance(change, Delete):
            expected.pop(change.product_id, None)
        elif isinstance(change, Upsert):
            expected[change.product_id] = (change.node_id, change.vector / np.linalg.norm(change.vector))
        elif change.product_id in expected:
            expected[change.product_id] = (change.node_id, expected[change.product_id][1])
    products = merged(catalogue, recent.view())
    assert set(products.product_ids) == set(expected)
    for row, product_id in enumerate(products.product_ids):
        assert products.node_id(row) == expected[product_id][0]
        assert np.allclose(products.vectors[row], expected[product_id][1], atol=1e-5)
    query = np.ones((1, DIMENSION), np.float32)
    assert ExactIndex(products).search(query, 50).ids.shape == (1, len(expected))


def test_a_product_that_is_replaced_or_moved_is_there_at_every_moment_in_between():
    """For other threads, which may look between any two lines."""
    catalogue = small_catalogue(30)
    recent, looks = RecentChanges(catalogue), []

    def look(frame, event, argument):
        if frame.f_code.co_filename.endswith("recent_changes.py"):
            for product_id in ("p0", "new"):
                looks.append((recent.vector_of(product_id) is not None, recent.find(product_id) is not None))
            return look
        return None

    recent.take([upsert("new", 1, brand="first")])
    before = sys.gettrace()
    sys.settrace(look)
    try:
        for number in range(3):
            recent.take([upsert("p0", number, brand=f"brand {number}"), upsert("new", number), Move("p0", "n4"), Move("new", "n2")])
    finally:
        sys.settrace(before)
    assert len(looks) > 100
    assert set(looks) == {(True, True)}


def test_a_log_that_goes_while_the_status_is_asked_counts_nothing(live, monkeypatch):
    live.apply([upsert("new", 1)])
    logs = live._folder.logs_from(0)
    monkeypatch.setattr(live._folder, "logs_from", lambda number: [*logs, live._folder.log(99)])
    assert live.status().log_bytes == logs[0].stat().st_size > 0


def test_a_pointer_names_what_is_in_the_folder(live, tmp_path):
    live.apply([upsert("new", 1)])
    live.compact()
    pointer = json.loads((tmp_path / "live" / "current.json").read_text())
    assert (tmp_path / "live" / pointer["base"] / "manifest.json").is_file()
    assert (tmp_path / "live" / pointer["history"]).is_file()


def test_the_example_of_the_docs_works_as_written(tmp_path):
    products = in_tree_order(
        np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32),
        [f"product-{number}" for number in range(60)],
        np.arange(60) % 2,
        ["shoes", "sneakers"],
        [2, 2],
        columns_from_values({"shop": ["first"] * 60, "brand": [None] * 60, "gender": [None] * 60}, np.arange(60) * 2.0),
    )
    save_index(tmp_path / "var" / "serving" / "indexes" / "shop" / "12", build_index(products, 10**6, 10, 0.9, 0), version=12)
    (code,) = examples_of("docs/similarity.md", "## Asking", {}).code
    said = " ".join(said_by(code, tmp_path))
    assert (said.count("'product-"), "'product-7'" in said) == (10, False)
    assert said.endswith("] 12 the index is exact")
