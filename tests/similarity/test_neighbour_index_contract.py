"""The contract every neighbour index keeps, run against every kind."""

from copy import copy

import numpy as np
import pytest

from schemas.errors import NeighbourIndexError
from similarity.contract import KINDS, index_kind
from similarity.planner import BuiltIndex, load_index, save_index
from similarity.vectors import STORAGES, in_tree_order

NUM_PRODUCTS, DIMENSION, NUM_NODES = 2000, 16, 7
# 0 and 4 are roots; 1 and 3 are children of 0, 2 of 1, 5 and 6 of 4.
SUBTREE_ENDS = (4, 3, 3, 4, 7, 6, 7)


@pytest.fixture(scope="module")
def products():
    rng = np.random.default_rng(0)
    numbers = rng.integers(-1, NUM_NODES - 1, NUM_PRODUCTS)  # Nothing at the last node, some at none.
    centres = rng.normal(size=(NUM_NODES, DIMENSION))  # Products of one node are alike, as a model makes them.
    vectors = (centres[numbers] + 0.6 * rng.normal(size=(NUM_PRODUCTS, DIMENSION))).astype(np.float32)
    ids = [f"p{i}" for i in range(NUM_PRODUCTS)]
    return in_tree_order(vectors, ids, numbers, [f"n{i}" for i in range(NUM_NODES)], SUBTREE_ENDS)


@pytest.fixture(scope="module", params=[f"{kind}-{storage}" for kind in KINDS for storage in STORAGES])
def index(request, products):
    kind, _, storage = request.param.partition("-")
    built = index_kind(kind).build(products.stored_as(storage), seed=1)
    if kind != "exact":
        built.exact_below = NUM_PRODUCTS  # The whole index is searched approximately, subtrees exactly.
    return built


