"""Vectors as words: alike vectors share many, and a full-text engine finds them by it."""

import sqlite3

import numpy as np
import pytest

from schemas.errors import NeighbourIndexError
from similarity.vector_tokens import percentile, rounding


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    drawn = np.repeat(rng.normal(size=(100, 32)), 20, axis=0) + 0.5 * rng.normal(size=(2000, 32))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def test_each_place_has_levels_of_equally_many_products(vectors):
    _, levels = percentile(vectors, 10).numbers(vectors)
    counts = np.array([np.bincount(levels[:, place], minlength=10) for place in range(32)])
    assert counts.min() >= 199
    assert counts.max() <= 201


def test_the_words_kept_are_those_of_the_largest_numbers(vectors):
    places, _ = rounding(1, words=4).numbers(vectors)
    kept = np.take_along_axis(np.abs(vectors), places, axis=1)
    assert (kept.min(axis=1) >= np.sort(np.abs(vectors), axis=1)[:, -4]).all()


@pytest.mark.parametrize("encoding", ["rounding", "percentile"])
def test_a_full_text_engine_finds_most_neighbours_by_their_words(vectors, encoding):
    tokens = rounding(1) if encoding == "rounding" else percentile(vectors, 8)
    engine = sqlite3.connect(":memory:")
    engine.execute("CREATE VIRTUAL TABLE products USING fts5(words, tokenize = \"unicode61 tokenchars '_'\")")
    engine.executemany("INSERT INTO products(rowid, words) VALUES (?, ?)", enumerate(tokens.texts(vectors), 1))
    found = []
    for row in range(0, 2000, 100):
        query = " OR ".join(tokens.texts(vectors[row : row + 1])[0].split())
        rows = engine.execute("SELECT rowid - 1 FROM products WHERE products MATCH ? ORDER BY rank LIMIT 50", (query,))
        truth = np.argsort(-(vectors @ vectors[row]))[:10]
        found.append(len({number for (number,) in rows} & set(truth.tolist())) / 10)
    assert np.mean(found) > 0.8


def test_no_levels_and_no_vectors_are_refused(vectors):
    with pytest.raises(NeighbourIndexError, match="1 levels of 2000 vectors"):
        percentile(vectors, 1)
    with pytest.raises(NeighbourIndexError, match="8 levels of 0 vectors"):
        percentile(vectors[:0], 8)
    with pytest.raises(NeighbourIndexError, match="9 decimals"):
        rounding(9)
