"""A study's report says means and intervals that can be trusted, in files that need nothing beside them."""

import re

import numpy as np
import pytest
from scipy import stats

from studies.report import curves, estimate, loss_lines, table_lines, write_report


def line(strategy, seed, budget, score, **more):
    found = {"case": "shop", "strategy": strategy, "variant": "", "seed": seed, "budget": budget, "answers": budget}
    return found | {"hierarchical_f1": score, "macro_f1": score / 2, "nodes_seen": 3, "accuracy": score, "seconds": 1.5} | more


LINES = [
    line(name, seed, budget, 0.5 + 0.1 * seed + budget / 1000) for name in ("random", "default") for seed in range(3) for budget in (0, 100)
]


def test_an_interval_is_students_95_percent():
    values = [0.81, 0.84, 0.79, 0.83, 0.85]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    found = estimate(values)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert estimate([0.5]).half_width is None


def test_default_comes_first_and_budgets_rise_with_all_at_the_end():
    found = curves([*LINES, line("default", 0, "all", 0.9)])
    assert [curve.name for curve in found] == ["default", "random"]
    assert list(found[0].points) == [0, 100, "all"]


def test_the_table_holds_every_mean():
    text = "\n".join(table_lines(LINES))
    assert re.search(r"^shop: hierarchical F1 +0 +100$", text, re.MULTILINE)
    assert re.search(r"^default +0\.6000 ± 0\.2484 +0\.7000 ± 0\.2484$", text, re.MULTILINE)
    assert re.search(r"over seeds: default 3, random 3$", text)


def test_a_variant_is_a_row_of_its_own():
    text = "\n".join(table_lines([*LINES, line("default", 0, 0, 0.3, variant="5 % wrong")]))
    assert re.search(r"^default, 5 % wrong +0\.3000$", text, re.MULTILINE)


def test_the_page_and_the_plot_need_nothing_beside_them(tmp_path):
    hostile = line("<script>alert(1)</script>", 0, 0, 0.4)
    page, plot = write_report(tmp_path / "a.jsonl", [*LINES, hostile])
    assert plot.read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "0.7000 ± 0.2484" in text


def test_noise_is_compared_seed_by_seed():
    clean = [line("default", seed, 0, 0.8 + 0.1 * seed, noise="none") for seed in range(2)]
    noisy = [line("default", seed, 0, 0.79 + 0.1 * seed, noise="typos", variant="typos") for seed in range(2)]
    assert [text.split()[-3:] for text in loss_lines([*clean, *noisy])][1] == ["1.00", "±", "0.00"]
    assert list(loss_lines(LINES)) == []
