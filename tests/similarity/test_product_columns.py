"""Filters: a product is found exactly if it has what is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import NeighbourIndexError
from similarity.product_columns import ProductColumns, ProductFilter, columns_from_values
from similarity.vectors import in_tree_order

VALUES = st.sampled_from(["a", "b", "c", None, ""])
PRODUCTS = st.lists(st.tuples(VALUES, VALUES, VALUES, st.one_of(st.none(), st.floats(0, 9, width=32))), min_size=1, max_size=20)
WANTED = st.lists(st.sampled_from(["a", "b", "unknown"]), max_size=2).map(tuple)
BOUND = st.one_of(st.none(), st.floats(0, 9, width=32))


def columns_of(products):
    texts = {name: [product[place] for product in products] for place, name in enumerate(("shop", "brand", "gender"))}
    return columns_from_values(texts, np.array([np.nan if product[3] is None else product[3] for product in products], np.float32))


@given(PRODUCTS, WANTED, WANTED, BOUND, BOUND)
def test_the_mask_is_what_reading_every_product_gives(products, shop, gender, low, high):
    if low is not None and high is not None and low > high:
        low, high = high, low
    wanted = ProductFilter(shop=shop, gender=gender, min_price=low, max_price=high)
    expected = [
        (not shop or product[0] in shop)
        and (not gender or product[2] in gender)
        and (low is None or (product[3] is not None and product[3] >= low))
        and (high is None or (product[3] is not None and product[3] <= high))
        for product in products
    ]
    columns = columns_of(products)
    assert columns.mask(wanted, slice(0, len(products))).tolist() == expected
    assert columns.mask(wanted, slice(1, len(products))).tolist() == expected[1:]


def test_saved_columns_are_read_as_they_were(tmp_path):
    columns_of([("a", "ü", None, 5.0), (None, "ü", "x", None)]).save(tmp_path)
    found = ProductColumns.load(tmp_path)
    assert [found.at(row) for row in (0, 1)] == [{"shop": "a", "brand": "ü", "price": 5.0}, {"brand": "ü", "gender": "x"}]


def test_filters_that_cannot_be_meant_are_refused():
    with pytest.raises(NeighbourIndexError, match="min_price 5 is above max_price 3. Swap them"):
        ProductFilter(min_price=5, max_price=3)
    with pytest.raises(NeighbourIndexError, match="'max_price' is nan"):
        ProductFilter(max_price=float("nan"))
    with pytest.raises(NeighbourIndexError, match="'shop' has 1,001 values; at most 1,000"):
        ProductFilter(shop=tuple(map(str, range(1001))))


def test_an_index_without_fields_says_so():
    products = in_tree_order(np.ones((1, 2), np.float32), ["a"], np.array([0]), ["n"], [1])
    with pytest.raises(NeighbourIndexError, match="the index has no shop, brand, gender or price to filter by"):
        products.mask(ProductFilter(shop=("x",)), slice(0, 1))
