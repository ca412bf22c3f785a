"""What the interface renders is numbers it can store and text that can't become markup."""

from __future__ import annotations

import json

import pytest

from pipeline.kubeflow.interface_artifacts import batch_table, score_metrics


def write_batch(folder, items, num_items=None):
    manifest = {"batch_id": "0123456789abcdef", "strategy": "margin", "seed": 0, "num_items": num_items or len(items)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "batch.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return {"batch": folder}


def item(**changed):
    suggestions = [{"node_id": "k", "path": "Shoes > Sneakers", "probability": 0.4}]
    return {"product_id": "a1", "title": "White sneaker", "score": 0.25, "reason": "torn", "suggestions": suggestions, **changed}


def test_a_batch_is_a_row_for_each_product(tmp_path):
    found = batch_table(write_batch(tmp_path, [item(), item(product_id="a2", title=None, suggestions=[], score=None)]))
    rows = [line for line in found.content.decode().splitlines() if line.startswith("| a")]
    assert rows == ["| a1 | White sneaker | 0.2500 | torn | Shoes &gt; Sneakers |", "| a2 |  |  | torn |  |"]
    assert found.metadata == {"batch_id": "0123456789abcdef", "num_items": 2}


@pytest.mark.parametrize(
    "title",
    ["a | b | c", "<script>alert(1)</script>", "line\nbreak | # heading", "[x](javascript:alert(1))", "![i](http://x)", "x" * 10_000],
)
def test_a_feeds_text_stays_text_in_one_short_cell(tmp_path, title):
    text = batch_table(write_batch(tmp_path, [item(title=title)])).content.decode()
    (row,) = [line for line in text.splitlines() if line.startswith("| a1")]
    assert "<" not in row
    assert len(row) < 500
    assert row.count("|") - row.count("\\|") == 6
    assert "](" not in row


def test_a_long_batch_is_cut_and_says_so(tmp_path):
    text = batch_table(write_batch(tmp_path, [item()] * 120)).content.decode()
    assert text.count("| a1 |") == 100
    assert "The first 100 of 120." in text


def test_only_finite_numbers_become_metrics(tmp_path):
    scores = {"accuracy": 0.5, "macro_f1": None, "by": {"x": 1}, "calibration_error": float("nan")}
    (tmp_path / "metrics.json").write_text(json.dumps({"exclusive": scores, "products": {"judged": 7}, "blessed": False}))
    assert score_metrics({"evaluation": tmp_path}).metadata == {"accuracy": 0.5, "judged": 7, "blessed": 0}
