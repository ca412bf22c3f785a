"""What the benchmark of neighbour lists says is of the lists and words alone, not of its own questions and checks."""

import numpy as np
import pytest

from benchmarks import neighbour_lists
from benchmarks.clustered_catalogue import benchmark_tree, clustered_catalogue
from components.neighbour_lists import planned_parts
from similarity.vectors import save_vectors

HELD_BYTES = 300_000_000


class OneWordEach:
    """Words by which every product finds itself and no other."""

    def texts(self, vectors):
        return [f"w{abs(hash(vector.tobytes()))}" for vector in vectors]


class TheSameWord:
    """Words by which every product finds all."""

    def texts(self, vectors):
        return ["same"] * len(vectors)


@pytest.fixture(scope="module")
def products():
    return clustered_catalogue(800, 16, benchmark_tree(None), 0)


def test_words_that_find_nothing_but_the_product_that_asks_have_no_recall(products):
    assert neighbour_lists.words_in_an_engine(products, OneWordEach(), np.random.default_rng(0))[0] == [0, 0, 0]


def test_words_that_find_everything_have_every_other_product_among_a_thousand(products):
    recalls, _ = neighbour_lists.words_in_an_engine(products, TheSameWord(), np.random.default_rng(0))
    assert recalls[0] < recalls[1] < recalls[2] == 1


def test_memory_is_that_of_writing_without_the_check(products, tmp_path, monkeypatch):
    (tmp_path / "vectors").mkdir()
    save_vectors(tmp_path / "vectors", products)
    part = planned_parts(products, benchmark_tree(None), neighbour_lists.PLAN)[0]
    monkeypatch.setattr(neighbour_lists, "_check", lambda *_: np.ones(HELD_BYTES, np.int8).sum())
    write = neighbour_lists.part_writer(tmp_path)
    for _ in range(2):  # The first check mustn't count for the second part either.
        (written,) = write(part)
        assert written.num_products > 0
        assert neighbour_lists._peak_bytes() > written.peak_bytes + 0.8 * HELD_BYTES
