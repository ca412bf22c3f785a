"""Near-duplicate offers share a group; a group has one split."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.grouping import group_key, split_of

# Each with a letter in front that no size, shop or gender starts a word with, so that only their order differs.
word = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789éü"), min_size=3, max_size=8).map("q{}".format)
words = st.lists(word, min_size=2, max_size=7)


@given(words, st.randoms(use_true_random=False))
def test_case_accents_punctuation_and_word_order_do_not_matter(title, rng: random.Random):
    shuffled = list(title)
    rng.shuffle(shuffled)
    other = " - ".join(shuffled).upper() + "!"
    assert group_key({"id": "2", "title": unicodedata.normalize("NFD", other)}) == group_key({"id": "1", "title": " ".join(title)})


@given(words, st.permutations([" - Big Shop", " - XL", " Women's".replace("'s", "s")]))
def test_what_shops_append_does_not_matter(title, endings):
    plain = {"id": "1", "title": " ".join(title), "shop": "Big Shop"}
    assert group_key({**plain, "id": "2", "title": plain["title"] + "".join(endings)}) == group_key(plain)


@pytest.mark.parametrize("ending", [", EU 42", " size M", " Größe 38", " 10", " size 10"])
def test_sizes_at_the_end_do_not_matter(ending):
    assert group_key({"title": "Runner Pro" + ending, "size": "10"}) == group_key({"title": "Runner Pro"})


@pytest.mark.parametrize("other", ["iPhone 13", "Phone 12", "iPhone 12 Case", "iPhone"])
def test_other_products_have_other_groups(other):
    assert group_key({"id": "1", "title": other}) != group_key({"id": "1", "title": "iPhone 12"})


def test_words_for_men_and_women_count_unless_they_are_at_the_end():
    groups = [group_key({"title": title}) for title in ("Women Runner", "Runner Women", "Runner", "Men Runner")]
    assert groups[1] == groups[2]
    assert len(set(groups)) == 3


def test_the_last_word_is_never_taken_off():
    assert group_key({"id": "1", "title": "Men"}) != group_key({"id": "1", "title": "XL"})


def test_titles_that_say_nothing_are_kept_apart():
    assert group_key({"id": "1", "title": "***"}) != group_key({"id": "2", "title": "***"})
    assert group_key({"id": "1", "title": "***"}) != group_key({"id": "1", "title": "id 1"})


others = st.sampled_from(["brand", "shop", "size", "image", "description"])


@given(st.dictionaries(others, st.text(max_size=9)), st.sampled_from([None, ""]))
def test_products_without_a_title_are_kept_apart_however_alike(rest, title):
    products = [{**rest, "id": str(number), **({} if title is None else {"title": title})} for number in range(3)]
    groups = [group_key(product) for product in products]
    assert len(set(groups)) == 3
    assert groups == [group_key({"id": str(number), "brand": "other"}) for number in range(3)]


def test_titles_of_other_scripts_have_groups_too():
    assert (
        group_key({"id": "1", "title": "运动鞋"}) == group_key({"id": "2", "title": "运动鞋!"}) != group_key({"id": "3", "title": "手提包"})
    )


@given(st.text(), st.floats(0.01, 0.4), st.integers(0, 2**31))
def test_a_larger_share_only_moves_groups_to_test(group, share, seed):
    if split_of(group, share, seed) == "test":
        assert split_of(group, share + 0.1, seed) == "test"


def test_the_share_is_met_and_the_seed_matters():
    groups = [str(number) for number in range(20_000)]
    chosen = [{group for group in groups if split_of(group, 0.1, seed) == "test"} for seed in (0, 1)]
    assert all(0.09 < len(tests) / len(groups) < 0.11 for tests in chosen)
    assert len(chosen[0] & chosen[1]) < 300
