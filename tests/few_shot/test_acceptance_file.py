"""The file of an acceptance policy: what is read is what was written, and damage is refused in one line."""

import json
from dataclasses import replace

import pytest

from few_shot.acceptance import NEVER, AcceptancePolicy
from few_shot.acceptance_file import NOTHING, OFF, PROMISED, TOO_FEW, Acceptance, as_json, asking, read_acceptance, summary_of
from schemas.errors import ModelError

CHOSEN = Acceptance(AcceptancePolicy(0.95, 0.9, 1.1, 0.8, 0.7), PROMISED, 900, 100, 130, 0.6, 0.1)


NO_ANCESTOR = replace(CHOSEN, policy=AcceptancePolicy(0.95, 0.9, 1.1, 0.8, NEVER))


@pytest.mark.parametrize("acceptance", [CHOSEN, NO_ANCESTOR, asking(OFF, 0.0, 0.95), asking(TOO_FEW, 0.95, 0.95, 12, 3, 130)])
def test_what_is_read_is_what_was_written(acceptance, tmp_path):
    path = tmp_path / "acceptance.json"
    path.write_text(json.dumps(as_json(acceptance), allow_nan=False), encoding="utf-8")
    assert read_acceptance(path) == acceptance


def test_a_model_of_an_earlier_release_has_none(tmp_path):
    assert read_acceptance(tmp_path / "acceptance.json") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "found format_version 2, expected 1"),
        ({"state": "always"}, "found state 'always'"),
        ({"policy": {**as_json(CHOSEN)["policy"], "temperature": 0}}, "temperature 0.0 isn't above 0"),
        ({"policy": {**as_json(CHOSEN)["policy"], "answer_threshold": "0.1"}}, "answer_threshold is '0.1', expected a number"),
        ({"policy": {**as_json(CHOSEN)["policy"], "promised": 5}}, "promised is 5, expected a number from 0 to 1."),
        ({"policy": {**as_json(CHOSEN)["policy"], "promised": None}}, "promised is None, expected a number from 0 to 1."),
        ({"policy": {**as_json(CHOSEN)["policy"], "confidence": 1.5}}, "confidence is 1.5, expected a number from 0 to 1."),
        ({"policy": {**as_json(CHOSEN)["policy"], "ancestor_threshold": 2}}, "ancestor_threshold is 2, expected a number from 0 to 1 or"),
        ({"answer_coverage": 60}, "answer_coverage is 60, expected a number from 0 to 1."),
        ({"answers": -1}, "answers is -1"),
        ({"policy": {}}, "promised is None"),
    ],
)
def test_a_damaged_file_is_refused_where_it_is_wrong(change, said, tmp_path):
    path = tmp_path / "acceptance.json"
    path.write_text(json.dumps({**as_json(CHOSEN), **change}), encoding="utf-8")
    with pytest.raises(ModelError) as refused:
        read_acceptance(path)
    assert str(path) in str(refused.value) and said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, "{" + '"a": 1, ' * 20_000, '{"format_version": NaN}'])
def test_what_is_no_policy_is_refused(content, tmp_path):
    path = tmp_path / "acceptance.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match="Export the model again"):
        read_acceptance(path)


def test_people_are_told_what_is_promised_or_what_a_promise_takes():
    assert summary_of(CHOSEN) == "95 % promised on 60% of the products at the answer, 10% at an ancestor; from 900 held-out answers"
    few = summary_of(asking(TOO_FEW, 0.95, 0.95, 12, 30, 130))
    assert "12 random products (30 more were picked" in few and "130 at least" in few and "sampling.audit_share" in few
    assert "acceptance.precision is 0" in summary_of(asking(OFF, 0.0, 0.95))
    assert "nothing was right often enough for 95 %" in summary_of(asking(NOTHING, 0.95, 0.95, 400))
