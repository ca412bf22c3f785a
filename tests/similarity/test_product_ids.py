"""Product ids as bytes: the same texts, found again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import NeighbourIndexError
from similarity import product_ids
from similarity.product_ids import ProductIds

IDS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True, max_size=30)


@given(IDS, st.text(st.characters(codec="utf-8"), max_size=8))
def test_ids_are_what_they_were_made_of_and_are_found(ids, other):
    found = ProductIds.of(ids)
    assert list(found) == ids
    assert found[1:5] == tuple(ids[1:5])
    assert [found.find(name) for name in ids] == list(range(len(ids)))
    assert (found.find(other) >= 0) == (other in ids)
    with pytest.raises(IndexError):
        found[len(ids)]


def test_ids_whose_digests_are_the_same_are_told_apart(monkeypatch):
    monkeypatch.setattr(product_ids, "_hash", lambda encoded: len(encoded))
    found = ProductIds.of(["aa", "bb", "c"])
    assert [found.find(name) for name in ("aa", "bb", "c", "dd")] == [0, 1, 2, -1]
    with pytest.raises(NeighbourIndexError, match="'bb' is there twice"):
        ProductIds.of(["aa", "bb", "cc", "bb"])


def test_saved_ids_are_read_as_they_were(tmp_path):
    ProductIds.of(["a", "ü", ""]).save(tmp_path)
    found = ProductIds.load(tmp_path)
    assert list(found) == ["a", "ü", ""]
    assert found.take(np.array([[2, 1]])).tolist() == [["", "ü"]]
