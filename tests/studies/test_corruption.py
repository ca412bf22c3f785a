"""Noise is of the kind and share it says, and the same for the same seed."""

import numpy as np
import pytest

from studies.corruption import corrupted, corruptions, mistyped

FIELDS = ("brand", "description", "merchant_category", "title")


@pytest.fixture(scope="module")
def products():
    rows = range(2000)
    return [
        {"id": f"p{row}", "title": f"word{row} more words here", "merchant_category": f"m{row % 50}", "brand": "b"}
        | ({"description": f"d{row}"} if row % 2 else {})
        for row in rows
    ]


def changed(before, after, field):
    return np.mean([one.get(field) != other.get(field) for one, other in zip(before, after, strict=True) if field in one])


@pytest.mark.parametrize(
    ("name", "field", "share"),
    [
        ("5 % title typos", "title", 1 - 0.95**4),
        ("30 % wrong merchant category", "merchant_category", 0.3),
        ("30 % swapped descriptions", "description", 0.3),
        ("20 % truncated titles", "title", 0.2),
    ],
)
def test_the_share_that_is_named_is_changed_and_nothing_else(products, name, field, share):
    after = corrupted(products, name, corruptions(FIELDS)[name], 0)
    assert changed(products, after, field) == pytest.approx(share, abs=0.03)
    others = [other for other in (*FIELDS, "id") if other != field]
    assert [changed(products, after, other) for other in others] == [0.0] * len(others)


def test_the_same_seed_spoils_the_same_way_and_leaves_the_clean_products_alone(products):
    kinds, before = corruptions(FIELDS), [dict(product) for product in products]
    for name, kind in kinds.items():
        assert corrupted(products, name, kind, 1) == corrupted(products, name, kind, 1)
    assert corrupted(products, "all together", kinds["all together"], 1) != corrupted(products, "all together", kinds["all together"], 2)
    assert products == before


def test_all_together_spoils_titles_categories_and_descriptions(products):
    after = corrupted(products, "all together", corruptions(FIELDS)["all together"], 0)
    assert all(changed(products, after, field) > 0.25 for field in ("title", "merchant_category", "description"))


def test_every_field_there_is_can_be_missing_but_no_product_is_left_without_a_word(products):
    kinds = corruptions(FIELDS)
    assert [name for name in kinds if name.startswith("no ")] == ["no title", "no brand", "no merchant_category", "no description"]
    alone = [{"id": "x", "title": "only this"}]
    assert corrupted(alone, "no title", kinds["no title"], 0) == alone
    assert all("brand" not in product for product in corrupted(products, "no brand", kinds["no brand"], 0))


def test_a_catalogue_without_descriptions_is_not_spoilt_in_them():
    assert [name for name in corruptions(("title",)) if "description" in name or "merchant" in name] == []


@pytest.mark.parametrize("word", ["ab", "sneaker", "Ünïcode"])
def test_a_typing_error_moves_a_word_by_one_step(word):
    rng = np.random.default_rng(0)
    assert {len(mistyped(word, rng)) - len(word) for _ in range(50)} == {-1, 0, 1}
    assert mistyped("a", rng) == "a"
