"""The projections of the photo study do what they are named for, and the study says so where it has nothing to measure."""

import numpy as np
import pytest

from benchmarks.photo_similarity import PROJECTIONS, Photos, main, scores


def noisy_products(rng, count):
    """Returns vectors whose kinds differ in one direction, beside two that are loud and say nothing; and the kinds."""
    kinds = rng.integers(0, 4, count)
    vectors = rng.normal(size=(count, 8)) * [8, 8, 1, 1, 1, 1, 1, 0.2]
    vectors[:, 7] += kinds
    return vectors.astype(np.float32), np.array([f"root > group > kind {kind}" for kind in kinds])


def precision(vectors, kinds):
    category = np.array(["root > group"] * len(kinds))
    photos = Photos([b""] * len(kinds), category, kinds, np.zeros(len(kinds), np.int64), [])
    return scores(photos, vectors, vectors[:0]).hits.mean()


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_learnt_projection_finds_kinds_that_loud_directions_hide(name):
    rng = np.random.default_rng(0)
    (known, labels), (vectors, kinds) = noisy_products(rng, 400), noisy_products(rng, 300)
    project = PROJECTIONS[name](known, labels, 0.01)
    assert precision(vectors, kinds) < 0.45
    assert precision(project(vectors), kinds) > 0.6


def test_another_rendition_is_found_at_its_place():
    vectors = np.eye(6, 8, dtype=np.float32) + 0.01
    kinds = np.array(["root > group > kind"] * 6)
    photos = Photos([b""] * 6, np.array(["root > group"] * 6), kinds, np.zeros(6, np.int64), [(3, b""), (5, b"")])
    others = np.stack([vectors[3], vectors[5] + 2 * vectors[0]])
    assert scores(photos, vectors, others).pairs.tolist() == [0, 1]


def test_nothing_is_measured_without_photos(tmp_path, capsys):
    assert main(["--fashion", str(tmp_path), "--out", str(tmp_path / "page.md")]) == 0
    assert "skipped: nothing is measured without" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
