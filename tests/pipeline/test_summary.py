"""Proves what the table at the end of a run says."""

from __future__ import annotations

import copy

from pipeline.summary import summary_lines

SCORES = {"judged": 4033, "accuracy": 0.8925, "hierarchical_f1": 0.93, "macro_f1": 0.75}
RESULTS = {
    "exclusive": SCORES,
    "by_depth": {"10": SCORES, "2": {**SCORES, "macro_f1": None}},
    "baseline": None,
    "blessed": True,
    "reasons": [],
    "version": 17,
    "products": {"rows": 20000, "refused": 3, "duplicates": 2, "by_split": {"dev": 15962, "test": 4033}},
    "labels": {"joined": 1000, "rules": {"products": 14152, "coverage": 0.707}},
    "learnt_from": {"now": 1000, "live": None},
    "batch": {"num_items": 250, "strategy": "margin"},
    "index": {"kind": "exact", "num_products": 20000, "dimension": 128, "recall": 1.0},
    "paths": {"root": "/r", "report": "/r/report.html", "model": "/r/m", "index": "/r/i", "batch": "/r/b", "log": "/r/l", "tfma": "/t"},
    "seconds": 63.7,
    "peak_rss_mb": 2100,
}


def lines_of(**changed):
    return summary_lines({**copy.deepcopy(RESULTS), **changed})


def test_the_table_says_what_went_in_and_what_came_out():
    text = "\n".join(lines_of())
    assert "products   20,000 rows in, 3 refused, 2 superseded; 15,962 dev, 4,033 test" in text
    assert "labels     1,000 answers of people, 14,152 products by rules (71 % covered)" in text
    assert "blessed    yes: version 17 of model and index is live" in text
    assert "batch      250 products to label next, by margin" in text
    assert "report     /r/report.html" in text and "log        /r/l" in text and "/t" not in text.split()
    assert "took       64 s, 2,100 MB at most" in text


def test_depths_are_in_the_order_of_numbers_and_a_score_nobody_can_know_is_a_dash():
    depths = [line for line in lines_of() if line.startswith("  depth")]
    assert [line.split()[1] for line in depths] == ["2", "10"]
    assert depths[0].split()[-1] == "-"


def test_the_live_models_scores_stand_beside_with_the_change():
    before = {**SCORES, "hierarchical_f1": 0.9}
    lines = lines_of(baseline={"exclusive": before, "by_depth": {"2": before}})
    assert any(line.endswith("live hier. F1") for line in lines)
    assert next(line for line in lines if line.startswith("exclusive")).endswith("0.9000 +0.0300")
    assert next(line for line in lines if line.startswith("  depth 10")).endswith("0.7500")


def test_what_needs_no_person_is_said_or_why_a_person_is_asked():
    right, nothing = {"coverage": 0.62, "precision": 0.964}, {"coverage": 0.0, "precision": None}
    promised = {"state": "promised", "promised": 0.95, "says": "", "judged": {"answer": right, "ancestor": nothing}}
    assert "accepted   95 % promised; of test products 62 % (96.4 % right) at the answer, 0 % above it" in lines_of(acceptance=promised)
    asked = {"state": "too_few_answers", "says": "everything is asked: 12 are too few"}
    assert "accepted   everything is asked: 12 are too few" in lines_of(acceptance=asked)
    assert not any(line.startswith("accepted") for line in lines_of(acceptance=None))


def test_which_family_won_is_said_where_families_were_compared():
    scores = {"few_shot": {"accuracy": 0.8712, "cross_entropy": 0.5}, "linear": {"accuracy": 0.8644, "cross_entropy": 0.6}}
    lines = lines_of(families={"winner": "few_shot", "scores": scores, "num_judged": 3118})
    assert "family     few_shot won; right of 3,118 held-out answers: few_shot 87 %, linear 86 %" in lines
    assert not any(line.startswith("family") for line in lines_of(families=None))


def test_what_audits_say_of_models_in_use_stands_below():
    share = {"value": 0.875, "low": 0.6, "high": 0.98, "judged": 16}
    lines = lines_of(audit={"versions": [9, 8], "at_answer": share, "by_depth": {"1": {**share, "value": 1.0}}})
    first = next(k for k, line in enumerate(lines) if line.startswith("audit"))
    assert lines[first] == ("audit      88 % (60 to 98) right on 16 random products, before they were answered; depth 1 100 % (60 to 98)")
    assert "judged: version 9, 8" in lines[first + 1]
    assert not any(line.startswith("audit") for line in lines_of(audit={"at_answer": {"judged": 0}}))


def test_why_a_model_is_not_blessed_is_said():
    assert "blessed    no: depth 2 lost 0.1; accuracy is 0.2" in lines_of(blessed=False, reasons=["depth 2 lost 0.1", "accuracy is 0.2"])
    assert "blessed    no: no reason was given" in lines_of(blessed=False)
    assert "blessed    yes, but it isn't live: the log says why" in lines_of(version=0)
    assert "blessed    yes, but it isn't live: version 7 was rolled back" in lines_of(version=0, not_live="version 7 was rolled back")


def test_all_columns_stand_under_their_heads():
    table = [line for line in lines_of() if line.startswith(("judged", "exclusive", "  depth"))]
    assert len({len(line) for line in table}) == 1


def test_what_more_answers_bought_is_said_beside_the_live_model():
    before = {**SCORES, "hierarchical_f1": 0.9}
    lines = lines_of(baseline={"exclusive": before, "by_depth": {}}, learnt_from={"now": 1250, "live": 1000})
    bought = "learnt from 1,250 answers, +250 against the live model: accuracy +0.0000, hierarchical F1 +0.0300, macro F1 +0.0000"
    assert bought in lines
    assert not any(line.startswith("learnt from") for line in lines_of())
