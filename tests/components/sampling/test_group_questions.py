"""Groups share what they are named after, and those are asked about whose answer is worth most."""

from dataclasses import replace

import numpy as np
import pytest

from components.sampling.batch import group_numbers
from components.sampling.group_questions import (
    BRAND_NOUN,
    CLUSTER,
    HEAD_NOUN,
    MAX_MEMBERS,
    MIN_TITLES,
    SHOP_CATEGORY,
    Group,
    find_groups,
    head_nouns,
    pick_groups,
)
from tests.components.sampling.pools import make_pool

RNG = np.random.default_rng


def pool_of(num_products=60, unsure=None, **fields):
    """Returns a pool; `unsure` is how unsure the model is of each product, which it puts at n0 or else n1."""
    pool = make_pool(RNG(0), num_products, titles=[f"t{k}" for k in range(num_products)])
    doubt = np.full(num_products, 0.5) if unsure is None else np.asarray(unsure)
    likely = np.zeros((num_products, 6), np.float32)
    likely[:, 0], likely[:, 1] = 1 - doubt, doubt
    nodes = np.tile(np.array([f"n{k}" for k in range(6)], dtype=object), (num_products, 1))
    columns = {name: np.array(values, dtype=object) for name, values in fields.items()}
    return replace(pool, fields=columns, embeddings=None, exclusive_probabilities=likely, exclusive_nodes=nodes)


def found(pool, rows=None):
    rows = np.arange(len(pool)) if rows is None else rows
    return {(group.kind, group.key): group.rows.tolist() for group in find_groups(pool, rows, group_numbers(pool)[rows], RNG(0))}


def test_products_are_grouped_by_shop_and_category_by_head_noun_and_by_brand():
    pool = pool_of(
        title=[f"{'red' if k % 2 else 'blue'} {'shoes' if k < 30 else 'lamp'} {k}cm" for k in range(60)],
        brand=[("acme" if k % 3 == 0 else "bolt") for k in range(60)],
        shop=["one" if k < 40 else "two" for k in range(60)],
        merchant_category=["A > B" if k < 20 else None for k in range(60)],
    )
    groups = found(pool)
    assert groups[HEAD_NOUN, "shoes"] == list(range(30))
    assert groups[HEAD_NOUN, "lamp"] == list(range(30, 60))
    assert groups[BRAND_NOUN, "acme, shoes"] == list(range(0, 30, 3))
    assert groups[SHOP_CATEGORY, "one, a b"] == list(range(20))
    assert not any(kind == CLUSTER for kind, _ in groups)


def test_near_duplicates_count_once_and_small_or_huge_groups_are_no_groups():
    same = pool_of(title=["shoes"] * 60)
    same = replace(same, title_keys=np.array([f"t{k // 10}" for k in range(60)], dtype=object))
    assert not found(same)
    assert not found(pool_of(title=["shoes"] * (MIN_TITLES - 1) + ["lamp"] * (61 - MIN_TITLES)), np.arange(MIN_TITLES - 1))
    many = MAX_MEMBERS + 1
    assert not found(pool_of(many, title=["shoes"] * many))


def test_only_products_that_may_be_asked_about_are_members():
    pool = pool_of(title=["shoes"] * 60)
    assert found(pool, np.arange(5, 25)) == {(HEAD_NOUN, "shoes"): list(range(5, 25))}


def test_products_alike_to_the_model_are_clusters_named_after_their_first():
    pool = pool_of(200)
    rng = RNG(1)
    vectors = np.repeat(np.eye(4, dtype=np.float32), 50, axis=0) + rng.normal(0, 0.02, (200, 4)).astype(np.float32)
    groups = found(replace(pool, embeddings=vectors))
    assert {kind for kind, _ in groups} == {CLUSTER}
    assert all(key == f"p{rows[0]}" and len({row // 50 for row in rows}) == 1 for (_, key), rows in groups.items())
    assert len(sum(groups.values(), [])) == len(set(sum(groups.values(), [])))


def test_head_nouns_are_words_that_titles_share():
    assert head_nouns(["a4 red shoes", "shoes of acme", "big shoes 42", "", "unique"]) == ["shoes", "shoes", "shoes", "", ""]


def groups_of(*rows):
    return [Group(HEAD_NOUN, f"g{k}", np.array(each)) for k, each in enumerate(rows)]


def picked(pool, groups, count=3, asked=frozenset(), seed=0):
    return pick_groups(pool, groups, group_numbers(pool), count, RNG(seed), lambda node: f"path of {node}", asked)


def test_groups_that_are_large_and_doubtful_and_of_one_node_come_first():
    doubt = [0.4] * 20 + [0.4] * 10 + [0.01] * 20
    pool = pool_of(50, unsure=doubt)
    order = picked(pool, groups_of(range(30, 50), range(20, 30), range(20)))
    assert [each.group.key for each in order] == ["g2", "g1", "g0"]
    assert order[0].score > order[1].score > order[2].score
    assert order[0].reason == "20 products whose title ends alike, perhaps all path of n0: one answer for all"


def test_a_group_the_model_sees_as_two_nodes_comes_after_one_it_sees_as_one():
    pool = pool_of(40, unsure=[0.3] * 40)
    nodes = pool.exclusive_nodes.copy()
    nodes[:20:2, 0], nodes[:20:2, 2] = "n2", "n0"
    order = picked(replace(pool, exclusive_nodes=nodes), groups_of(range(20), range(20, 40)))
    assert [each.group.key for each in order] == ["g1", "g0"]


def test_no_product_is_asked_about_twice_and_no_question_either():
    pool, groups = pool_of(60), groups_of(range(30), range(20, 40), range(40, 60))
    assert {each.group.key for each in picked(pool, groups)} <= {"g0", "g2"} | {"g1", "g2"}
    again = picked(pool, groups, asked=frozenset({groups[0].question, groups[2].question}))
    assert [each.group.key for each in again] == ["g1"]
    assert len({group.question for group in groups}) == 3


def test_examples_are_five_different_titles_of_the_group():
    pool = pool_of(60)
    pool = replace(pool, title_keys=np.array([f"t{k // 2}" for k in range(60)], dtype=object))
    (one,) = picked(pool, groups_of(range(24)), 1)
    assert len(one.examples) == len({row // 2 for row in one.examples.tolist()}) == 5
    assert set(one.examples.tolist()) <= set(range(24))
    (other,) = picked(pool, groups_of(range(24)), 1, seed=1)
    assert set(other.examples.tolist()) != set(one.examples.tolist())


@pytest.mark.parametrize("count", [0, 1])
def test_a_model_that_is_sure_of_everything_has_no_question(count):
    assert picked(pool_of(20, unsure=[0.0] * 20), groups_of(range(20)), count) == []