@pytest.fixture(scope="module")
def saved(index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "built"
    save_index(folder, BuiltIndex(index, 1.0, 10))
    return folder


def test_every_vector_is_its_own_nearest_neighbour(index):
    found = index.search(index.products.vectors, 1)
    assert list(found.ids[:, 0]) == list(index.products.product_ids)
    assert np.allclose(found.similarities, 1, atol=1e-4)


def test_neighbours_come_best_first_and_only_once(index):
    found = index.search(index.products.vectors[:50], 20)
    assert (np.diff(found.similarities, axis=1) <= 1e-6).all()
    assert all(len(set(row)) == 20 for row in found.ids.tolist())


def test_similarities_are_those_of_the_returned_products(index):
    queries = index.products.vectors[:50]
    found = index.search(queries, 5)
    true = np.einsum("qd,qkd->qk", queries, index.products.vectors[found.positions])
    assert np.allclose(found.similarities, true, atol=1e-4)
    assert (index.products.product_ids.take(found.positions) == found.ids).all()


@pytest.mark.parametrize("node", range(NUM_NODES))
def test_a_subtree_is_searched_exactly_and_alone(index, node):
    subtree = index.products.subtree(f"n{node}")
    rows = index.products.rows(subtree)
    queries = index.products.vectors[::200]
    found = index.search(queries, 5, subtree)
    true = -np.sort(-(queries @ index.products.vectors[rows].T), axis=1)[:, :5]
    assert found.similarities.shape == true.shape
    assert np.allclose(found.similarities, true, atol=1e-5)
    assert ((found.positions >= rows.start) & (found.positions < rows.stop)).all()


@pytest.fixture(scope="module")
def eager(index):
    """The same index at its best, which never searches exactly only because there is little to search."""
    found = index
    while harder := found.with_more_effort():
        found = harder
    found = copy(found)
    if found.kind != "exact":
        found.exact_below = 0
    return found


@pytest.mark.parametrize("share", [0.9, 0.3, 0.02, 0.002, 0.0])
@pytest.mark.parametrize("node", ["", "n0", "n4"])
def test_a_mask_is_kept_and_never_leaves_fewer_than_there_are(eager, node, share):
    subtree = eager.products.subtree(node) if node else None
    rows = eager.products.rows(subtree)
    allowed = np.random.default_rng(4).random(rows.stop - rows.start) < share
    inside = np.flatnonzero(allowed) + rows.start
    queries = np.concatenate([eager.products.vectors[::400], -eager.products.vectors[:2]])  # Some far from all.
    found = eager.search(queries, 20, subtree, allowed)
    assert found.ids.shape == (len(queries), min(20, len(inside)))
    assert np.isin(found.positions, inside).all()
    assert all(len(set(row)) == len(row) for row in found.positions.tolist())
    if found.ids.size:
        true = -np.sort(-(queries @ eager.products.vectors[inside].T), axis=1)[:, :20]
        assert (found.similarities >= true[:, -1:] - 1e-4).mean() > 0.95


def test_a_mask_of_another_length_or_type_is_refused(index):
    with pytest.raises(NeighbourIndexError, match=r"the mask is bool \[3\], expected bool \[2000\]: one for each row of the subtree"):
        index.search(index.products.vectors[:1], 1, None, np.ones(3, np.bool_))
    with pytest.raises(NeighbourIndexError, match="the mask is int64"):
        index.search(index.products.vectors[:1], 1, None, np.ones(NUM_PRODUCTS, np.int64))


def test_a_plan_says_how_many_may_be_found_and_why_it_is_done_so(index):
    subtree = index.products.subtree("n0")
    rows = index.products.rows(subtree)
    allowed = np.arange(rows.stop - rows.start) < 7
    plan = index.plan(5, subtree, allowed)
    assert (plan.method, plan.num_products, plan.num_allowed) == ("exact", rows.stop - rows.start, 7)
    assert "exact" in plan.reason
    whole = index.plan(5)
    assert whole.method == ("exact" if index.kind == "exact" else "approximate")


def test_a_subtree_without_products_gives_none(index):
    found = index.search(index.products.vectors[:3], 5, index.products.subtree("n6"))
    assert found.ids.shape == found.similarities.shape == (3, 0)


def test_asking_for_more_than_there_is_gives_what_there_is(index):
    found = index.search(index.products.vectors[:2], NUM_PRODUCTS + 5)
    assert found.ids.shape == (2, NUM_PRODUCTS)
    assert sorted(found.ids[0]) == sorted(index.products.product_ids)


def test_no_queries_give_no_rows(index):
    assert index.search(np.zeros((0, DIMENSION), np.float32), 3).ids.shape == (0, 3)


def test_a_query_is_brought_to_unit_length(index):
    query = index.products.vectors[:1]
    for length in (7, 1e-30, 1e30):  # The squares of the last two are no float32.
        assert np.allclose(index.search(np.float32(length) * query, 5).similarities, index.search(query, 5).similarities, atol=1e-5)


def test_a_query_of_zeros_is_similar_to_nothing(index):
    found = index.search(np.zeros((1, DIMENSION), np.float32), 3)
    assert np.allclose(found.similarities, 0)


def test_another_dimension_is_refused(index):
    with pytest.raises(NeighbourIndexError, match=r"shape \[1, 17\], the index has dimension 16"):
        index.search(np.ones((1, DIMENSION + 1), np.float32), 3)


def test_a_query_that_is_not_finite_is_refused(index):
    queries = np.ones((2, DIMENSION), np.float32)
    queries[1, 3] = np.nan
    with pytest.raises(NeighbourIndexError, match="query 1 "):
        index.search(queries, 3)


def test_k_below_one_is_refused(index):
    with pytest.raises(NeighbourIndexError, match="k is 0"):
        index.search(index.products.vectors[:1], 0)


def test_a_range_outside_the_tree_is_refused(index):
    with pytest.raises(NeighbourIndexError, match="range of the 7 node numbers"):
        index.search(index.products.vectors[:1], 1, range(0, 8))


def test_a_saved_index_answers_the_same_from_another_place(index, tmp_path):
    moved = tmp_path / "moved"
    save_index(tmp_path / "built", BuiltIndex(index, 1.0, 10))
    (tmp_path / "built").rename(moved)
    loaded, manifest = load_index(moved)
    before, after = index.search(index.products.vectors[:100], 10), loaded.search(index.products.vectors[:100], 10)
    assert manifest.kind == index.kind
    assert (before.ids == after.ids).all()
    assert np.array_equal(before.similarities, after.similarities)


def test_the_same_seed_builds_the_same_files(index, saved, tmp_path):
    again = type(index).build(index.products, seed=1)
    manifest = save_index(tmp_path / "again", BuiltIndex(again, 1.0, 10))
    assert dict(load_index(saved)[1].sha256) == dict(manifest.sha256)


def test_nothing_that_could_run_code_is_saved(saved):
    assert not [path.name for path in saved.rglob("*") if path.suffix in (".pkl", ".pickle", ".py")]


def test_every_damaged_file_is_noticed(saved, tmp_path):
    for number, name in enumerate(sorted(load_index(saved)[1].sha256)):
        copy = tmp_path / str(number)
        _copy(saved, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(NeighbourIndexError, match="the content isn't what the manifest says"):
            load_index(copy)


def test_a_missing_file_is_named(saved, tmp_path):
    _copy(saved, tmp_path / "copy")
    (tmp_path / "copy" / "vectors.npy").unlink()
    with pytest.raises(NeighbourIndexError, match="vectors.npy is missing"):
        load_index(tmp_path / "copy")


def _copy(source, target):
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
